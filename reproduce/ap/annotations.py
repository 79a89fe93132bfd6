"""The objects that are to be found, from a COCO annotation file or a VOC folder, as arrays.

Shapes: G objects of I images and K categories; images and categories are numbered by the rank of their ids.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clsa.configs.command import InputError
from clsa.datasets.voc_coco_form import Difficult

from .masks import is_finite, run_lengths
from .voc_form import voc_as_coco

IouType = Literal["bbox", "segm"]


@dataclass(frozen=True)
class GroundTruth:
    """A split's annotations. ``shapes`` is what IoU is taken of: (G, 4) float64 x, y, width, height, or G RLEs."""

    source: Path
    flavour: str  # of the average precision: "COCO", or which form of VOC
    iou_type: IouType
    image_ids: tuple[int, ...]  # I, ascending
    image_names: Mapping[str, int]  # file name without folder and ending -> number of the image
    image_sizes: tuple[tuple[int, int], ...]  # I times height, width
    category_ids: tuple[int, ...]  # K, ascending
    category_names: tuple[str, ...]  # K
    image: np.ndarray  # (G,) int64 number
    category: np.ndarray  # (G,) int64 number
    area: np.ndarray  # (G,) float64 pixels, as annotated; below 0 counts nowhere
    crowd: np.ndarray  # (G,) bool
    shapes: np.ndarray | list[dict[str, Any]]


def read_annotations(
    path: Path, iou_type: IouType = "bbox", split: str = "test", difficult: Difficult = "ignored"
) -> GroundTruth:
    """Read a COCO annotation file, or ``ImageSets/Main/SPLIT.txt`` of a VOC folder.

    Unlike pycocotools, to which an annotation with id 0 can never be found, this takes no notice of annotations' ids.

    Args:
        path: a JSON file or a folder.
        split, difficult: of a VOC folder alone, see :func:`~clsa.reproduce.ap.voc_form.voc_as_coco`.

    Raises:
        InputError: not such a file, or an entry that cannot be meant so; VOC with masks.
    """
    if path.is_dir():
        if iou_type == "segm":
            raise InputError(f"{path} is a VOC folder, whose objects have boxes alone. Leave --iou-type bbox.")
        content = voc_as_coco(path, split, difficult)
        return ground_truth(content, path, iou_type, f"COCO form of VOC, difficult {difficult}")
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise InputError(f"{path} is no COCO annotation file: it needs lists 'images', 'annotations' and 'categories'.")
    info = content.get("info")  # COCO's own is a dictionary; other tools leave null or a list
    description = str(info.get("description", "")) if isinstance(info, dict) else ""
    policy = description.partition("in COCO's form; difficult objects: ")[2]
    return ground_truth(
        content, path, iou_type, f"COCO form of VOC, difficult {policy.split(';')[0]}" if policy else "COCO"
    )


def ground_truth(content: Mapping[str, Any], source: Path, iou_type: IouType, flavour: str = "COCO") -> GroundTruth:
    """The same from the content of a COCO annotation file.

    Raises:
        InputError: naming the entry.
    """
    images = _by_id(content["images"], f"{source}, images")
    categories = _by_id(content["categories"], f"{source}, categories")
    image_number = {key: number for number, key in enumerate(images)}
    category_number = {key: number for number, key in enumerate(categories)}
    image, category, area, crowd, shapes = [], [], [], [], []
    for position, annotation in enumerate(content["annotations"], 1):
        where = f"{source}, annotation {position}"
        try:
            image.append(image_number[annotation["image_id"]])
            category.append(category_number[annotation["category_id"]])
            area.append(_area(annotation["area"]))
            crowd.append(bool(annotation.get("iscrowd", 0)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{where} needs an image_id and a category_id that the file lists, and a finite area: {error!r} in "
                f"{str(annotation)[:200]}"
            ) from error
        if iou_type == "bbox":
            shapes.append(checked_box(annotation.get("bbox"), where))
        else:
            shapes.append(run_lengths(annotation.get("segmentation"), images[annotation["image_id"]], where))
    return GroundTruth(
        source=source,
        flavour=flavour,
        iou_type=iou_type,
        image_ids=tuple(images),
        image_names={Path(str(entry.get("file_name", key))).stem: image_number[key] for key, entry in images.items()},
        image_sizes=tuple((entry.get("height", 0), entry.get("width", 0)) for entry in images.values()),
        category_ids=tuple(categories),
        category_names=tuple(str(entry.get("name", key)) for key, entry in categories.items()),
        image=np.array(image, dtype=np.int64),
        category=np.array(category, dtype=np.int64),
        area=np.array(area, dtype=np.float64),
        crowd=np.array(crowd, dtype=bool),
        shapes=np.array(shapes, dtype=np.float64).reshape(-1, 4) if iou_type == "bbox" else shapes,
    )


def read_json(path: Path) -> Any:
    """What a JSON file holds; an ``InputError`` says why it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable JSON file: {error}. Replace it with a whole copy.") from error


def checked_box(box: Any, where: str) -> list[float]:
    """``box`` if it is ``[x, y, width, height]`` of finite numbers, neither side below 0, else an ``InputError``."""
    is_box = isinstance(box, list) and len(box) == 4 and all(is_finite(side) for side in box)
    if not is_box or min(box[2:]) < 0:
        raise InputError(f"{where}: bbox is {box!r}. [x, y, width, height] is needed, finite, no side below 0.")
    return box


def _by_id(entries: list[Any], where: str) -> dict[int, Mapping[str, Any]]:
    """Entries by ascending id."""
    by_id: dict[int, Mapping[str, Any]] = {}
    for entry in entries:
        key = entry.get("id") if isinstance(entry, dict) else None
        if type(key) is not int or key in by_id:
            raise InputError(f"{where}: each needs an integer id of its own; got {str(entry)[:200]}")
        by_id[key] = entry
    if not by_id:
        raise InputError(f"{where}: the list is empty, so there is nothing to evaluate. Name another file.")
    return dict(sorted(by_id.items()))


def _area(area: Any) -> float:
    """An object without one would be in no size's range, and vanish from every AP."""
    if not is_finite(area):
        raise ValueError(f"area is {area!r}")
    return float(area)
