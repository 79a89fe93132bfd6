"""The detections of a whole split, evaluated as its data set's kind and the config say: the same for both engines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.run_files import write_json
from clsa.datasets.voc_coco_form import to_coco_form

from .dataset_dicts import DatasetSource, annotation_file
from .evaluate_coco import evaluate_coco, evaluator_version, read_ground_truth
from .evaluate_voc import evaluate_voc, flavour_of, read_split
from .evaluation_keys import uses_11_points
from .predictions import ImagePrediction, write_voc_detections
from .voc_coco_form import PREFIX, evaluate_coco_form


def evaluate_voc_split(cfg: CfgNode, source: DatasetSource, predictions: Sequence[ImagePrediction]) -> dict[str, Any]:
    """VOC's AP of a split, and the figures of its COCO form.

    Into ``OUTPUT_DIR/inference`` go ``detections.json``, and ``NAME_coco_form.json``: the annotations that the second
    were computed with, for any other program that reads COCO's files.

    Returns:
        ``{"flavour", "values", "per_class", "details"}``: VOC's own under ``bbox/``, the others under
        ``bbox_coco_form/``; ``details["flavours"]`` names the flavour of each of the two prefixes.
    """
    folder, names, difficult = Path(cfg.OUTPUT_DIR) / "inference", source.class_names, cfg.TEST.VOC_DIFFICULT
    annotations = read_split(source)
    write_voc_detections(folder / "detections.json", predictions, names)
    write_json(folder / f"{source.name}_coco_form.json", to_coco_form(annotations, names, difficult))
    voc = evaluate_voc(predictions, annotations, names, uses_11_points(cfg, source))
    form = evaluate_coco_form(predictions, annotations, names, difficult, cfg.TEST.COCO_EVAL)
    return {
        "flavour": voc["flavour"],
        "values": {**voc["values"], **form["values"]},
        "per_class": {**voc["per_class"], **form["per_class"]},
        "details": voc_details(cfg, source),
    }


def voc_details(cfg: CfgNode, source: DatasetSource) -> dict[str, Any]:
    """Which flavour the figures under each prefix have, and which package computed those of the COCO form."""
    form = f"COCO form of VOC, difficult {cfg.TEST.VOC_DIFFICULT}"
    return {
        "flavours": {"bbox": flavour_of(uses_11_points(cfg, source)), PREFIX: form},
        "coco_evaluator": evaluator_version(cfg.TEST.COCO_EVAL),
    }


def evaluate_coco_split(cfg: CfgNode, source: DatasetSource, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """COCO's figures of detections in COCO's result format, with masks where ``MODEL.MASK_ON``."""
    return evaluate_coco(read_ground_truth(annotation_file(source)), results, tasks_of(cfg), cfg.TEST.COCO_EVAL)


def tasks_of(cfg: CfgNode) -> tuple[str, ...]:
    """What a detector of this config finds, in COCO's words."""
    return ("bbox", "segm") if cfg.MODEL.MASK_ON else ("bbox",)
