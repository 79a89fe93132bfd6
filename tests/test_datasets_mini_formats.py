"""The miniature world through the readers that read the real data sets."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools.coco import COCO
from torchvision.datasets import ImageFolder, VOCDetection

from clsa.datasets.categories import COCO_CATEGORIES, VOC_CLASSES
from clsa.datasets.voc_folder import read_annotation, read_class_labels, read_image_ids

VOC_SPLITS = [(2007, "train"), (2007, "val"), (2007, "trainval"), (2007, "test"), (2012, "train"), (2012, "trainval")]


def test_imagefolder(mini_root: Path) -> None:
    train, val = (ImageFolder(mini_root / "imagenet" / split) for split in ("train", "val"))
    assert (len(train), len(val)) == (60, 20)
    assert train.classes == val.classes
    assert len(train.classes) == 20
    assert np.bincount(train.targets).tolist() == [3] * 20
    image, _ = train[0]
    assert (image.size, image.mode) == ((128, 128), "RGB")


def test_vocdetection(mini_root: Path, tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit").symlink_to(mini_root)  # where torchvision looks
    data = VOCDetection(tmp_path, year="2007", image_set="test")
    assert len(data) == 40
    for image, target in data:
        annotation = target["annotation"]
        assert (int(annotation["size"]["width"]), int(annotation["size"]["height"])) == image.size
        for item in annotation["object"]:
            box = {side: int(text) for side, text in item["bndbox"].items()}
            assert 1 <= box["xmin"] <= box["xmax"] <= image.width
            assert 1 <= box["ymin"] <= box["ymax"] <= image.height
            assert item["pose"] in ("Frontal", "Left", "Right")
            assert {item["truncated"], item["difficult"]} <= {"0", "1"}


@pytest.mark.parametrize(("year", "split"), VOC_SPLITS)
def test_labels_say_what_the_annotations_say(mini_root: Path, year: int, split: str) -> None:
    voc_dir = mini_root / f"VOC{year}"
    ids = read_image_ids(voc_dir, split)
    assert len(ids) > 1
    objects = {image_id: read_annotation(voc_dir, image_id).objects for image_id in ids}
    for class_name in VOC_CLASSES:
        expected = {}
        for image_id in ids:
            flags = [item.difficult for item in objects[image_id] if item.name == class_name]
            expected[image_id] = -1 if not flags else 0 if all(flags) else 1
        assert read_class_labels(voc_dir, class_name, split) == expected


def test_enough_of_every_class_for_three_folds(mini_root: Path) -> None:
    for class_name in VOC_CLASSES:
        positives = {
            split: list(read_class_labels(mini_root / "VOC2007", class_name, split).values()).count(1)
            for split in ("train", "val", "trainval", "test")
        }
        assert positives["trainval"] >= 3
        assert min(positives["train"], positives["val"], positives["test"]) >= 1


def test_lists_have_vocs_columns(mini_root: Path) -> None:
    lists = mini_root / "VOC2007" / "ImageSets" / "Main"
    text = (lists / "cat_trainval.txt").read_text()
    assert {line[6:] for line in text.splitlines()} <= {"  1", " -1", "  0"}
    both = read_image_ids(mini_root / "VOC2007", "train") + read_image_ids(mini_root / "VOC2007", "val")
    assert sorted(both) == read_image_ids(mini_root / "VOC2007", "trainval")
    assert len(list(lists.iterdir())) == 4 * 21


def test_annotation_names_its_image(mini_root: Path) -> None:
    root = ElementTree.parse(mini_root / "VOC2012" / "Annotations" / "2012_000001.xml").getroot()
    assert root.findtext("folder") == "VOC2012"
    assert root.findtext("filename") == "2012_000001.jpg"
    assert (mini_root / "VOC2012" / "JPEGImages" / "2012_000001.jpg").is_file()


@pytest.mark.parametrize(("split", "count"), [("train", 24), ("val", 16)])
def test_pycocotools(mini_root: Path, split: str, count: int) -> None:
    coco = COCO(mini_root / "coco" / "annotations" / f"instances_{split}2017.json")
    assert len(coco.imgs) == count
    assert coco.loadCats(coco.getCatIds()) == list(COCO_CATEGORIES)
    owners = dict.fromkeys(coco.imgs, 0)
    for annotation in coco.anns.values():
        image = coco.imgs[annotation["image_id"]]
        mask = coco.annToMask(annotation)
        assert mask.shape == (image["height"], image["width"])
        assert mask.sum() == annotation["area"]
        rows, columns = np.nonzero(mask)
        x, y, width, height = annotation["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert isinstance(annotation["segmentation"], dict if annotation["iscrowd"] else list)
        owners[image["id"]] += mask
    assert all(np.max(owner) == 1 for owner in owners.values())
    for image in coco.imgs.values():
        assert image["file_name"] == f"{image['id']:012d}.jpg"
        assert (mini_root / "coco" / f"{split}2017" / image["file_name"]).is_file()


def test_ids_of_coco_train_and_val_are_different(mini_root: Path) -> None:
    ids = [
        {image["id"] for image in json.loads(path.read_text())["images"]}
        for path in (mini_root / "coco" / "annotations").iterdir()
    ]
    assert len(ids) == 2
    assert not ids[0] & ids[1]


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
def test_detectron2_knows_it_by_its_builtin_names(mini_root: Path) -> None:
    code = """
import json
from detectron2.data import DatasetCatalog, MetadataCatalog
names = "voc_2007_trainval", "voc_2007_test", "voc_2012_trainval", "coco_2017_train", "coco_2017_val"
print(json.dumps({name: len(DatasetCatalog.get(name)) for name in names}))
from detectron2.evaluation import PascalVOCDetectionEvaluator
from detectron2.evaluation.pascal_voc_evaluation import parse_rec
meta = MetadataCatalog.get("voc_2007_test")
objects = [item for record in DatasetCatalog.get("voc_2007_test")
           for item in parse_rec(f"{meta.dirname}/Annotations/{record['image_id']}.xml")]
print(len(objects), len(MetadataCatalog.get("coco_2017_val").thing_classes))
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DETECTRON2_DATASETS": str(mini_root)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    counts, objects = run.stdout.splitlines()[-2:]
    assert json.loads(counts) == {
        "voc_2007_trainval": 60,
        "voc_2007_test": 40,
        "voc_2012_trainval": 40,
        "coco_2017_train": 24,
        "coco_2017_val": 16,
    }
    assert int(objects.split()[0]) >= 40
    assert objects.split()[1] == "80"
