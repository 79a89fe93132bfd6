"""One split of a VOC folder as image paths and a label matrix, checked before anything long begins.

N images, K classes; labels (N, K) int8: 1 present, -1 absent, 0 difficult.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clsa.configs.command import InputError
from clsa.datasets.voc_folder import image_path, read_class_labels, read_image_ids, split_path


@dataclass(frozen=True)
class LabelledSplit:
    """``image_ids`` and ``paths`` in the order of the split's file; ``labels`` (N, K) int8 in that of ``classes``."""

    name: str
    image_ids: tuple[str, ...]
    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    labels: np.ndarray


def read_split(voc_dir: str | os.PathLike, split: str, classes: Sequence[str]) -> LabelledSplit:
    """Read ``ImageSets/Main/SPLIT.txt`` and the ``CLASS_SPLIT.txt`` of every class.

    Raises:
        InputError: no such folder; a class file that labels other images than the split lists; images that are not
            there; what :mod:`clsa.datasets.voc_folder` refuses.
    """
    if not Path(voc_dir).is_dir():
        raise InputError(
            f"data folder {voc_dir} does not exist. Give the VOC2007 folder, the one with JPEGImages/ and ImageSets/; "
            "`clsa-data mini --root DIR` renders a miniature one as DIR/VOC2007."
        )
    image_ids = read_image_ids(voc_dir, split)
    columns = []
    for name in classes:
        by_image = read_class_labels(voc_dir, name, split)
        if by_image.keys() != set(image_ids):
            missing, extra = sorted(set(image_ids) - by_image.keys()), sorted(by_image.keys() - set(image_ids))
            raise InputError(
                f"{split_path(voc_dir, f'{name}_{split}')} disagrees with {split_path(voc_dir, split).name}: it lacks "
                f"{_some(missing)} and has {_some(extra)} besides. Both must list the same images."
            )
        columns.append([by_image[image_id] for image_id in image_ids])

    paths = tuple(image_path(voc_dir, image_id) for image_id in image_ids)
    absent = [path.name for path in paths if not path.is_file()]
    if absent:
        raise InputError(
            f"{len(absent)} of the {len(paths)} images of split {split} are not in {paths[0].parent}: {_some(absent)}. "
            "Complete the data; a probe on fewer images is another measurement."
        )
    return LabelledSplit(split, tuple(image_ids), paths, tuple(classes), np.array(columns, dtype=np.int8).T)


def joined_splits(first: LabelledSplit, second: LabelledSplit) -> LabelledSplit:
    """Both, one after the other, as ``FIRST+SECOND``; they share their classes and no image."""
    return LabelledSplit(
        name=f"{first.name}+{second.name}",
        image_ids=first.image_ids + second.image_ids,
        paths=first.paths + second.paths,
        classes=first.classes,
        labels=np.concatenate([first.labels, second.labels]),
    )


def _some(names: Sequence[str]) -> str:
    """The first three and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"
