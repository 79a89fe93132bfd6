"""VOC's layout: ``Annotations/ID.xml``, ``JPEGImages/ID.jpg`` and, in ``ImageSets/Main``, lists and labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ..categories import VOC_CLASSES
from .chance import class_in_turn, generator
from .jpeg import write_jpeg
from .outlines import mask_to_box
from .pictures import Picture, Shown, voc_picture

#: VOC's own rules in numbers: "truncated" if this share or more is hidden or outside, "difficult" if hardly seen.
_TRUNCATED_BELOW, _DIFFICULT_BELOW, _DIFFICULT_AREA = 0.85, 0.35, 0.004


@dataclass(frozen=True)
class VOCJob:
    """One picture of ``split`` (``"trainval"`` or ``"test"``) of the folder ``VOC2007`` or ``VOC2012``."""

    folder: Path
    split: str
    index: int
    seed: int
    side: int
    image_id: str

    def draw(self) -> dict[str, int]:
        """Write image and annotation; return class name -> 1, or 0 where only difficult ones are seen."""
        source = f"{self.folder.name}/{self.split}"
        class_name = class_in_turn(self.seed, source, self.index)
        picture = voc_picture(generator(self.seed, source, self.index), class_name, self.side)
        write_jpeg(self.folder / "JPEGImages" / f"{self.image_id}.jpg", picture.image)
        tree = _annotation(self.folder.name, self.image_id, picture)
        tree.write(self.folder / "Annotations" / f"{self.image_id}.xml", encoding="utf-8")

        labels: dict[str, int] = {}
        for shown in picture.shown:
            labels[shown.class_name] = max(labels.get(shown.class_name, 0), int(not _is_difficult(shown)))
        return labels


def make_folders(folder: Path) -> None:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)


def write_lists(folder: Path, split: str, labels: Mapping[str, Mapping[str, int]]) -> None:
    """Images into ``SPLIT.txt``, labels into ``CLASS_SPLIT.txt``; ``labels``: image id -> what ``draw`` returned."""
    lists = folder / "ImageSets" / "Main"
    (lists / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in labels))
    for class_name in VOC_CLASSES:
        lines = (f"{image_id} {present.get(class_name, -1):2d}\n" for image_id, present in labels.items())
        (lists / f"{class_name}_{split}.txt").write_text("".join(lines))


def split_trainval(image_ids: list[str]) -> tuple[list[str], list[str]]:
    """Train and val: blocks of twenty images in turn, so that both have every class."""
    block = len(VOC_CLASSES)
    train = [image_id for i, image_id in enumerate(image_ids) if i // block % 2 == 0]
    val = [image_id for i, image_id in enumerate(image_ids) if i // block % 2 == 1]
    return train, val


def _annotation(folder: str, image_id: str, picture: Picture) -> ElementTree.ElementTree:
    height, width = picture.image.shape[:2]
    root = ElementTree.Element("annotation")
    _add(root, folder=folder, filename=f"{image_id}.jpg")
    _add(_child(root, "source"), database="The miniature world", annotation=f"PASCAL {folder}", image="drawn")
    _add(_child(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=0)
    for shown in picture.shown:
        element = _child(root, "object")
        _add(element, name=shown.class_name, pose=shown.pose)
        _add(element, truncated=int(shown.seen < _TRUNCATED_BELOW), difficult=int(_is_difficult(shown)))
        left, top, box_width, box_height = mask_to_box(shown.mask)
        # VOC counts pixels from 1 and includes both ends
        _add(_child(element, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=left + box_width, ymax=top + box_height)
    ElementTree.indent(root, "\t")
    return ElementTree.ElementTree(root)


def _is_difficult(shown: Shown) -> bool:
    return shown.seen < _DIFFICULT_BELOW or np.count_nonzero(shown.mask) < _DIFFICULT_AREA * shown.mask.size


def _child(parent: ElementTree.Element, tag: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag)


def _add(parent: ElementTree.Element, **texts: str | int) -> None:
    for tag, text in texts.items():
        _child(parent, tag).text = str(text)
