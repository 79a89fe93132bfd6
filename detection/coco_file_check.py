"""What a COCO annotation file must say for its boxes to mean what they are taken for, entry by entry."""

import math
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.datasets.categories import COCO_CATEGORIES


def check_coco_images(path: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Every image has an id of its own, a size, and a name that stays in its folder.

    Raises:
        InputError: naming the image.
    """
    seen = set()
    for image in images:
        where = f"{path}, image {image.get('id')}"
        if not all(type(image.get(key)) is int for key in ("id", "width", "height")) or "file_name" not in image:
            raise InputError(f"{where}: it needs an integer id, width and height, and a file_name; got {dict(image)}.")
        if image["width"] <= 0 or image["height"] <= 0:
            raise InputError(f"{where}: its size is {image['width']} x {image['height']}. Give that of the image file.")
        if image["id"] in seen:
            raise InputError(f"{where}: the id is listed twice. Give each image an id of its own.")
        seen.add(image["id"])
        name = Path(image["file_name"])
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{where} is called {image['file_name']!r}: a path must not leave {path.parent.parent}")


def check_coco_categories(path: Path, categories: Sequence[Mapping[str, Any]]) -> None:
    """The categories are COCO's 80, ids and names: a class number is the rank of its id.

    Raises:
        InputError: naming the ids that are missing, too many, or of another name.
    """
    found = {category.get("id"): category.get("name") for category in categories}
    official = {category["id"]: category["name"] for category in COCO_CATEGORIES}
    if found == official and len(found) == len(categories):
        return
    told = []
    if missing := [str(key) for key in official if key not in found]:
        told.append(f"missing are {_some(missing)}")
    if extra := [str(key) for key in found if key not in official]:
        told.append(f"COCO does not have {_some(extra)}")
    if renamed := [f"{k} ({v!r}, not {official[k]!r})" for k, v in found.items() if k in official and v != official[k]]:
        told.append(f"other names have {_some(renamed)}")
    if len(found) != len(categories):
        told.append("an id occurs twice")
    raise InputError(
        f"{path}: its {len(categories)} category ids are not COCO's {len(official)}: {'; '.join(told)}. Use COCO's own "
        "annotation file, or give yours COCO's ids and names."
    )


def check_coco_annotation(
    path: Path,
    annotation: Mapping[str, Any],
    images: Container[int],
    categories: Container[int],
    seen: set[int],
) -> None:
    """An annotation has an id of its own (added to ``seen``), a listed image and category, and four numbers as its box.

    Raises:
        InputError: naming image and annotation.
    """
    number, image, category = (annotation.get(key) for key in ("id", "image_id", "category_id"))
    where = f"{path}, image {image}, annotation {number}"
    if number is None or number in seen:
        raise InputError(f"{where}: the id is {'missing' if number is None else 'listed twice'}. Each needs its own.")
    seen.add(number)
    if image not in images:
        raise InputError(
            f"{where}: image {image} is not in the file's list of images. Add it, or remove the annotation."
        )
    if category not in categories:
        raise InputError(f"{where}: category {category} is not in the file's list of categories. Correct its id.")
    box = annotation.get("bbox")
    is_box = isinstance(box, list) and len(box) == 4
    if not is_box or not all(isinstance(side, (int, float)) and math.isfinite(side) for side in box):
        raise InputError(f"{where}: bbox is {box!r}. [x, y, width, height] is needed.")
    if annotation.get("ignore", 0):
        raise InputError(
            f"{where}: it is marked 'ignore', which neither engine trains with. Use iscrowd, or remove it."
        )


def check_coco_ground_truth(path: Path, annotations: Sequence[Mapping[str, Any]], masks: bool) -> None:
    """Every annotation of a test split has what the evaluation, not the training, reads: ``area``, ``iscrowd`` and, for
    the AP of masks, ``segmentation``. pycocotools meets a missing one with a KeyError, after the training.

    Raises:
        InputError: naming the first annotation that lacks one, and how many there are.
    """
    needs = {
        "area": ("the object's area in square pixels, which tells small from large", _is_number),
        "iscrowd": ("0, or 1 for a crowd", lambda value: value in (0, 1)),
    }
    if masks:
        needs["segmentation"] = ("polygons or RLE, for the AP of masks (MODEL.MASK_ON)", bool)
    for key, (meaning, is_good) in needs.items():
        if lacking := [annotation for annotation in annotations if not is_good(annotation.get(key))]:
            first = lacking[0]
            raise InputError(
                f"{path}, image {first['image_id']}, annotation {first['id']}: {key} is {first.get(key)!r}, the first "
                f"of {len(lacking)} such of {len(annotations)}. The evaluation needs {key}: {meaning}. Add it."
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
