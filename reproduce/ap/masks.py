"""Masks as a file gives them, polygons or run lengths, into the compressed run lengths that IoU is taken of.

pycocotools' compiled code trusts its input: a coordinate far outside the image makes it walk there pixel by pixel, and
run lengths beyond the image's end are written to wherever that is. So both are looked at first.
"""

import math
from collections.abc import Mapping
from typing import Any

from pycocotools import mask as mask_tools

from clsa.configs.command import InputError

#: How far outside the image a polygon may reach, in multiples of the image's longer side.
OUTSIDE = 10


def run_lengths(segmentation: Any, image: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Polygons, or a run-length encoding of either kind, as a compressed one of the image's size.

    Raises:
        InputError: neither of them, of another size, or with numbers that no such image can have.
    """
    size = [image.get("height"), image.get("width")]
    try:
        if isinstance(segmentation, list):
            problem = _polygons_problem(segmentation, size)
            if not problem:
                return mask_tools.merge(mask_tools.frPyObjects(segmentation, *size))
        else:
            problem = "" if list(segmentation["size"]) == size else f"a mask of size {segmentation['size']}"
            if not problem and not isinstance(segmentation["counts"], list):
                mask_tools.area(segmentation)  # raises where counts are no run lengths
                return segmentation
            problem = problem or _counts_problem(segmentation["counts"], size)
            if not problem:
                return mask_tools.frPyObjects(segmentation, *size)
    except Exception as error:  # pycocotools' compiled code raises what comes: bare Exception, TypeError, IndexError
        problem = f"{str(segmentation)[:80]!r} ({type(error).__name__})"
    raise InputError(
        f"{where}: segmentation is {problem}. Masks need polygons or run lengths (RLE) of the image's height and "
        f"width, {size}; for boxes leave --iou-type bbox."
    )


def is_finite(number: Any) -> bool:
    """Whether it is a number, one that a float can hold, and neither infinite nor NaN."""
    try:
        return isinstance(number, (int, float)) and math.isfinite(number)
    except OverflowError:  # JSON's integers have no end
        return False


def _polygons_problem(polygons: list[Any], size: list[int]) -> str:
    reach = OUTSIDE * max(size)
    for polygon in polygons:
        for number in polygon:
            if not is_finite(number) or abs(number) > reach:
                return f"a polygon with the coordinate {str(number)[:40]}"
    return ""


def _counts_problem(counts: list[Any], size: list[int]) -> str:
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != math.prod(size):
        return f"run lengths that do not add up to the image's {math.prod(size)} pixels, {str(counts)[:60]}"
    return ""
