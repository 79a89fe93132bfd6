"""VOC in COCO's form: written-out annotations, the three policies for difficult objects, sizes, the shared entry."""

import json

import numpy as np
import pytest

from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_coco_form import to_coco_form
from clsa.datasets.voc_folder import VOCAnnotation, VOCObject
from clsa.detection.config import get_cfg
from clsa.detection.dataset_dicts import find_source
from clsa.detection.evaluate_dataset import evaluate_voc_split
from clsa.detection.evaluate_voc import read_split
from clsa.detection.evaluation_keys import check_evaluation_keys
from clsa.detection.predictions import ImagePrediction
from clsa.detection.voc_coco_form import evaluate_coco_form

DOG = VOC_CLASSES.index("dog")


def dog(*box, difficult=False):
    return VOCObject("dog", box, difficult, False, "Left")


def split(*objects):
    return [VOCAnnotation("2008_000007", 300, 200, objects)]


def found(*boxes_and_scores):
    boxes = np.array([box for box, _ in boxes_and_scores], dtype=np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in boxes_and_scores], dtype=np.float32)
    return [ImagePrediction("2008_000007", boxes, scores, np.full(len(boxes), DOG))]


def test_the_annotations_are_cocos():
    content = to_coco_form(split(dog(1, 1, 10, 20), dog(11, 21, 50, 60, difficult=True)), VOC_CLASSES, "crowd")
    assert content["images"] == [{"id": 1, "file_name": "2008_000007.jpg", "width": 300, "height": 200}]
    assert content["categories"][DOG] == {"id": DOG + 1, "name": "dog", "supercategory": ""}
    common = {"image_id": 1, "category_id": DOG + 1}
    assert content["annotations"] == [
        {"id": 1, **common, "bbox": [0, 0, 10, 20], "area": 200, "iscrowd": 0, "difficult": 0},
        {"id": 2, **common, "bbox": [10, 20, 40, 40], "area": 1600, "iscrowd": 1, "difficult": 1},
    ]


def test_each_size_has_its_own_ap():
    # 31 x 33 = 1023 pixels are small, 32 x 32 both small and medium by COCO's closed ranges, 97 x 97 large.
    small, medium, large = dog(1, 1, 31, 33), dog(51, 51, 90, 90), dog(101, 51, 197, 147)
    predictions = found(([0, 0, 31, 33], 0.9), ([100, 50, 197, 147], 0.8))
    result = evaluate_coco_form(predictions, split(small, medium, large), VOC_CLASSES)
    assert result["flavour"] == "COCO form of VOC, difficult ignored"
    values = result["values"]
    assert values["bbox_coco_form/APs"] == pytest.approx(100)
    assert values["bbox_coco_form/APm"] == 0
    assert values["bbox_coco_form/APl"] == pytest.approx(100)
    # Recall 2/3 with precision 1: levels 0, 0.01, ..., 0.66.
    assert values["bbox_coco_form/AP"] == pytest.approx(100 * 67 / 101)
    assert result["per_class"]["bbox_coco_form/APs"]["dog"] == pytest.approx(100)
    assert result["per_class"]["bbox_coco_form/AP"]["cat"] is None  # absent: left out of the mean
    assert not [name for name in (*values, *result["per_class"]) if not name.startswith("bbox_coco_form/")]


