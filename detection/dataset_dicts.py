"""detectron2's built-in data sets by name, as the list of dictionaries that detectron2's own loaders give.

The names are detectron2's (``voc_2007_trainval``, ``coco_2017_val``, ...), and so are the places: the folder that the
environment variable ``DETECTRON2_DATASETS`` names (default ``datasets``) holds ``VOC2007``, ``VOC2012`` and ``coco``.
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util

from clsa.configs.command import InputError
from clsa.datasets.categories import COCO_CATEGORIES, VOC_CLASSES
from clsa.datasets.voc_folder import annotation_path, image_path, read_annotation, read_image_ids

from .coco_file_check import check_coco_annotation, check_coco_categories, check_coco_images
from .odd_boxes import OddBox, inspect_box

#: The two of detectron2's ``BoxMode`` values that occur here.
XYXY, XYWH = 0, 1


@dataclass(frozen=True)
class DatasetSource:
    """Where one named split lies. ``folder`` is relative to :func:`data_root`."""

    name: str
    kind: str  # "voc" or "coco"
    folder: str
    split: str
    class_names: tuple[str, ...]

    @property
    def is_voc_2007(self) -> bool:
        """VOC changed its average precision after 2007, from 11 points to the area."""
        return self.kind == "voc" and self.folder == "VOC2007"


COCO_CLASSES = tuple(category["name"] for category in COCO_CATEGORIES)

SOURCES = {
    source.name: source
    for source in (
        *(
            DatasetSource(f"voc_{year}_{split}", "voc", f"VOC{year}", split, VOC_CLASSES)
            for year, splits in (("2007", ("train", "val", "trainval", "test")), ("2012", ("train", "val", "trainval")))
            for split in splits
        ),
        *(
            DatasetSource(f"coco_2017_{split}", "coco", "coco", f"{split}2017", COCO_CLASSES)
            for split in ("train", "val")
        ),
    )
}


def data_root() -> Path:
    """The folder of all data sets; read at each call, as a test or a user may change the variable."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def find_source(name: str) -> DatasetSource:
    """The named split; an ``InputError`` lists the names that exist."""
    if name not in SOURCES:
        raise InputError(f"unknown data set {name!r} in DATASETS. Known are {', '.join(SOURCES)}.")
    source = SOURCES[name]
    folder = data_root() / source.folder
    if not folder.is_dir():
        where = f"which is {data_root()}" if "DETECTRON2_DATASETS" in os.environ else "which is not set"
        raise InputError(
            f"{name}: the folder {folder} does not exist. Set DETECTRON2_DATASETS, {where}, to the folder that holds "
            "VOC2007, VOC2012 and coco; or render a miniature world with clsa-data."
        )
    return source


def annotation_file(source: DatasetSource) -> Path:
    """COCO's ``instances_*.json`` of a COCO split."""
    return data_root() / source.folder / "annotations" / f"instances_{source.split}.json"


def image_files(name: str) -> list[str]:
    """The split's images as paths relative to :func:`data_root`; no image file is opened."""
    source = find_source(name)
    if source.kind == "voc":
        return [
            image_path(source.folder, image_id).as_posix()
            for image_id in read_image_ids(data_root() / source.folder, source.split)
        ]
    images = _read_coco_json(annotation_file(source))["images"]
    return [f"{source.folder}/{source.split}/{image['file_name']}" for image in images]


def coco_annotations(source: DatasetSource) -> list[dict[str, Any]]:
    """The annotations of a COCO split as its file has them."""
    return _read_coco_json(annotation_file(source))["annotations"]


def load_dataset_dicts(name: str) -> list[dict[str, Any]]:
    """One dictionary for each image of a split: what detectron2's ``DatasetCatalog.get(name)`` returns.

    ``file_name``, ``height`` and ``width`` (pixels), ``image_id`` (VOC: str, COCO: int, ascending), ``annotations``: a
    list of ``bbox`` with ``bbox_mode`` (:data:`XYXY` for VOC, :data:`XYWH` for COCO), ``category_id`` (0 ..
    classes - 1) and for COCO ``iscrowd`` and ``segmentation`` (polygons, or a compressed RLE).

    VOC's boxes become 0-based corners, (xmin - 1, ymin - 1, xmax, ymax); its difficult objects are kept. COCO's
    polygons of fewer than three points are dropped, and an instance that has no other with them. Boxes that leave the
    image or have no area stay, as in detectron2: training clips and drops them (``dataset_check.py`` refuses them).

    Raises:
        InputError: unknown name, missing folder or file, unknown class or category id, annotation without image.
    """
    return load_with_odd_boxes(name)[0]


