"""detectron2's data sets by name: the same dictionaries, from hand-written VOC and COCO files."""

import importlib.util
import json
import logging
import subprocess
import sys

import pytest

from clsa.configs.command import InputError
from clsa.datasets.categories import COCO_CATEGORIES
from clsa.detection.dataset_dicts import XYWH, XYXY, find_source, image_files, load_dataset_dicts

CAR, PERSON = 2, 0  # class numbers in COCO


def voc_xml(*objects, size=(100, 80)):
    inner = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2), difficult in objects
    )
    return (
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        f"{inner}</annotation>"
    )


@pytest.fixture
def voc_root(tmp_path, monkeypatch):
    """A VOC2007 of three images: two objects, a difficult one; none; a box out of its image."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = tmp_path / "VOC2007"
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text("000005\n000007\n000009\n")
    annotations = {
        "000005": voc_xml(("dog", (1, 1, 100, 80), 0), ("person", (11, 21, 30, 40), 1)),
        "000007": voc_xml(),
        "000009": voc_xml(("tvmonitor", (50, 50, 120, 70), 0)),
    }
    for image_id, xml in annotations.items():
        (folder / "Annotations" / f"{image_id}.xml").write_text(xml)
    return tmp_path


@pytest.fixture
def coco_root(tmp_path, monkeypatch):
    """Returns (root, content, write): change ``content`` and write it as the annotations of coco_2017_val."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True)
    square = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
    common = {"iscrowd": 0, "area": 400.0, "bbox": [10.0, 10.0, 20.0, 20.0]}
    content = {
        "images": [
            {"id": 42, "file_name": "000000000042.jpg", "height": 80, "width": 100},
            {"id": 7, "file_name": "000000000007.jpg", "height": 60, "width": 60},
        ],
        "categories": [dict(category) for category in COCO_CATEGORIES],
        "annotations": [
            {**common, "id": 1, "image_id": 42, "category_id": 3, "segmentation": [square, [1.0, 2.0, 3.0, 4.0]]},
            {
                **common,
                "id": 2,
                "image_id": 42,
                "category_id": 1,
                "iscrowd": 1,
                "segmentation": {"size": [80, 100], "counts": [0, 8000]},
            },
            {**common, "id": 3, "image_id": 7, "category_id": 3, "segmentation": [[1.0, 2.0, 3.0, 4.0]]},
        ],
    }

    def write():
        path.write_text(json.dumps(content))

    write()
    return tmp_path, content, write


def test_voc_boxes_are_zero_based_and_difficult_objects_stay(voc_root):
    records = load_dataset_dicts("voc_2007_trainval")
    assert [record["image_id"] for record in records] == ["000005", "000007", "000009"]
    first = records[0]
    assert first["file_name"] == str(voc_root / "VOC2007" / "JPEGImages" / "000005.jpg")
    assert (first["height"], first["width"]) == (80, 100)
    assert first["annotations"] == [
        {"category_id": 11, "bbox": [0.0, 0.0, 100.0, 80.0], "bbox_mode": XYXY},
        {"category_id": 14, "bbox": [10.0, 20.0, 30.0, 40.0], "bbox_mode": XYXY},
    ]
    assert records[1]["annotations"] == []
    assert records[2]["annotations"][0]["category_id"] == 19


def test_coco_ids_become_class_numbers_and_short_polygons_go(coco_root, caplog):
    logging.getLogger("clsa").propagate = True
    root, content, _ = coco_root
    records = load_dataset_dicts("coco_2017_val")
    assert [record["image_id"] for record in records] == [7, 42]  # ascending
    car, crowd = records[1]["annotations"]
    square = content["annotations"][0]["segmentation"][0]
    assert car == {
        "iscrowd": 0,
        "bbox": [10.0, 10.0, 20.0, 20.0],
        "bbox_mode": XYWH,
        "category_id": CAR,
        "segmentation": [square],
    }
    assert crowd["category_id"] == PERSON
    assert isinstance(crowd["segmentation"]["counts"], bytes)  # compressed
    assert records[0]["annotations"] == []
    assert "1 instances left out" in caplog.text
    assert records[1]["file_name"] == str(root / "coco" / "val2017" / "000000000042.jpg")


def test_image_files_are_relative_to_the_root(voc_root):
    assert image_files("voc_2007_trainval")[0] == "VOC2007/JPEGImages/000005.jpg"


def test_image_files_of_coco(coco_root):
    assert image_files("coco_2017_val") == ["coco/val2017/000000000042.jpg", "coco/val2017/000000000007.jpg"]


