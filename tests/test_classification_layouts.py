"""Data sets other than VOC07, and label files that contradict each other."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from clsa.classification.config import get_cfg
from clsa.classification.layouts import layout_of, read_splits
from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES


@pytest.fixture
def voc(mini_root: Path, tmp_path: Path) -> Path:
    """VOC2007 with an ImageSets of its own, to be changed."""
    folder = tmp_path / "VOC2007"
    shutil.copytree(mini_root / "VOC2007" / "ImageSets", folder / "ImageSets")
    for name in ("JPEGImages", "Annotations"):
        (folder / name).symlink_to(mini_root / "VOC2007" / name)
    return folder


def settings(**changes):
    cfg = get_cfg().DATA
    for key, value in changes.items():
        cfg[key] = value
    return cfg


def relabel(voc: Path, name: str, row: int, label: int) -> str:
    """Another label for one image in one class file; returns the image."""
    path = voc / "ImageSets" / "Main" / f"{name}.txt"
    lines = path.read_text().splitlines()
    image_id = lines[row].split()[0]
    lines[row] = f"{image_id} {label}"
    path.write_text("\n".join(lines) + "\n")
    return image_id


def test_voc_itself(mini_root: Path) -> None:
    train, test = read_splits(mini_root / "VOC2007", settings())
    assert (train.name, test.name) == ("trainval", "test")
    assert train.classes == test.classes == VOC_CLASSES


def test_a_class_file_that_disagrees_with_the_xml(voc: Path) -> None:
    train, _ = read_splits(voc, settings())
    row = int(np.flatnonzero(train.labels[:, VOC_CLASSES.index("cow")] == -1)[0])
    image_id = relabel(voc, "cow_trainval", row, 1)
    message = rf"cow_trainval.txt labels image {image_id} 1, by {image_id}.xml it is -1 .*DATA.CHECK_XML False"
    with pytest.raises(InputError, match=message):
        read_splits(voc, settings())
    trusted, _ = read_splits(voc, settings(CHECK_XML=False))
    assert trusted.labels[row, VOC_CLASSES.index("cow")] == 1


def test_difficult_is_read_from_the_xml(voc: Path, mini_root: Path) -> None:
    (voc / "Annotations").unlink()
    shutil.copytree(mini_root / "VOC2007" / "Annotations", voc / "Annotations")
    train, _ = read_splits(voc, settings())
    row, image_id = 0, train.image_ids[0]
    names = [name for name, label in zip(VOC_CLASSES, train.labels[row], strict=True) if label == 1]
    path = voc / "Annotations" / f"{image_id}.xml"
    path.write_text(path.read_text().replace("<difficult>0</difficult>", "<difficult>1</difficult>"))
    with pytest.raises(InputError, match=rf"{names[0]}_trainval.txt labels image {image_id} 1, by .*.xml it is 0"):
        read_splits(voc, settings())
    for name in names:
        relabel(voc, f"{name}_trainval", row, 0)
    assert (read_splits(voc, settings())[0].labels[row] == 0).sum() == len(names)


def test_own_classes_and_splits_without_annotations(voc: Path) -> None:
    main = voc / "ImageSets" / "Main"
    (voc / "Annotations").unlink()
    for path in list(main.iterdir()):
        stem = path.stem.replace("trainval", "learn").replace("test", "exam")
        keep = path.stem in ("trainval", "test") or path.stem.startswith(("dog_", "cat_"))
        if keep and path.stem.endswith(("trainval", "test")):
            path.rename(main / f"{stem.replace('dog', 'hound')}.txt")
        else:
            path.unlink()
    train, test = read_splits(voc, settings(TRAIN_SPLIT="learn", TEST_SPLIT="exam"))
    assert train.classes == test.classes == ("cat", "hound")
    assert train.labels.shape == (len(train.paths), 2)
    with pytest.raises(InputError, match=r"has no CLASS_trainval.txt.* Its splits: exam, learn"):
        read_splits(voc, settings())


def test_a_part_of_vocs_classes_is_not_taken_for_voc(voc: Path) -> None:
    (voc / "ImageSets" / "Main" / "sheep_trainval.txt").unlink()
    with pytest.raises(InputError, match=r"lacks sheep_trainval.txt, 1 of VOC's 20 classes.*DATA.CLASSES"):
        read_splits(voc, settings())
    train, test = read_splits(voc, settings(CLASSES=["dog", "cat"]))
    assert train.classes == test.classes == ("dog", "cat")


def test_image_folder_is_one_class_against_the_others(mini_root: Path) -> None:
    root = mini_root / "imagenet"
    cfg = settings(TRAIN_SPLIT="train", TEST_SPLIT="val")
    assert layout_of(root, cfg) == "image_folder"
    train, val = read_splits(root, cfg)
    assert train.classes == tuple(sorted(path.name for path in (root / "train").iterdir()))
    assert (train.labels == 1).sum(axis=1).tolist() == [1] * len(train.paths)
    assert set(np.unique(val.labels)) == {1, -1}
    for path, image_id, row in zip(train.paths, train.image_ids, train.labels, strict=True):
        assert path == root / image_id
        assert train.classes[int(row.argmax())] == path.parent.name


def test_what_is_there_is_named(mini_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nor the folders trainval/ and test/ .* Its folders: train, val"):
        read_splits(mini_root / "imagenet", settings())
    with pytest.raises(InputError, match=r"DATA.LAYOUT 'coco' is unknown. Give one of auto, voc, image_folder"):
        read_splits(mini_root, settings(LAYOUT="coco"))
    with pytest.raises(InputError, match=r"data folder .*nowhere does not exist"):
        read_splits(tmp_path / "nowhere", settings())
