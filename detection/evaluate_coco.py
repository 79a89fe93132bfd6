"""COCO's average precision for boxes and masks, by the official pycocotools."""

import contextlib
import copy
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

#: Names of the first six of COCOeval's summary numbers.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")

#: Index of COCOeval's area ranges whose AP is given for each class as well.
AREA_RANGES = {"AP": 0, "APs": 1}


def evaluate_coco(
    ground_truth: COCO, results: Sequence[dict[str, Any]], tasks: Sequence[str] = ("bbox",)
) -> dict[str, Any]:
    """AP, AP50, AP75 and AP of small (area < 32^2 pixels), medium and large (> 96^2) objects, in percent.

    Args:
        ground_truth: the split's annotations; all of its images are evaluated.
        results: detections in COCO's result format; for ``"segm"`` with ``segmentation``.
        tasks: ``"bbox"``, ``"segm"`` or both.

    Returns:
        ``{"flavour": "COCO", "values": {"bbox/AP": ...}, "per_class": {"bbox/AP": {name: ...}, "bbox/APs": {...}}}``.
        None where the ground truth has no object (of the class, of the size). Without any detection the values are 0.
    """
    values: dict[str, float | None] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    for task in tasks:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            evaluation = COCOeval(ground_truth, _as_coco(ground_truth, results, task), task)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        for metric, value in zip(METRICS, evaluation.stats[: len(METRICS)], strict=True):
            values[f"{task}/{metric}"] = _percent(value)
        names = [category["name"] for category in ground_truth.loadCats(evaluation.params.catIds)]
        precision = evaluation.eval["precision"]  # (IoU, recall, class, area range, limit of detections)
        for metric, area in AREA_RANGES.items():
            per_class[f"{task}/{metric}"] = {
                name: _mean_of_defined(precision[:, :, k, area, -1]) for k, name in enumerate(names)
            }
    return {"flavour": "COCO", "values": values, "per_class": per_class}


def read_ground_truth(path: Any) -> COCO:
    """pycocotools' index of an annotation file, without its prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def _as_coco(ground_truth: COCO, results: Sequence[dict[str, Any]], task: str) -> COCO:
    if not results:  # loadRes fails on an empty list
        empty = COCO()
        empty.dataset = {**ground_truth.dataset, "annotations": []}
        empty.createIndex()
        return empty
    results = copy.deepcopy(list(results))  # loadRes writes into the dictionaries
    if task == "segm":
        # With a box in the result, pycocotools would take the box's area for the mask's.
        for result in results:
            result.pop("bbox", None)
    return ground_truth.loadRes(results)


def _percent(value: float) -> float | None:
    return float(value) * 100 if value >= 0 else None  # pycocotools gives -1 where there is nothing to find


def _mean_of_defined(precision: np.ndarray) -> float | None:
    defined = precision[precision > -1]
    return float(defined.mean()) * 100 if defined.size else None
