"""Pascal VOC's average precision with detectron2's conventions, all at once in memory.

A box spans its end pixels, so its width is xmax - xmin + 1. Detections are rounded as detectron2's result files round
them: scores to 3 decimals, boxes, shifted back to VOC's counting from 1, to 1 decimal. Ties in the rounded score are
real and are ordered as NumPy's argsort orders them, as detectron2 does. A detection belongs to the object of its class
with which it overlaps most, taken or not (that object alone decides); difficult objects count neither way.

A class without objects (other than difficult ones) has AP 0 and stays in the mean, as in detectron2's 11-point AP; COCO
leaves it out. detectron2's area AP is not a number if such a class was detected, and so is its mean: here it is 0 too.

Shapes: D detections and G objects of one class in the whole split, best-scored detections first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clsa.configs.command import InputError
from clsa.datasets.voc_folder import VOCAnnotation, read_annotation, read_image_ids

from .dataset_dicts import DatasetSource, data_root
from .predictions import ImagePrediction

IOU_THRESHOLDS = [percent / 100.0 for percent in range(50, 100, 5)]


@dataclass(frozen=True)
class ClassObjects:
    """The objects of one class. ``image`` is ascending."""

    image: np.ndarray  # (G,) int64, index of the image in the split
    boxes: np.ndarray  # (G, 4) float64 as in the XML
    difficult: np.ndarray  # (G,) bool


def read_split(source: DatasetSource) -> list[VOCAnnotation]:
    """The annotations of a VOC split, in the order of its image list."""
    folder = data_root() / source.folder
    return [read_annotation(folder, image_id) for image_id in read_image_ids(folder, source.split)]


def evaluate_voc(
    predictions: Sequence[ImagePrediction],
    annotations: Sequence[VOCAnnotation],
    class_names: Sequence[str],
    use_11_points: bool = True,
) -> dict[str, Any]:
    """AP (mean over IoU .50:.95), AP50 and AP75, in percent, for the split and for each class.

    Args:
        predictions: one for each image, in the order of the split (the order decides between equal scores).
        use_11_points: VOC 2007's AP; False: the area under the precision envelope (VOC 2010 to 2012).

    Returns:
        ``{"flavour": str, "values": {"bbox/AP", "bbox/AP50", "bbox/AP75"}, "per_class": {the same: {class: percent}}}``

    Raises:
        InputError: a prediction for an image that is not in the split.
    """
    index = {annotation.image_id: i for i, annotation in enumerate(annotations)}
    for prediction in predictions:
        if prediction.image_id not in index:
            raise InputError(f"a prediction for image {prediction.image_id}, which is not in the evaluated split")
    counts = [len(prediction.scores) for prediction in predictions]
    images = np.repeat([index[prediction.image_id] for prediction in predictions], counts).astype(np.int64)
    scores = _join([prediction.scores for prediction in predictions], np.float32)
    classes = _join([prediction.classes for prediction in predictions], np.int64)
    boxes = _join([prediction.boxes.reshape(-1, 4) for prediction in predictions], np.float32).reshape(-1, 4)
    scores = _round(scores, 1000)
    boxes = _round(boxes + np.float32([1, 1, 0, 0]), 10)

    ap = np.zeros((len(class_names), len(IOU_THRESHOLDS)))
    for number, name in enumerate(class_names):
        mine = classes == number
        ap[number] = class_average_precisions(
            images[mine], scores[mine], boxes[mine], _objects_of(name, annotations), use_11_points
        )
    ap *= 100.0
    by_class = {"bbox/AP": ap.mean(axis=1), "bbox/AP50": ap[:, 0], "bbox/AP75": ap[:, 5]}
    return {
        "flavour": flavour_of(use_11_points),
        "values": {
            "bbox/AP": float(ap.mean(axis=0).mean()),
            "bbox/AP50": float(ap[:, 0].mean()),
            "bbox/AP75": float(ap[:, 5].mean()),
        },
        "per_class": {
            metric: dict(zip(class_names, values.tolist(), strict=True)) for metric, values in by_class.items()
        },
    }


def flavour_of(use_11_points: bool) -> str:
    """The metric's flavour as results name it."""
    return "VOC 11-point, IoU .50:.95" if use_11_points else "VOC area, IoU .50:.95"


