"""detectron2's evaluators, with the detections and the values of each class kept for ``result.json``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, PascalVOCDetectionEvaluator
from detectron2.utils import comm
from fvcore.common.config import CfgNode

from .dataset_dicts import DatasetSource, annotation_file, find_source
from .detection_result import evaluated_dataset
from .evaluate_coco import evaluate_coco, read_ground_truth
from .evaluate_voc import evaluate_voc, read_split
from .predictions import ImagePrediction, to_prediction, write_voc_detections


class VOCEvaluator(PascalVOCDetectionEvaluator):
    """detectron2's VOC evaluator, whose detections are also written to ``folder/detections.json``.

    Its figures are detectron2's. It computes those of each class without giving them out, so they come from
    :func:`~clsa.detection.evaluate_voc.evaluate_voc`, whose means are the same numbers.
    """

    def __init__(self, source: DatasetSource, folder: Path):
        super().__init__(source.name)
        self._source = source
        self._folder = folder
        self._kept: list[ImagePrediction] = []

    def reset(self) -> None:
        """Forget all detections."""
        super().reset()
        self._kept = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take in the detections (``outputs[i]["instances"]``) of a batch."""
        super().process(inputs, outputs)
        for image, output in zip(inputs, outputs, strict=True):
            found = output["instances"]
            tensors = {"boxes": found.pred_boxes.tensor, "scores": found.scores, "classes": found.pred_classes}
            self._kept.append(to_prediction(str(image["image_id"]), tensors))

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """``{"bbox": {"AP", "AP50", "AP75", "AP-person", "AP50-person", ...}}`` in percent on the main process."""
        figures = super().evaluate()
        shares = comm.gather(self._kept, dst=0)
        if not comm.is_main_process():
            return None
        predictions = [prediction for share in shares for prediction in share]
        names = self._source.class_names
        write_voc_detections(self._folder / "detections.json", predictions, names)
        by_class = evaluate_voc(predictions, read_split(self._source), names, self._source.is_voc_2007)["per_class"]
        for metric, values in by_class.items():
            figures["bbox"].update({f"{metric.removeprefix('bbox/')}-{name}": value for name, value in values.items()})
        return figures


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """detectron2's evaluator of one of its built-in data sets, writing into ``OUTPUT_DIR/inference``.

    For COCO it takes detectron2's fast, unofficial implementation where that was compiled: its figures go to the log
    and to TensorBoard; those of ``result.json`` are pycocotools' own (:func:`read_evaluation`).
    """
    folder = Path(cfg.OUTPUT_DIR) / "inference"
    source = find_source(dataset_name)
    if source.kind == "voc":
        return VOCEvaluator(source, folder)
    return COCOEvaluator(dataset_name, tasks=_tasks(cfg), output_dir=str(folder))


def read_evaluation(cfg: CfgNode, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What ``result.json`` says, ``{"flavour", "values", "per_class"}``, after ``DATASETS.TEST`` was evaluated.

    VOC's is rearranged from ``figures``, what :class:`VOCEvaluator` returned. COCO's is computed by pycocotools from
    the detections that detectron2's evaluator wrote.
    """
    source = find_source(evaluated_dataset(cfg))
    if source.kind == "coco":
        path = Path(cfg.OUTPUT_DIR) / "inference" / "coco_instances_results.json"
        detections = json.loads(path.read_text(encoding="utf-8"))
        return evaluate_coco(read_ground_truth(annotation_file(source)), detections, _tasks(cfg))
    metrics = ("AP", "AP50", "AP75")
    return {
        "flavour": "VOC 11-point, IoU .50:.95" if source.is_voc_2007 else "VOC area, IoU .50:.95",
        "values": {f"bbox/{metric}": float(figures["bbox"][metric]) for metric in metrics},
        "per_class": {
            f"bbox/{metric}": {name: figures["bbox"][f"{metric}-{name}"] for name in source.class_names}
            for metric in metrics
        },
    }


def _tasks(cfg: CfgNode) -> tuple[str, ...]:
    return ("bbox", "segm") if cfg.MODEL.MASK_ON else ("bbox",)
