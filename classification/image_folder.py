"""ImageNet's layout, ``ROOT/{train,val}/CLASS/IMAGE``, as paths and class numbers; any folder of that kind serves."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clsa.configs.command import InputError


@dataclass(frozen=True)
class ClassifiedImages:
    """``paths`` by class, then by name; ``image_ids``, the same relative to the split's folder; ``targets`` (N,) int64,
    numbers into ``classes``, which are sorted."""

    name: str
    paths: list[str]
    image_ids: list[str]
    targets: np.ndarray
    classes: tuple[str, ...]


def read_image_folder(root: str | os.PathLike, train: str, val: str) -> tuple[ClassifiedImages, ClassifiedImages]:
    """Both splits.

    Raises:
        InputError: a split that is not there, without classes, with an empty class; other classes in one than in the
            other.
    """
    splits = [_read_split(Path(root), name) for name in (train, val)]
    if splits[0].classes != splits[1].classes:
        only = [sorted(set(a.classes) - set(b.classes)) for a, b in (splits, splits[::-1])]
        raise InputError(
            f"{root}: {train} has {len(splits[0].classes)} classes, {val} {len(splits[1].classes)}; {only[0][:3]} only "
            f"in {train}, {only[1][:3]} only in {val}. Both need the same class folders (ImageNet's val must be sorted "
            "into them)."
        )
    return splits[0], splits[1]


def _read_split(root: Path, name: str) -> ClassifiedImages:
    from torchvision.datasets import ImageFolder

    try:
        folder = ImageFolder(str(root / name))
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{root / name} must hold a folder of images for each class: {reason}") from error
    return ClassifiedImages(
        name=name,
        paths=[path for path, _ in folder.samples],
        image_ids=[os.path.relpath(path, root / name) for path, _ in folder.samples],
        targets=np.array(folder.targets, dtype=np.int64),
        classes=tuple(folder.classes),
    )