def class_average_precisions(
    images: np.ndarray, scores: np.ndarray, boxes: np.ndarray, objects: ClassObjects, use_11_points: bool
) -> np.ndarray:
    """AP in [0, 1] of one class at each of :data:`IOU_THRESHOLDS`; 0 where the class has no object.

    Args:
        images: (D,) int64; scores: (D,) float64; boxes: (D, 4) float64 in VOC's counting.
    """
    positives = int((~objects.difficult).sum())
    if positives == 0 or len(scores) == 0:
        return np.zeros(len(IOU_THRESHOLDS))
    order = np.argsort(-scores)
    overlap, best = best_overlaps(images[order], boxes[order], objects)
    average_precision = eleven_point_ap if use_11_points else area_ap
    values = []
    for threshold in IOU_THRESHOLDS:
        hits = overlap > threshold  # (D,)
        counted = hits & ~objects.difficult[best]
        true_positive = np.zeros(len(hits), dtype=bool)
        # The first detection of an object is the right one, any later one a false alarm.
        candidates = np.flatnonzero(counted)
        true_positive[candidates[np.unique(best[candidates], return_index=True)[1]]] = True
        false_positive = ~hits | (counted & ~true_positive)
        tp, fp = np.cumsum(true_positive), np.cumsum(false_positive)
        recall = tp / float(positives)
        precision = tp / np.maximum(tp + fp, np.finfo(np.float64).eps)  # all before the first may be difficult
        values.append(average_precision(recall, precision))
    return np.array(values)


def best_overlaps(images: np.ndarray, boxes: np.ndarray, objects: ClassObjects) -> tuple[np.ndarray, np.ndarray]:
    """For each detection the largest IoU with an object of its image, and that object's index (the first of equals).

    Without an object in the image the IoU is -inf and the index 0.
    """
    first = np.searchsorted(objects.image, images, side="left")
    count = np.searchsorted(objects.image, images, side="right") - first  # (D,)
    overlap = np.full(len(images), -np.inf)
    best = np.zeros(len(images), dtype=np.int64)
    # Few images have many objects of one class: the k-th object of every detection's image, in turn.
    for k in range(int(count.max(initial=0))):
        rows = np.flatnonzero(count > k)
        candidate = first[rows] + k
        iou = _iou(boxes[rows], objects.boxes[candidate])
        better = iou > overlap[rows]
        overlap[rows[better]] = iou[better]
        best[rows[better]] = candidate[better]
    return overlap, best


def eleven_point_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean of the best precision at recall >= 0, 0.1, ..., 1 (VOC 2007). Arrays (D,) along falling scores."""
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    reached = np.searchsorted(recall, np.arange(0.0, 1.1, 0.1), side="left")
    return float(sum(envelope[reached] / 11.0))


def area_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the monotone envelope of precision over recall (VOC 2010 to 2012). Arrays (D,)."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[steps + 1] - recall[steps]) * envelope[steps + 1]))


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes (D, 4) whose end pixels belong to them."""
    width = np.maximum(np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]) + 1.0, 0.0)
    height = np.maximum(np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]) + 1.0, 0.0)
    intersection = width * height
    area_a = (a[:, 2] - a[:, 0] + 1.0) * (a[:, 3] - a[:, 1] + 1.0)
    area_b = (b[:, 2] - b[:, 0] + 1.0) * (b[:, 3] - b[:, 1] + 1.0)
    return intersection / (area_a + area_b - intersection)


def _round(values: np.ndarray, factor: int) -> np.ndarray:
    """float32 values, rounded as ``f"{value:.1f}"`` (factor 10) or ``.3f`` (1000) round and read back.

    Exact: a float32 times 10 or 1000 has no rounding error in float64, and both round halves to even.
    """
    return np.rint(values.astype(np.float64) * factor) / factor


def _join(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype=dtype)


def _objects_of(name: str, annotations: Sequence[VOCAnnotation]) -> ClassObjects:
    found = [(i, voc) for i, annotation in enumerate(annotations) for voc in annotation.objects if voc.name == name]
    return ClassObjects(
        image=np.array([i for i, _ in found], dtype=np.int64),
        boxes=np.array([voc.box for _, voc in found], dtype=np.float64).reshape(-1, 4),
        difficult=np.array([voc.difficult for _, voc in found], dtype=bool),
    )
