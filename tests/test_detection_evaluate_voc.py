"""VOC's average precision on written-out cases. test_detection_voc_evaluators_agree.py compares evaluators."""

import numpy as np
import pytest

from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import VOCAnnotation, VOCObject
from clsa.detection.evaluate_voc import (
    ClassObjects,
    area_ap,
    class_average_precisions,
    eleven_point_ap,
    evaluate_voc,
)
from clsa.detection.predictions import ImagePrediction


def objects_of(*boxes, difficult=None):
    return ClassObjects(
        image=np.zeros(len(boxes), dtype=np.int64),
        boxes=np.array(boxes, dtype=float),
        difficult=np.array(difficult or [False] * len(boxes)),
    )


def test_second_detection_of_an_object_is_a_false_alarm():
    boxes = np.array([[1, 1, 10, 10], [1, 1, 10, 10], [21, 21, 30, 30]], dtype=float)
    objects = objects_of([1, 1, 10, 10], [21, 21, 30, 30])
    ap = class_average_precisions(np.zeros(3, dtype=int), np.array([0.9, 0.8, 0.7]), boxes, objects, True)
    # Precision 1 up to recall 0.5 (6 levels), then 2/3 (5 levels).
    assert ap == pytest.approx(np.full(10, (6 * 1 + 5 * 2 / 3) / 11))


def test_difficult_objects_count_neither_way():
    boxes = np.array([[1, 1, 10, 10], [21, 21, 30, 30]], dtype=float)
    objects = objects_of([1, 1, 10, 10], [21, 21, 30, 30], difficult=[True, False])
    ap = class_average_precisions(np.zeros(2, dtype=int), np.array([0.9, 0.8]), boxes, objects, True)
    assert ap == pytest.approx(np.ones(10))


def test_boxes_span_their_end_pixels():
    # 10 x 10 against 10 x 5 pixels: IoU 0.5 exactly, which is not above the threshold.
    objects = objects_of([1, 1, 10, 10])
    half = class_average_precisions(np.array([0]), np.array([0.9]), np.array([[1, 1, 10, 5.0]]), objects, True)
    more = class_average_precisions(np.array([0]), np.array([0.9]), np.array([[1, 1, 10, 6.0]]), objects, True)
    assert half[0] == 0
    assert more[:3] == pytest.approx([1, 1, 0])


def test_the_two_average_precisions():
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert eleven_point_ap(recall, precision) == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert area_ap(recall, precision) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def a_split():
    return [
        VOCAnnotation("000001", 160, 150, (VOCObject("dog", (1, 1, 40, 40), False, False, "Left"),)),
        VOCAnnotation("000002", 160, 150, ()),
    ]


def nothing_in(annotation):
    return ImagePrediction(
        annotation.image_id, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    )


def test_no_detection_at_all_is_zero():
    annotations = a_split()
    values = evaluate_voc([nothing_in(a) for a in annotations], annotations, VOC_CLASSES)["values"]
    assert set(values.values()) == {0.0}


def test_a_prediction_for_a_foreign_image_is_refused():
    annotations = a_split()
    with pytest.raises(InputError, match="image 000001, which is not in the evaluated split"):
        evaluate_voc([nothing_in(a) for a in annotations], annotations[1:], VOC_CLASSES)
