"""COCO's average precision for boxes and masks, by the official pycocotools or by the faster package that equals it."""

import contextlib
import copy
import io
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from clsa.configs.command import InputError

#: Names of the first six of COCOeval's summary numbers.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")

#: Index of COCOeval's area ranges whose AP is given for each class as well.
AREA_RANGES = {"AP": 0, "APs": 1}


def evaluate_coco(
    ground_truth: COCO,
    results: Sequence[dict[str, Any]],
    tasks: Sequence[str] = ("bbox",),
    evaluator: str = "pycocotools",
) -> dict[str, Any]:
    """AP, AP50, AP75 and AP of small (area < 32^2 pixels), medium and large (> 96^2) objects, in percent.

    Args:
        ground_truth: the split's annotations; all of its images are evaluated.
        results: detections in COCO's result format; for ``"segm"`` with ``segmentation``.
        tasks: ``"bbox"``, ``"segm"`` or both.
        evaluator: ``"pycocotools"`` or ``"faster_coco_eval"``, see :func:`run_evaluator`.

    Returns:
        ``{"flavour": "COCO", "values": {"bbox/AP": ...}, "per_class": {"bbox/AP": {name: ...}, "bbox/APs": {...}},
        "details": {"coco_evaluator": "pycocotools 2.0.11"}}``. None where the ground truth has no object (of the class,
        of the size), and such classes are left out of the means. Without any detection the values are 0.

    Raises:
        InputError: the evaluator is not installed.
    """
    values: dict[str, float | None] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    for task in tasks:
        evaluation = run_evaluator(ground_truth, results, task, evaluator)
        for metric, value in zip(METRICS, evaluation.stats[: len(METRICS)], strict=True):
            values[f"{task}/{metric}"] = _percent(value)
        names = [category["name"] for category in ground_truth.loadCats(evaluation.params.catIds)]
        precision = evaluation.eval["precision"]  # (IoU, recall, class, area range, limit of detections)
        for metric, area in AREA_RANGES.items():
            per_class[f"{task}/{metric}"] = {
                name: _mean_of_defined(precision[:, :, k, area, -1]) for k, name in enumerate(names)
            }
    return {
        "flavour": "COCO",
        "values": values,
        "per_class": per_class,
        "details": {"coco_evaluator": evaluator_version(evaluator)},
    }


def run_evaluator(
    ground_truth: COCO, results: Sequence[dict[str, Any]], task: str, evaluator: str = "pycocotools"
) -> COCOeval:
    """COCOeval after ``summarize()``: its ``eval["precision"]`` and ``stats``.

    ``faster_coco_eval`` does the same in compiled code, to 1e-12 over the whole precision array; a published number
    wants pycocotools.
    """
    coco_class, evaluation_class = _classes_of(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):  # both print their progress
        if not isinstance(ground_truth, coco_class):
            copied = coco_class()
            copied.dataset = ground_truth.dataset
            copied.createIndex()
            ground_truth = copied
        evaluation = evaluation_class(ground_truth, _as_coco(ground_truth, results, task), task)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def read_ground_truth(content: Any) -> COCO:
    """pycocotools' index of an annotation file (a path, or what the file holds), without its prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        if not isinstance(content, dict):
            return COCO(str(content))
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        return coco


def evaluator_version(evaluator: str) -> str:
    """As results name it: ``"pycocotools 2.0.11"``."""
    return f"{evaluator} {version(evaluator)}"


def _classes_of(evaluator: str) -> tuple[type, type]:
    if evaluator == "pycocotools":
        return COCO, COCOeval
    try:
        import faster_coco_eval
    except ImportError as error:
        raise InputError(
            f"TEST.COCO_EVAL is faster_coco_eval, which cannot be imported ({error}). Install faster-coco-eval with "
            "pip, or set TEST.COCO_EVAL pycocotools, which gives the same figures."
        ) from error
    return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster


def _as_coco(ground_truth: COCO, results: Sequence[dict[str, Any]], task: str) -> COCO:
    if not results:  # pycocotools' loadRes fails on an empty list
        empty = type(ground_truth)()
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
    return float(value) * 100 if value >= 0 else None  # -1 where there is nothing to find


def _mean_of_defined(precision: np.ndarray) -> float | None:
    defined = precision[precision > -1]
    return float(defined.mean()) * 100 if defined.size else None
