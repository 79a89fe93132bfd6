"""The data sets that a probe takes: VOC's folder with any classes, and a folder of images for each class.

Nothing is guessed: where the layout, the classes or the splits are not plain, the error names what is there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import annotation_path, read_annotation, split_path

from .image_folder import ClassifiedImages, read_image_folder
from .labels import LabelledSplit, read_split

LAYOUTS = ("auto", "voc", "image_folder")


def layout_of(root: str | os.PathLike, cfg: CfgNode) -> str:
    """``"voc"`` or ``"image_folder"``.

    Args:
        cfg: the ``DATA`` node.
    """
    root = Path(root)
    if cfg.LAYOUT not in LAYOUTS:
        raise InputError(f"DATA.LAYOUT {cfg.LAYOUT!r} is unknown. Give one of {', '.join(LAYOUTS)}.")
    if not root.is_dir():
        raise InputError(
            f"data folder {root} does not exist. Give the VOC2007 folder, the one with JPEGImages/ and ImageSets/, or "
            "one with SPLIT/CLASS/IMAGE; `clsa-data mini --root DIR` renders a miniature one as DIR/VOC2007."
        )
    if cfg.LAYOUT != "auto":
        return cfg.LAYOUT
    if (root / "ImageSets" / "Main").is_dir():
        return "voc"
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    if {cfg.TRAIN_SPLIT, cfg.TEST_SPLIT} <= set(folders):
        return "image_folder"
    raise InputError(
        f"{root} has neither ImageSets/Main (VOC's layout) nor the folders {cfg.TRAIN_SPLIT}/ and {cfg.TEST_SPLIT}/ "
        f"with a folder of images for each class. Its folders: {', '.join(folders[:8]) or 'none'}. Name the splits, "
        "for instance DATA.TRAIN_SPLIT train DATA.TEST_SPLIT val."
    )


def read_splits(root: str | os.PathLike, cfg: CfgNode, names: Sequence[str] | None = None) -> tuple[LabelledSplit, ...]:
    """The splits ``names`` (training and test split, if not given) of a data set in either layout, with its classes.

    Args:
        cfg: the ``DATA`` node.

    Raises:
        InputError: no such folder, split or class; files that disagree; images that are not there.
    """
    names = (cfg.TRAIN_SPLIT, cfg.TEST_SPLIT) if names is None else tuple(names)
    if layout_of(root, cfg) == "image_folder":
        if len(names) != 2:
            raise InputError(
                f"this probe needs the splits {', '.join(names)} in VOC's layout, {root} is an image folder"
            )
        return tuple(_one_vs_rest(Path(root), split) for split in read_image_folder(root, *names))
    classes = tuple(cfg.CLASSES) or _classes_of(root, names[0])
    splits = tuple(read_split(root, name, classes) for name in names)
    if cfg.CHECK_XML and (Path(root) / "Annotations").is_dir():
        for split in splits:
            check_against_xml(root, split)
    return splits


def check_against_xml(voc_dir: str | os.PathLike, split: LabelledSplit) -> None:
    """Refuse class files that say something else than the annotations: 1 an object, 0 only difficult ones, -1 none."""
    for row, image_id in enumerate(tqdm(split.image_ids, desc=f"annotations, {split.name}", unit="image", leave=False)):
        objects = read_annotation(voc_dir, image_id).objects
        plain = {found.name for found in objects if not found.difficult}
        difficult = {found.name for found in objects if found.difficult}
        for column, name in enumerate(split.classes):
            told = 1 if name in plain else 0 if name in difficult else -1
            if (label := int(split.labels[row, column])) != told:
                raise InputError(
                    f"{split_path(voc_dir, f'{name}_{split.name}')} labels image {image_id} {label}, by "
                    f"{annotation_path(voc_dir, image_id).name} it is {told} (1: an object of the class, 0: only "
                    "difficult ones, -1: none). Correct one of the two; DATA.CHECK_XML False trusts the class files."
                )


def _classes_of(voc_dir: str | os.PathLike, split: str) -> tuple[str, ...]:
    """Every class with a file for the split, in alphabetical order, which is also VOC's own.

    Some of VOC's twenty and no others are most likely an incomplete copy, and their mean no VOC figure: refused.
    """
    folder, ending = split_path(voc_dir, split).parent, f"_{split}.txt"
    classes = tuple(sorted(path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")))
    if not classes:
        there = sorted({path.stem for path in folder.glob("*.txt") if "_" not in path.name})
        raise InputError(
            f"{folder} has no CLASS{ending}, which label the images of split {split}. Its splits: "
            f"{', '.join(there[:8]) or 'none'}."
        )
    missing = [name for name in VOC_CLASSES if name not in classes]
    if set(classes) < set(VOC_CLASSES):
        raise InputError(
            f"{folder} lacks {missing[0]}{ending}, {len(missing)} of VOC's 20 classes in all. Complete the data, or "
            f'list the classes that are meant: DATA.CLASSES "{list(classes[:2])}".'
        )
    return classes


def _one_vs_rest(root: Path, images: ClassifiedImages) -> LabelledSplit:
    """1 for an image's own class and -1 for the others; ids are paths within the split's folder."""
    paths = tuple(Path(path) for path in images.paths)
    labels = np.full((len(paths), len(images.classes)), -1, dtype=np.int8)
    labels[np.arange(len(paths)), images.targets] = 1
    ids = tuple(path.relative_to(root).as_posix() for path in paths)
    return LabelledSplit(images.name, ids, paths, images.classes, labels)
