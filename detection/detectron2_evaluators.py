"""Evaluators for detectron2's trainer, with the detections and the values of each class kept for ``result.json``."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.utils import comm
from fvcore.common.config import CfgNode

from .dataset_dicts import DatasetSource, find_source
from .detection_result import evaluated_dataset
from .evaluate_dataset import evaluate_coco_split, evaluate_voc_split, tasks_of, voc_details
from .predictions import ImagePrediction, to_prediction


class VOCEvaluator(DatasetEvaluator):
    """VOC's AP and that of its COCO form, computed by the same code for both engines.

    VOC's AP is that of detectron2's own ``PascalVOCDetectionEvaluator``, to 1e-9
    (``tests/test_detection_voc_evaluators_agree.py``). That one is not run: it gives no class's AP, and fails on a box
    with fractions and on an annotation without a pose.
    """

    def __init__(self, cfg: CfgNode, source: DatasetSource):
        self._cfg = cfg
        self._source = source
        self._kept: list[ImagePrediction] = []

    def reset(self) -> None:
        """Forget all detections."""
        self._kept = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take in the detections (``outputs[i]["instances"]``) of a batch."""
        for image, output in zip(inputs, outputs, strict=True):
            found = output["instances"]
            tensors = {"boxes": found.pred_boxes.tensor, "scores": found.scores, "classes": found.pred_classes}
            self._kept.append(to_prediction(str(image["image_id"]), tensors))

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """``{"bbox": {"AP", "AP50", "AP75", "AP-person", ...}, "bbox_coco_form": {"AP", "APs", "APs-person", ...}}``.

        In percent, on the main process; what is not defined is not a number.
        """
        shares = comm.gather(self._kept, dst=0)
        if not comm.is_main_process():
            return None
        evaluation = evaluate_voc_split(self._cfg, self._source, [found for share in shares for found in share])
        figures: dict[str, dict[str, float]] = {}
        for name, value in evaluation["values"].items():
            task, metric = name.split("/")
            figures.setdefault(task, {})[metric] = math.nan if value is None else value
        for name, by_class in evaluation["per_class"].items():
            task, metric = name.split("/")
            figures[task].update(
                {f"{metric}-{c}": math.nan if value is None else value for c, value in by_class.items()}
            )
        return figures


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator of one of detectron2's built-in data sets, writing into ``OUTPUT_DIR/inference``.

    For COCO it is detectron2's, with its fast, unofficial implementation where that was compiled: its figures go to the
    log and to TensorBoard; those of ``result.json`` are of the evaluator that ``TEST.COCO_EVAL`` names
    (:func:`read_evaluation`).
    """
    source = find_source(dataset_name)
    if source.kind == "voc":
        return VOCEvaluator(cfg, source)
    return COCOEvaluator(dataset_name, tasks=tasks_of(cfg), output_dir=str(Path(cfg.OUTPUT_DIR) / "inference"))


def read_evaluation(cfg: CfgNode, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What ``result.json`` says of ``DATASETS.TEST``: ``{"flavour", "values", "per_class", "details"}``.

    VOC's is rearranged from ``figures``, what :class:`VOCEvaluator` returned. COCO's is computed from the detections
    that detectron2's evaluator wrote.
    """
    source = find_source(evaluated_dataset(cfg))
    if source.kind == "coco":
        path = Path(cfg.OUTPUT_DIR) / "inference" / "coco_instances_results.json"
        return evaluate_coco_split(cfg, source, json.loads(path.read_text(encoding="utf-8")))
    values: dict[str, float | None] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    for task, by_name in figures.items():
        for name, figure in by_name.items():
            value = None if math.isnan(figure) else float(figure)
            metric, _, class_name = name.partition("-")
            if class_name:
                per_class.setdefault(f"{task}/{metric}", {})[class_name] = value
            else:
                values[f"{task}/{metric}"] = value
    details = voc_details(cfg, source)
    return {"flavour": details["flavours"]["bbox"], "values": values, "per_class": per_class, "details": details}
