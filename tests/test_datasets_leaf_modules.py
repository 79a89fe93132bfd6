"""Class names, fingerprints of file lists, and single images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clsa.configs.command import InputError
from clsa.datasets.categories import COCO_CATEGORIES, VOC_CLASSES, VOC_TO_COCO
from clsa.datasets.fingerprint import dataset_record
from clsa.datasets.images import open_rgb


def test_categories() -> None:
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)
    ids = [category["id"] for category in COCO_CATEGORIES]
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert ids == [number for number in range(1, 91) if number not in unused]
    by_name = {category["name"]: category for category in COCO_CATEGORIES}
    assert set(VOC_TO_COCO) == set(VOC_CLASSES)
    assert set(VOC_TO_COCO.values()) <= set(by_name)
    assert by_name[VOC_TO_COCO["tvmonitor"]] == {"id": 72, "name": "tv", "supercategory": "electronic"}
    assert by_name[VOC_TO_COCO["sofa"]] == {"id": 63, "name": "couch", "supercategory": "furniture"}


def test_a_fingerprint_is_of_the_sorted_names(tmp_path: Path) -> None:
    record = dataset_record("some", ["b/2.jpg", Path("a/1.jpg")], tmp_path)
    assert record == {
        "name": "some",
        "root": str(tmp_path),
        "fingerprint": {"images": 2, "file_list_sha256": hashlib.sha256(b"a/1.jpg\nb/2.jpg\n").hexdigest()},
        "miniature": None,
    }


@pytest.mark.parametrize("file", ["/abs/1.jpg", "../1.jpg"])
def test_a_fingerprint_does_not_depend_on_the_machine(tmp_path: Path, file: str) -> None:
    with pytest.raises(ValueError, match="is not relative to"):
        dataset_record("some", [file], tmp_path)


def test_a_record_says_that_the_data_is_miniature(mini_root: Path) -> None:
    for folder in (mini_root, mini_root / "VOC2007", mini_root / "imagenet" / "train"):
        miniature = dataset_record("some", [], folder)["miniature"]
        assert (miniature["size"], miniature["seed"], miniature["counts"]["imagenet"]["train"]) == ("tiny", 0, 60)


def test_a_damaged_mini_world_file(tmp_path: Path) -> None:
    for text in ("{", "[]"):
        (tmp_path / "mini_world.json").write_text(text)
        with pytest.raises(InputError, match=r"mini_world\.json is damaged"):
            dataset_record("some", [], tmp_path)


def test_open_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(tmp_path / "gray.png")
    assert (np.asarray(open_rgb(tmp_path / "gray.png")) == np.full((4, 6, 3), 7)).all()


def test_images_that_cannot_be_read(tmp_path: Path, mini_root: Path) -> None:
    whole = next((mini_root / "VOC2007" / "JPEGImages").iterdir()).read_bytes()
    cut_off, no_image = tmp_path / "cut_off.jpg", tmp_path / "no_image.jpg"
    cut_off.write_bytes(whole[: len(whole) // 2])
    no_image.write_text("hello")
    for path in (cut_off, no_image):
        with pytest.raises(InputError, match=rf"image {path} cannot be read: .* Replace or remove it"):
            open_rgb(path)
    with pytest.raises(InputError, match=r"nowhere\.jpg does not exist"):
        open_rgb(tmp_path / "nowhere.jpg")