def test_unknown_name(voc_root):
    with pytest.raises(InputError, match=r"unknown data set 'voc_2008_test'.*voc_2007_trainval"):
        load_dataset_dicts("voc_2008_test")


def test_missing_folder_says_which_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"VOC2012 does not exist. Set DETECTRON2_DATASETS, which is .*nowhere"):
        find_source("voc_2012_trainval")
    monkeypatch.delenv("DETECTRON2_DATASETS")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="Set DETECTRON2_DATASETS, which is not set"):
        find_source("voc_2012_trainval")


def test_missing_split_and_annotation(voc_root):
    with pytest.raises(InputError, match=r"ImageSets/Main/test.txt"):
        load_dataset_dicts("voc_2007_test")
    (voc_root / "VOC2007" / "Annotations" / "000007.xml").unlink()
    with pytest.raises(InputError, match=r"000007.xml does not exist"):
        load_dataset_dicts("voc_2007_trainval")


def test_unknown_voc_class(voc_root):
    path = voc_root / "VOC2007" / "Annotations" / "000007.xml"
    path.write_text(voc_xml(("unicorn", (1, 1, 5, 5), 0)))
    with pytest.raises(InputError, match=r"000007\.xml, object 1 \(unicorn\): class 'unicorn' is none of VOC's 20"):
        load_dataset_dicts("voc_2007_trainval")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(image_id=9), "annotation 1: image 9 is not in the file's list"),
        (lambda c: c["annotations"][0].update(category_id=12), "annotation 1: category 12 is not in the file's list"),
        (lambda c: c["annotations"][0].update(bbox=[]), r"annotation 1: bbox is \[\]"),
        (lambda c: c["annotations"][0].pop("bbox"), "image 42, annotation 1: bbox is None"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, "3", 4]), r"bbox is \[1, 2, '3', 4\]"),
        (lambda c: c["annotations"][0].update(id=2), "image 42, annotation 2: the id is listed twice"),
        (lambda c: c["annotations"][1].update(ignore=1), "image 42, annotation 2: it is marked 'ignore'"),
        (lambda c: c["categories"].pop(), "its 79 category ids are not COCO's 80: missing are 90"),
        (lambda c: c["categories"].append({"id": 91, "name": "unicorn"}), "COCO does not have 91"),
        (lambda c: c["categories"][2].update(name="tree"), r"other names have 3 \('tree', not 'car'\)"),
        (lambda c: c["images"][0].pop("width"), "image 42: it needs an integer id, width and height"),
        (lambda c: c["images"][0].update(height=0), "image 42: its size is 100 x 0"),
        (lambda c: c["images"][1].update(id=42), "image 42: the id is listed twice"),
        (lambda c: c["images"].clear(), "lists no image"),
        (lambda c: c.pop("categories"), "lacks categories"),
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "a path must not leave"),
    ],
)
def test_broken_coco_annotations(coco_root, change, message):
    _, content, write = coco_root
    change(content)
    write()
    with pytest.raises(InputError, match=message):
        load_dataset_dicts("coco_2017_val")


def test_coco_file_missing_or_cut_off(coco_root):
    root, _, _ = coco_root
    with pytest.raises(InputError, match=r"instances_train2017.json does not exist. Set DETECTRON2_DATASETS"):
        load_dataset_dicts("coco_2017_train")
    path = root / "coco" / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match="not readable JSON"):
        load_dataset_dicts("coco_2017_val")


COMPARE = """
from detectron2.data import DatasetCatalog
from clsa.detection.dataset_dicts import load_dataset_dicts

def plain(record):
    objects = [
        {**a, "bbox_mode": int(a["bbox_mode"]), "iscrowd": a.get("iscrowd", 0), "bbox": list(a["bbox"])}
        for a in record["annotations"]
    ]
    image_id = record["image_id"]
    return {**record, "image_id": image_id if isinstance(image_id, int) else str(image_id), "annotations": objects}

for name in ("voc_2007_trainval", "voc_2007_test", "voc_2012_trainval", "coco_2017_train", "coco_2017_val"):
    theirs, ours = DatasetCatalog.get(name), load_dataset_dicts(name)
    assert len(theirs) > 0
    assert list(map(plain, theirs)) == list(map(plain, ours)), name
"""


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
def test_equals_detectron2(mini_root, monkeypatch):
    """In another process, since detectron2 reads DETECTRON2_DATASETS when it is imported."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    subprocess.run([sys.executable, "-c", COMPARE], check=True)
