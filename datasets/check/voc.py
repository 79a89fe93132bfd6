"""VOC2007 and VOC2012: the lists, the images and annotations that they name, and the labels of each class."""

from pathlib import Path

from tqdm import tqdm

from clsa.configs.command import InputError

from ..categories import VOC_CLASSES
from ..voc_folder import image_path, read_annotation, read_class_labels, read_image_ids, split_path
from .part import Part


def check_voc(root: Path, year: int, split: str, expected: int) -> Part:
    """Look over ``SPLIT`` of ``root/VOC{year}``. Label files are asked of VOC2007 only, where the probes read them."""
    part = Part(f"VOC{year}/{split}", expected)
    voc_dir = root / f"VOC{year}"
    if not voc_dir.is_dir():
        inner = root / "VOCdevkit" / voc_dir.name
        part.is_missing(
            f"{inner} must lie right in the root: mv {inner} {root}"
            if inner.is_dir()
            else f"no folder {voc_dir}; unpack the archives of VOC{year} and move it there, without VOCdevkit/"
        )
        return part
    try:
        ids = read_image_ids(voc_dir, split)
    except InputError as error:
        if not split_path(voc_dir, split).exists():
            part.is_missing(str(error))
        else:
            part.say(str(error))
        return part

    paths = {image_id: image_path(voc_dir, image_id) for image_id in ids}
    files = {path.name for path in (voc_dir / "JPEGImages").glob("*")}
    part.images = [path for path in paths.values() if path.name in files]
    part.found = len(part.images)
    if absent := [path.name for path in paths.values() if path.name not in files]:
        part.say("listed images are not in JPEGImages/", absent)
    if len(ids) == 1:
        part.say("the list names a single image, with which detectron2's reader fails")
    _check_annotations(part, voc_dir, ids, whole_boxes=split == "test")
    if year == 2007:
        _check_labels(part, voc_dir, split, ids)
    return part


def _check_annotations(part: Part, voc_dir: Path, ids: list[str], whole_boxes: bool) -> None:
    bad: list[str] = []
    unknown: dict[str, list[str]] = {}
    fractions = []
    for image_id in tqdm(ids, desc=part.name, unit=" annotations", disable=None):
        try:
            objects = read_annotation(voc_dir, image_id).objects
        except InputError as error:
            bad.append(str(error))
            continue
        for item in objects:
            if item.name not in VOC_CLASSES:
                unknown.setdefault(item.name, []).append(image_id)
        if whole_boxes and any(not isinstance(side, int) for item in objects for side in item.box):
            fractions.append(image_id)
    if bad:
        part.say(f"{len(bad):,} annotations cannot be used; the first: {bad[0]}")
    for name, images in unknown.items():
        part.say(f"annotations name the class {name!r}, which VOC does not have", images)
    if fractions:
        part.say("annotations have boxes that are no whole pixels, which VOC's evaluation refuses", fractions)


def _check_labels(part: Part, voc_dir: Path, split: str, ids: list[str]) -> None:
    absent, damaged, different = [], [], []
    for class_name in VOC_CLASSES:
        path = split_path(voc_dir, f"{class_name}_{split}")
        if not path.exists():
            absent.append(path.name)
            continue
        try:
            labels = read_class_labels(voc_dir, class_name, split)
        except InputError as error:
            damaged.append(str(error))
            continue
        if labels.keys() != set(ids):
            different.append(path.name)
    if absent:
        part.say("label files are not in ImageSets/Main/", absent)
    if damaged:
        part.say(f"{len(damaged):,} label files cannot be used; the first: {damaged[0]}")
    if different:
        part.say(f"label files do not label the images of {split}.txt", different)
