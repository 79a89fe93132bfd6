"""Bad data, each with its message, before the first step and in both engines; what the official files hold passes."""

import argparse
import importlib.util
import json
import logging
import shutil
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.detection.config import get_cfg
from clsa.detection.dataset_check import check_data, image_size
from clsa.detection.odd_boxes import EDGE, FLAT, OUTSIDE, inspect_box, refuse_odd_boxes

needs_detectron2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed"
)
CONFIG = {"voc": "detection/smoke_voc_c4_r50.yaml", "coco": "detection/smoke_coco_fpn_r50.yaml"}


@pytest.fixture
def root(mini_root, tmp_path, monkeypatch):
    """A copy of the miniature world that may be damaged, and DETECTRON2_DATASETS."""
    for folder in ("VOC2007", "VOC2012", "coco"):
        shutil.copytree(mini_root / folder, tmp_path / folder)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def coco(root, change, split="train2017"):
    path = root / "coco" / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    said = change(content)
    path.write_text(json.dumps(content))
    return said


def voc_box(root, name, value):
    """Change one side of the first box of VOC2007's first test image that has one."""
    for image_id in (root / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split():
        path = root / "VOC2007" / "Annotations" / f"{image_id}.xml"
        tree = ElementTree.parse(path)
        side = tree.find(f"object/bndbox/{name}")
        if side is not None:
            side.text = value
            tree.write(path)
            return image_id
    raise AssertionError("no object")


def first(content, key="annotations"):
    return next(a for a in content[key] if not a.get("iscrowd"))


def box_outside(content):
    found = first(content)
    found["bbox"][0] = 5000.0
    return (
        rf"instances_train2017\.json, image {found['image_id']}, annotation {found['id']}: the box .* leaves its image"
    )


def box_without_area(content):
    found = first(content)
    found["bbox"][3] = 0.0
    return rf"image {found['image_id']}, annotation {found['id']}: the box .* has no area .*Correct the file"


def unknown_category(content):
    first(content)["category_id"] = 12
    return r"annotation \d+: category 12 is not in the file's list of categories"


def other_ids(content):
    for category in content["categories"]:
        category["id"] += 100
    return r"its 80 category ids are not COCO's 80: missing are 1, 2, 3 and 77 more; COCO does not have 101, 102, 103"


def another_size(content):
    content["images"][0]["width"] += 1
    image = content["images"][0]
    return rf"\(image {image['id']}\) has {image['width'] - 1} x \d+ pixels, its annotation says {image['width']} x"


def no_image(content):
    content["images"].clear()
    return "lists no image"


def no_object(content):
    content["annotations"].clear()
    return "no image of coco_2017_train has an object to train on"


def no_polygon(content):
    del first(content)["segmentation"]
    return r"an object that is no crowd has no segmentation; MODEL\.MASK_ON trains on polygons"


COCO_DAMAGES = (
    box_outside,
    box_without_area,
    unknown_category,
    other_ids,
    another_size,
    no_image,
    no_object,
    no_polygon,
)


def voc_outside(root):
    image_id = voc_box(root, "xmax", "9999")
    return rf"Annotations/{image_id}\.xml, object 1 \(\w+\): the box with corners .* leaves its image"


def voc_reversed(root):
    image_id = voc_box(root, "xmax", "0")
    return rf"{image_id}\.xml: object 1 \(\w+\) has a box that ends before it begins"


def voc_unknown_class(root):
    path = next((root / "VOC2007" / "Annotations").glob("*.xml"))
    for path in (root / "VOC2007" / "Annotations").glob("*.xml"):
        text = path.read_text()
        if "<object>" in text:
            tree = ElementTree.fromstring(text)
            tree.find("object/name").text = "unicorn"
            path.write_text(ElementTree.tostring(tree, encoding="unicode"))
    return r"\.xml, object 1 \(unicorn\): class 'unicorn' is none of VOC's 20 classes"


def voc_missing_image(root):
    image_id = (root / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split()[0]
    (root / "VOC2007" / "JPEGImages" / f"{image_id}.jpg").unlink()
    return rf"voc_2007_test: 1 of \d+ images are missing, the first is .*{image_id}\.jpg"


def voc_broken_image(root):
    image_id = (root / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split()[0]
    (root / "VOC2007" / "JPEGImages" / f"{image_id}.jpg").write_bytes(b"no image")
    return rf"{image_id}\.jpg cannot be read"


def voc_empty_split(root):
    (root / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_text("")
    return r"test\.txt lists no image"


VOC_DAMAGES = (
    voc_outside,
    voc_reversed,
    voc_unknown_class,
    voc_missing_image,
    voc_broken_image,
    voc_empty_split,
)


def evaluated(key, value=None):
    """A damage of the test split's ground truth, which only the evaluation reads: ``key`` is missing, or ``value``."""

    def damage(root):
        def change(content):
            found = first(content)
            found.pop(key)
            if value is not None:
                found[key] = value
            where = rf"instances_val2017\.json, image {found['image_id']}, annotation {found['id']}"
            number = len(content["annotations"])
            return rf"{where}: {key} is .*, the first of 1 such of {number}\. The evaluation needs {key}: "

        return coco(root, change, "val2017")

    return damage


GROUND_TRUTH_DAMAGES = (
    evaluated("area"),
    evaluated("area", "large"),
    evaluated("iscrowd"),
    evaluated("segmentation"),
    evaluated("segmentation", []),
)


def run_torchvision(kind, tmp_path, *more):
    from clsa.detection import torchvision_engine

    words = ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *more]
    torchvision_engine.run(Process(0, 1, torch.device("cpu")), load_config(get_cfg(), CONFIG[kind], words), "test")


def run_detectron2(kind, tmp_path, *more):
    from clsa.detection.detectron2_engine import run

    opts = ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.WEIGHTS", "", *more]
    options = {"eval_only": False, "resume": False, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}
    run(argparse.Namespace(config_file=CONFIG[kind], num_gpus=0, opts=opts, **options))


ENGINES = [run_torchvision, pytest.param(run_detectron2, marks=needs_detectron2)]


@pytest.mark.parametrize("damage", COCO_DAMAGES)
@pytest.mark.parametrize("run", ENGINES)
def test_bad_coco_stops_either_engine(root, tmp_path, run, damage):
    message = coco(root, damage)
    with pytest.raises(InputError, match=message):
        run("coco", tmp_path)


@pytest.mark.parametrize("damage", GROUND_TRUTH_DAMAGES)
@pytest.mark.parametrize("run", ENGINES)
def test_ground_truth_that_cannot_be_evaluated_stops_either_engine_before_it_trains(root, tmp_path, run, damage):
    message = damage(root)
    with pytest.raises(InputError, match=message):
        run("coco", tmp_path)
    assert not list(tmp_path.glob("out/model_*"))


def test_without_masks_the_ground_truth_needs_no_segmentation(root):
    evaluated("segmentation")(root)
    cfg = load_config(get_cfg(), CONFIG["coco"], ["MODEL.MASK_ON", "False"])
    check_data(cfg, needs_training_data=False)


@pytest.mark.parametrize("damage", VOC_DAMAGES)
@pytest.mark.parametrize("run", ENGINES)
def test_bad_voc_stops_either_engine(root, tmp_path, run, damage):
    message = damage(root)
    with pytest.raises(InputError, match=message):
        run("voc", tmp_path)


@pytest.mark.parametrize("run", ENGINES)
def test_a_number_below_its_limit_stops_either_engine(root, tmp_path, run):
    with pytest.raises(InputError, match=r"SOLVER\.MAX_ITER is 0: set it to 1 or more"):
        run("voc", tmp_path, "SOLVER.MAX_ITER", "0")


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_good_data_pass(root, kind, caplog):
    check_data(load_config(get_cfg(), CONFIG[kind]), needs_training_data=True)
    assert not caplog.records


def test_evaluation_alone_asks_nothing_of_the_training_data(root):
    coco(root, box_outside)
    check_data(load_config(get_cfg(), CONFIG["coco"]), needs_training_data=False)


def test_boxes_are_clipped_where_the_user_says_so(root, caplog):
    logging.getLogger("clsa").propagate = True
    coco(root, box_outside)
    check_data(load_config(get_cfg(), CONFIG["coco"], ["DATASETS.BAD_BOXES", "clip"]), needs_training_data=True)
    assert "coco_2017_train: a box leaves its image: 1 times" in caplog.text


@pytest.mark.parametrize(
    ("corners", "kind"),
    [
        ((0, 0, 100, 80), None),
        ((0, 0, 100.01, 80), None),  # COCO's coordinates have two decimals
        ((-1, -1, 100, 80), EDGE),  # VOC's xmin 0
        ((50, 50, 101, 80), EDGE),
        ((50, 50, 101.5, 80), OUTSIDE),
        ((-1.5, 0, 10, 10), OUTSIDE),
        ((10, 20, 30, 20), FLAT),
        ((100, 20, 100.5, 30), FLAT),  # nothing of it is inside
        ((30, 20, 10, 40), FLAT),
        ((120, 20, 130, 30), OUTSIDE),
    ],
)
def test_what_is_odd(corners, kind):
    assert [odd.kind for odd in inspect_box("F, image 7, annotation 3", 7, corners, 100, 80)] == (
        [kind] if kind else []
    )


def test_the_two_flat_boxes_of_train2017_pass_and_no_other(caplog):
    logging.getLogger("clsa").propagate = True
    flat = (296.65, 388.33, 297.68, 388.33)
    official = inspect_box("F, image 200365, annotation 918", 200365, flat, 640, 480)
    refuse_odd_boxes("coco_2017_train", official, "refuse")
    assert "1 times (F, image 200365, annotation 918), left out of training" in caplog.text
    with pytest.raises(InputError, match=r"F, image 200365, annotation 918: the box .* has no area"):
        refuse_odd_boxes("coco_2017_val", official, "refuse")
    another = inspect_box("F, image 9, annotation 1", 9, flat, 640, 480)
    with pytest.raises(InputError, match=r"annotation 1: .*So it is with 1 more of coco_2017_train\."):
        refuse_odd_boxes("coco_2017_train", [*official, *another, *another], "refuse")


def test_the_size_is_that_of_the_turned_image(tmp_path):
    image = Image.new("RGB", (40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert image_size(tmp_path / "turned.jpg") == (30, 40)