@pytest.mark.parametrize("evaluator", ["pycocotools", "faster_coco_eval"])
def test_the_three_policies(evaluator):
    """One ordinary dog, found with score 0.5, and better-scored detections around a difficult one."""
    if evaluator == "faster_coco_eval":
        pytest.importorskip("faster_coco_eval")
    dogs = split(dog(1, 1, 40, 40), dog(101, 101, 180, 180, difficult=True))
    whole, inside, ordinary = ([100, 100, 180, 180], 0.9), ([110, 110, 130, 130], 0.8), ([0, 0, 40, 40], 0.5)

    def ap(difficult, *detections):
        return evaluate_coco_form(found(*detections), dogs, VOC_CLASSES, difficult, evaluator)["per_class"][
            "bbox_coco_form/AP"
        ]["dog"]

    assert ap("ordinary", whole, ordinary) == pytest.approx(100)
    assert ap("ignored", whole, ordinary) == pytest.approx(100)
    assert ap("crowd", whole, ordinary) == pytest.approx(100)
    # Not to find the difficult dog is a miss for "ordinary" alone: recall 1/2, levels 0 .. 0.50.
    assert ap("ordinary", ordinary) == pytest.approx(100 * 51 / 101)
    assert ap("ignored", ordinary) == pytest.approx(100)
    assert ap("crowd", ordinary) == pytest.approx(100)
    # A part of it: a false alarm before the right one, precision 1/2; a crowd forgives what lies inside.
    assert ap("ignored", inside, ordinary) == pytest.approx(50)
    assert ap("crowd", inside, ordinary) == pytest.approx(100)
    # A second detection of it: false for "ignored" (one match each), right for a crowd.
    again = ([100, 100, 180, 180], 0.7)
    assert ap("ignored", whole, again, ordinary) == pytest.approx(50)
    assert ap("crowd", whole, again, ordinary) == pytest.approx(100)


@pytest.fixture
def voc(mini_root, monkeypatch, tmp_path):
    """(cfg, source, perfect predictions) of the miniature world's VOC2007 test."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path)
    source = find_source("voc_2007_test")
    predictions = []
    for annotation in read_split(source):
        boxes = np.array([voc.box for voc in annotation.objects], dtype=np.float32).reshape(-1, 4) - [1, 1, 0, 0]
        numbers = np.array([VOC_CLASSES.index(voc.name) for voc in annotation.objects], dtype=np.int64)
        scores = np.linspace(0.9, 0.1, len(boxes), dtype=np.float32)
        predictions.append(ImagePrediction(annotation.image_id, boxes.astype(np.float32), scores, numbers))
    return cfg, source, predictions


def test_a_split_gets_both_kinds_of_figures_and_the_files(voc, tmp_path):
    cfg, source, predictions = voc
    evaluation = evaluate_voc_split(cfg, source, predictions)
    assert evaluation["flavour"] == "VOC 11-point, IoU .50:.95"
    assert evaluation["details"]["flavours"] == {
        "bbox": "VOC 11-point, IoU .50:.95",
        "bbox_coco_form": "COCO form of VOC, difficult ignored",
    }
    assert evaluation["values"]["bbox_coco_form/AP"] == pytest.approx(100)
    assert {value for value in evaluation["values"].values() if value is not None} != {0.0}
    content = json.loads((tmp_path / "inference" / "voc_2007_test_coco_form.json").read_text())
    assert len(content["images"]) == len(predictions)
    assert (tmp_path / "inference" / "detections.json").is_file()


@pytest.mark.parametrize(("choice", "flavour"), [("area", "VOC area"), ("11-point", "VOC 11-point")])
def test_vocs_ap_can_be_chosen_for_any_year_and_is_named(voc, choice, flavour):
    cfg, source, predictions = voc
    cfg.TEST.VOC_AP = choice
    cfg.TEST.VOC_DIFFICULT = "crowd"
    evaluation = evaluate_voc_split(cfg, source, predictions)
    assert evaluation["flavour"] == f"{flavour}, IoU .50:.95"
    assert evaluation["details"]["flavours"]["bbox_coco_form"] == "COCO form of VOC, difficult crowd"


@pytest.mark.parametrize("key", ["DATASETS.BAD_BOXES", "TEST.COCO_EVAL", "TEST.VOC_AP", "TEST.VOC_DIFFICULT"])
def test_another_value_of_a_key_is_refused(key):
    cfg = get_cfg()
    check_evaluation_keys(cfg)
    cfg.merge_from_list([key, "guess"])
    with pytest.raises(InputError, match=f"{key} is 'guess': set it to '"):
        check_evaluation_keys(cfg)
