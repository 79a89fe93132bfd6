"""VOC splits as label matrices, and what is refused before anything long begins."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from clsa.classification.labels import read_split
from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import read_annotation


@pytest.fixture
def voc(mini_root: Path, tmp_path: Path) -> Path:
    """A copy of VOC2007 without its annotations, to be damaged."""
    shutil.copytree(mini_root / "VOC2007" / "ImageSets", tmp_path / "VOC2007" / "ImageSets")
    shutil.copytree(mini_root / "VOC2007" / "JPEGImages", tmp_path / "VOC2007" / "JPEGImages")
    return tmp_path / "VOC2007"


def test_labels_say_what_the_annotations_say(mini_root: Path) -> None:
    split = read_split(mini_root / "VOC2007", "test", VOC_CLASSES)
    assert split.labels.shape == (len(split.image_ids), 20)
    for image_id, row in zip(split.image_ids, split.labels, strict=True):
        objects = read_annotation(mini_root / "VOC2007", image_id).objects
        for name, label in zip(VOC_CLASSES, row, strict=True):
            difficult = [thing.difficult for thing in objects if thing.name == name]
            assert label == (-1 if not difficult else 0 if all(difficult) else 1)
    assert all(path.is_file() for path in split.paths)


def test_missing_data_folder(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"data folder .*nowhere does not exist. Give the VOC2007 folder.*clsa-data mini"
    ):
        read_split(tmp_path / "nowhere", "trainval", VOC_CLASSES)


def test_class_file_of_other_images(voc: Path) -> None:
    path = voc / "ImageSets" / "Main" / "cow_trainval.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["000000 -1", *lines[1:]]) + "\n")
    expected = rf"cow_trainval.txt disagrees with trainval.txt: it lacks {lines[0].split()[0]} and has 000000 besides"
    with pytest.raises(InputError, match=expected):
        read_split(voc, "trainval", VOC_CLASSES)


def test_label_other_than_1_0_minus_1(voc: Path) -> None:
    path = voc / "ImageSets" / "Main" / "dog_test.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0].split()[0]} 2", *lines[1:]]) + "\n")
    with pytest.raises(InputError, match=r"dog_test.txt, line 1: .* 2' is not an image id and 1, -1 or 0"):
        read_split(voc, "test", VOC_CLASSES)


def test_missing_images_are_counted_and_named(voc: Path) -> None:
    ids = read_split(voc, "test", VOC_CLASSES).image_ids
    for image_id in ids[:5]:
        (voc / "JPEGImages" / f"{image_id}.jpg").unlink()
    with pytest.raises(InputError, match=rf"5 of the {len(ids)} images of split test .*{ids[0]}.jpg.* and 2 more"):
        read_split(voc, "test", VOC_CLASSES)


def test_order_is_that_of_the_split_and_not_of_the_class_file(voc: Path) -> None:
    before = read_split(voc, "test", VOC_CLASSES)
    path = voc / "ImageSets" / "Main" / "cat_test.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    np.testing.assert_array_equal(read_split(voc, "test", VOC_CLASSES).labels, before.labels)
