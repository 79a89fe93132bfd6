"""ImageNet as class folders: ``imagenet/train/WNID/*.JPEG`` and ``imagenet/val/WNID/*.JPEG``."""

import os
from pathlib import Path

from tqdm import tqdm

from .part import Part

#: What torchvision's ImageFolder takes for an image.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def check_imagenet(root: Path, split: str, expected: int, classes: int) -> Part:
    """Look over ``root/imagenet/SPLIT``, which shall have ``classes`` folders with ``expected`` images in all."""
    part = Part(f"imagenet/{split}", expected)
    folder = root / part.name
    if not folder.is_dir():
        part.is_missing(f"no folder {folder}; unpack ImageNet there, one folder a class")
        return part
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    class_folders = [entry for entry in entries if entry.is_dir()]
    loose = [entry.name for entry in entries if _is_image(entry.name)]
    if loose:
        part.say("images lie beside the class folders; sort them into the folders of their classes", loose)

    empty = []
    for class_folder in tqdm(class_folders, desc=part.name, unit=" classes", disable=None):
        images = [class_folder.path + os.sep + name for name in os.listdir(class_folder.path) if _is_image(name)]
        part.images += map(Path, images)
        if not images:
            empty.append(class_folder.name)
    if empty:
        part.say("class folders hold no image", empty)
    if len(class_folders) != classes:
        part.say(f"{len(class_folders):,} class folders instead of {classes:,}")
    part.found = len(part.images)
    return part


def check_same_classes(train: Part, val: Part) -> None:
    """A class of only one split would shift the numbers of the classes behind it."""
    if not (train.present and val.present):
        return
    names = [{path.parent.name for path in part.images} for part in (train, val)]
    if odd := sorted(names[0] ^ names[1]):
        val.say("classes are in only one of train and val", odd)


def _is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)
