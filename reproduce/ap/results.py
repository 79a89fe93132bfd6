"""A detector's result file, from any detector, as arrays; whatever cannot be meant so is refused by name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_tools

from clsa.configs.command import InputError

from .annotations import GroundTruth, checked_box, read_json
from .masks import is_finite, run_lengths
from .voc_form import read_voc_results


@dataclass(frozen=True)
class Detections:
    """D detections in file order; images, categories and shapes as in :class:`GroundTruth`."""

    source: Path
    image: np.ndarray  # (D,) int64
    category: np.ndarray  # (D,) int64
    score: np.ndarray  # (D,) float64
    area: np.ndarray  # (D,) float64 pixels, of the box or of the mask
    shapes: np.ndarray | list[dict[str, Any]]


def read_results(path: Path, truth: GroundTruth, may_be_empty: bool = False) -> Detections:
    """Read COCO results (a JSON list), or a folder of VOC's result files.

    An entry names its image by the annotations' integer id, or by a text: the image file's name without its ending,
    as VOC does; its category by ``category_id``, or by its name under ``category``, which wins.

    With masks, sizes go by the mask's area. (pycocotools would take the box's where a result has both.)

    Args:
        may_be_empty: whether a file without any detection is one of a detector that found nothing, and no error.

    Raises:
        InputError: what is wrong with the file, and in which entry.
    """
    entries = read_voc_results(path, truth.category_names) if path.is_dir() else read_json(path)
    return detections(entries, path, truth, may_be_empty)


def detections(entries: Any, source: Path, truth: GroundTruth, may_be_empty: bool = False) -> Detections:
    """The same from the content of a result file.

    Raises:
        InputError: not a list, an empty one, one of another data set, or a bad entry.
    """
    if not isinstance(entries, list):
        hint = " It is an annotation file." if isinstance(entries, dict) and "annotations" in entries else ""
        raise InputError(
            f"{source} holds a {type(entries).__name__}.{hint} COCO results are a list of "
            '{"image_id", "category_id", "bbox" or "segmentation", "score"}.'
        )
    if not entries and not may_be_empty:
        raise InputError(f"{source} holds no detection, so there is nothing to measure. Evaluate the model again.")
    for position, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise InputError(f"{source}, result {position} is {entry!r:.80}. A dictionary is needed.")
    image = _image_numbers(entries, source, truth)
    category = _category_numbers(entries, source, truth)
    score, shapes = [], []
    for position, entry in enumerate(entries, 1):
        where, value = f"{source}, result {position}", entry.get("score")
        if type(value) is bool or not is_finite(value):
            raise InputError(f"{where}: score is {value!r}. A finite number is needed; was the model trained to NaN?")
        score.append(value)
        if truth.iou_type == "bbox":
            shapes.append(checked_box(entry.get("bbox"), where))
        else:
            height, width = truth.image_sizes[image[position - 1]]
            shapes.append(run_lengths(entry.get("segmentation"), {"height": height, "width": width}, where))
    if truth.iou_type == "bbox":
        shapes = np.array(shapes, dtype=np.float64).reshape(-1, 4)
        area = shapes[:, 2] * shapes[:, 3]
    else:
        # One by one: given a list of more than 255 masks, pycocotools 2.0.11 overflows a byte.
        area = np.array([mask_tools.area(shape) for shape in shapes], dtype=np.float64)
    return Detections(source, image, category, np.array(score, dtype=np.float64), area, shapes)


def _image_numbers(entries: Sequence[Mapping[str, Any]], source: Path, truth: GroundTruth) -> np.ndarray:
    known = {**{key: number for number, key in enumerate(truth.image_ids)}, **truth.image_names}
    return _numbers([entry.get("image_id") for entry in entries], known, "image", source, truth)


def _category_numbers(entries: Sequence[Mapping[str, Any]], source: Path, truth: GroundTruth) -> np.ndarray:
    known = {**{key: number for number, key in enumerate(truth.category_ids)}}
    known.update({name: number for number, name in enumerate(truth.category_names)})
    named = [entry.get("category", entry.get("category_id")) for entry in entries]
    return _numbers(named, known, "category", source, truth)


def _numbers(
    found: Sequence[Any], known: Mapping[int | str, int], what: str, source: Path, truth: GroundTruth
) -> np.ndarray:
    """``known[key]`` of each, where all are known."""
    numbers = [known.get(key) if type(key) in (int, str) else None for key in found]
    if None in numbers:
        unknown = Counter(repr(key) for key, number in zip(found, numbers, strict=True) if number is None)
        distinct = len({repr(key) for key in found})
        first = ", ".join(sorted(unknown)[:3]) + (", ..." if len(unknown) > 3 else "")
        raise InputError(
            f"{source}: {unknown.total()} results name an unknown {what}: {len(unknown)} of its {distinct} {what} ids "
            f"are not in {truth.source}: {first}. Give the annotations that the detector was evaluated on."
        )
    return np.array(numbers, dtype=np.int64)