def load_with_odd_boxes(name: str) -> tuple[list[dict[str, Any]], list[OddBox]]:
    """The same, and the boxes that are not what a box should be."""
    source = find_source(name)
    return _load_voc(source) if source.kind == "voc" else _load_coco(source)


def _load_voc(source: DatasetSource) -> tuple[list[dict[str, Any]], list[OddBox]]:
    folder = data_root() / source.folder
    number = {class_name: index for index, class_name in enumerate(source.class_names)}
    records, odd_boxes = [], []
    for image_id in read_image_ids(folder, source.split):
        annotation = read_annotation(folder, image_id)
        objects = []
        for position, voc_object in enumerate(annotation.objects, 1):
            where = f"{annotation_path(folder, image_id)}, object {position} ({voc_object.name})"
            if voc_object.name not in number:
                raise InputError(
                    f"{where}: class {voc_object.name!r} is none of VOC's 20 classes. "
                    f"Correct its annotation; known are {', '.join(source.class_names)}."
                )
            xmin, ymin, xmax, ymax = (float(side) for side in voc_object.box)
            objects.append(
                {
                    "category_id": number[voc_object.name],
                    "bbox": [xmin - 1.0, ymin - 1.0, xmax, ymax],
                    "bbox_mode": XYXY,
                }
            )
            corners = (xmin - 1.0, ymin - 1.0, xmax, ymax)
            odd_boxes += inspect_box(where, image_id, corners, annotation.width, annotation.height)
        records.append(
            {
                "file_name": str(image_path(folder, image_id)),
                "image_id": image_id,
                "height": annotation.height,
                "width": annotation.width,
                "annotations": objects,
            }
        )
    return records, odd_boxes


def _load_coco(source: DatasetSource) -> tuple[list[dict[str, Any]], list[OddBox]]:
    path = annotation_file(source)
    content = _read_coco_json(path)
    check_coco_categories(path, content["categories"])
    number = {category["id"]: index for index, category in enumerate(COCO_CATEGORIES)}
    images = {image["id"]: image for image in content["images"]}
    objects: dict[int, list] = {image_id: [] for image_id in sorted(images)}
    annotation_ids: set[int] = set()
    odd_boxes = []
    without_polygon = 0
    for annotation in content["annotations"]:
        check_coco_annotation(path, annotation, images, number, annotation_ids)
        image_id, (x, y, width, height) = annotation["image_id"], annotation["bbox"]
        where = f"{path}, image {image_id}, annotation {annotation['id']}"
        image = images[image_id]
        odd_boxes += inspect_box(where, image_id, (x, y, x + width, y + height), image["width"], image["height"])
        record = {
            "iscrowd": annotation.get("iscrowd", 0),
            "bbox": annotation["bbox"],
            "bbox_mode": XYWH,
            "category_id": number[annotation["category_id"]],
        }
        if annotation.get("segmentation"):
            segmentation = _usable_segmentation(annotation["segmentation"])
            if not segmentation:
                without_polygon += 1
                continue
            record["segmentation"] = segmentation
        objects[image_id].append(record)
    if without_polygon:
        logging.getLogger("clsa").warning(
            "%s: %d instances left out, none of their polygons has three points", source.name, without_polygon
        )
    records = [
        {
            "file_name": str(data_root() / source.folder / source.split / images[image_id]["file_name"]),
            "image_id": image_id,
            "height": images[image_id]["height"],
            "width": images[image_id]["width"],
            "annotations": annotations,
        }
        for image_id, annotations in objects.items()
    ]
    return records, odd_boxes


def _usable_segmentation(segmentation: list | dict) -> list | dict:
    """Polygons of at least three points, or the RLE in its compressed form."""
    if isinstance(segmentation, dict):
        if isinstance(segmentation["counts"], list):
            return mask_util.frPyObjects(segmentation, *segmentation["size"])
        return segmentation
    return [polygon for polygon in segmentation if len(polygon) % 2 == 0 and len(polygon) >= 6]


def _read_coco_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist. Set DETECTRON2_DATASETS to the folder that holds coco/annotations."
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON: {error}. Replace it with a whole copy.") from error
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(content.get(key), list)]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: it is no COCO instance annotation file.")
    if not content["images"]:
        raise InputError(f"{path} lists no image.")
    check_coco_images(path, content["images"])
    return content
