"""COCO 2017: ``coco/annotations/instances_SPLIT.json`` and the images that it names in ``coco/SPLIT/``."""

import json
import os
from pathlib import Path
from typing import Any

from ..categories import COCO_CATEGORIES
from .part import Part

_LISTS = ("images", "annotations", "categories")


def check_coco(root: Path, split: str, expected: int) -> Part:
    """Look over ``split``, ``"train2017"`` or ``"val2017"``."""
    part = Part(f"coco/{split}", expected)
    folder, path = root / "coco" / split, root / "coco" / "annotations" / f"instances_{split}.json"
    if absent := [str(place) for place in (folder, path) if not place.exists()]:
        part.is_missing(f"no {' and no '.join(absent)}; unpack COCO's archives into {root / 'coco'}")
        return part
    content = _read(part, path)
    if content is None:
        return part

    files = set(os.listdir(folder))
    names = [str(image.get("file_name")) for image in content["images"]]
    part.images = [folder / name for name in names if name in files]  # a name with a path in it is none of the files
    part.found = len(part.images)
    if absent := [name for name in names if name not in files]:
        part.say(f"images of {path.name} are not in {split}/", absent)
    _check_ids(part, content)
    return part


def _read(part: Part, path: Path) -> dict[str, list[dict[str, Any]]] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        part.say(f"{path} is not readable JSON ({error}); replace it with a whole copy")
        return None
    lists = content if isinstance(content, dict) else {}
    lacking = [name for name in _LISTS if not _is_list_of_objects(lists.get(name))]
    if lacking:
        part.say(f"{path} has no proper list of {', '.join(lacking)}; replace it with COCO's file")
        return None
    return content


def _check_ids(part: Part, content: dict[str, list[dict[str, Any]]]) -> None:
    official = {(category["id"], category["name"]) for category in COCO_CATEGORIES}
    if {(category.get("id"), category.get("name")) for category in content["categories"]} != official:
        part.say("the categories are not COCO's 80 with their ids")
    images = {image.get("id") for image in content["images"]}
    categories = {category.get("id") for category in content["categories"]}
    lost, unknown = [], []
    for annotation in content["annotations"]:
        if annotation.get("image_id") not in images:
            lost.append(str(annotation.get("id")))
        if annotation.get("category_id") not in categories:
            unknown.append(str(annotation.get("id")))
    if lost:
        part.say("annotations belong to no listed image", lost)
    if unknown:
        part.say("annotations are of no listed category", unknown)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
