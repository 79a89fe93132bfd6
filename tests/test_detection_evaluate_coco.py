"""COCO's AP on written-out cases, empty detections, and masks."""

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from clsa.detection.evaluate_coco import evaluate_coco, read_ground_truth
from clsa.detection.predictions import to_coco_results, to_prediction


def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


@pytest.fixture
def ground_truth(tmp_path):
    """One image: a small cat (20^2), a medium cat (40^2), a medium dog; the category cow has none."""
    annotations = [
        {"id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "segmentation": [square(10, 10, 20)]},
        {"id": 2, "category_id": 1, "bbox": [50, 50, 40, 40], "area": 1600, "segmentation": [square(50, 50, 40)]},
        {"id": 3, "category_id": 5, "bbox": [100, 10, 40, 40], "area": 1600, "segmentation": [square(100, 10, 40)]},
    ]
    content = {
        "info": {},
        "images": [{"id": 9, "height": 120, "width": 160, "file_name": "x.jpg"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 7, "name": "cow"}],
        "annotations": [{"image_id": 9, "iscrowd": 0, **annotation} for annotation in annotations],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return read_ground_truth(path)


def found(category, x, y, side, score):
    polygons = mask_util.merge(mask_util.frPyObjects([square(x, y, side)], 120, 160))
    polygons["counts"] = polygons["counts"].decode()
    return {
        "image_id": 9,
        "category_id": category,
        "bbox": [x, y, side, side],
        "score": score,
        "segmentation": polygons,
    }


def test_perfect_detections(ground_truth):
    results = [found(1, 10, 10, 20, 0.9), found(1, 50, 50, 40, 0.8), found(5, 100, 10, 40, 0.7)]
    result = evaluate_coco(ground_truth, results, ("bbox", "segm"))
    assert result["flavour"] == "COCO"
    for task in ("bbox", "segm"):
        for metric in ("AP", "AP50", "AP75", "APs", "APm"):
            assert result["values"][f"{task}/{metric}"] == pytest.approx(100.0)
        assert result["values"][f"{task}/APl"] is None  # nothing is large
        assert result["per_class"][f"{task}/AP"] == {"cat": pytest.approx(100), "dog": pytest.approx(100), "cow": None}
        assert result["per_class"][f"{task}/APs"] == {"cat": pytest.approx(100), "dog": None, "cow": None}
    assert "category_id" in results[0]
    assert "area" not in results[0]  # the caller's dictionaries stay as they are


def test_one_of_two_cats(ground_truth):
    values = evaluate_coco(ground_truth, [found(1, 50, 50, 40, 0.8)])
    # The 101 recall levels 0, 0.01, ..., 0.5 are reached with precision 1: 51 of 101; dogs 0.
    assert values["per_class"]["bbox/AP"]["cat"] == pytest.approx(100 * 51 / 101)
    assert values["values"]["bbox/AP"] == pytest.approx(50 * 51 / 101)
    assert values["values"]["bbox/APs"] == 0
    assert values["values"]["bbox/APm"] == pytest.approx(50.0)


def test_no_detection_is_zero_not_an_error(ground_truth):
    result = evaluate_coco(ground_truth, [], ("bbox", "segm"))
    assert result["values"]["bbox/AP"] == 0
    assert result["values"]["segm/APs"] == 0
    assert result["values"]["bbox/APl"] is None
    assert result["per_class"]["bbox/AP"] == {"cat": 0, "dog": 0, "cow": None}


def test_masks_count_with_their_own_area(ground_truth):
    # A wrong mask of 12^2 inside a box of 40^2: as a small object it is a false alarm beside the small cat, although
    # its box is of medium size.
    stray = {**found(1, 100, 70, 12, 0.95), "bbox": [90, 60, 40, 40]}
    right = [found(1, 10, 10, 20, 0.9), found(1, 50, 50, 40, 0.8)]
    values = evaluate_coco(ground_truth, [stray, *right], ("segm",))["values"]
    assert values["segm/APs"] == pytest.approx(50.0)
    assert values["segm/APm"] == pytest.approx(50.0)  # cats 100, dogs 0


def test_predictions_become_results():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    output = {
        "boxes": torch.tensor([[2.0, 1.0, 5.0, 3.0], [0.0, 0.0, 1.5, 1.0]]),
        "scores": torch.tensor([0.75, 0.5]),
        "classes": torch.tensor([1, 0]),
        "masks": masks,
    }
    results = to_coco_results([to_prediction(9, output)], category_ids=[1, 5])
    assert [(r["category_id"], r["bbox"], r["score"]) for r in results] == [
        (5, [2.0, 1.0, 3.0, 2.0], 0.75),
        (1, [0.0, 0.0, 1.5, 1.0], 0.5),
    ]
    assert np.array_equal(mask_util.decode(results[0]["segmentation"]), masks[0].numpy())
    json.dumps(results)


def test_predictions_without_detections():
    output = {
        "boxes": torch.zeros(0, 4),
        "scores": torch.zeros(0),
        "classes": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 6, 8, dtype=torch.bool),
    }
    assert to_coco_results([to_prediction(9, output)], [1]) == []
