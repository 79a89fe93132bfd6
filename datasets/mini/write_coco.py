"""COCO's layout: ``{train,val}2017/TWELVE-DIGITS.jpg`` and ``annotations/instances_{train,val}2017.json``."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..categories import COCO_CATEGORIES, VOC_TO_COCO
from .chance import generator
from .jpeg import write_jpeg
from .outlines import mask_to_box, mask_to_polygons, mask_to_runs
from .pictures import coco_picture

_CATEGORY_IDS = {category["name"]: category["id"] for category in COCO_CATEGORIES}


@dataclass(frozen=True)
class COCOJob:
    """One picture of ``split`` (``"train2017"`` or ``"val2017"``), its longer side in the range ``sides``."""

    folder: Path
    split: str
    index: int
    seed: int
    sides: tuple[int, int]
    image_id: int

    def draw(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Write the image; return its entries for ``images`` and ``annotations``, the latter still without ids."""
        rng = generator(self.seed, f"coco/{self.split}", self.index)
        picture = coco_picture(rng, int(rng.integers(*self.sides, endpoint=True)))
        file_name = f"{self.image_id:012d}.jpg"
        write_jpeg(self.folder / self.split / file_name, picture.image)

        height, width = picture.image.shape[:2]
        image = {"license": 1, "file_name": file_name, "height": height, "width": width, "id": self.image_id}
        annotations = [
            {
                "segmentation": mask_to_runs(shown.mask) if shown.crowd else mask_to_polygons(shown.mask),
                "area": int(np.count_nonzero(shown.mask)),
                "iscrowd": int(shown.crowd),
                "image_id": self.image_id,
                "bbox": mask_to_box(shown.mask),
                "category_id": _CATEGORY_IDS[VOC_TO_COCO[shown.class_name]],
            }
            for shown in picture.shown
        ]
        return image, annotations


def make_folders(folder: Path) -> None:
    for name in ("annotations", "train2017", "val2017"):
        (folder / name).mkdir(parents=True)


def write_instances(path: Path, drawn: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    """The JSON file of one split, from what ``COCOJob.draw`` returned. Annotation ids start at 1: pycocotools takes a
    match with annotation 0 for no match."""
    images, annotations = [], []
    for image, in_image in drawn:
        images.append(image)
        for annotation in in_image:
            annotations.append({**annotation, "id": len(annotations) + 1})
    content = {
        "info": {"description": "The miniature world in COCO's format", "version": "1", "year": 2017},
        "licenses": [{"id": 1, "name": "MIT License", "url": "https://opensource.org/license/mit"}],
        "images": images,
        "annotations": annotations,
        "categories": list(COCO_CATEGORIES),
    }
    path.write_text(json.dumps(content, separators=(",", ":")))
