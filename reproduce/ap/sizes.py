"""Which objects are small: COCO's three sizes, and finer ones for average precision as a function of size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clsa.configs.command import InputError

#: COCO's area without end.
ENDLESS = 1e10

#: Edges of the finer bins, as the side of a square of the object's area, in pixels: half octaves around 32, the upper
#: end of COCO's small objects, so that AP_S spans whole bins.
EDGES = tuple(32 * 2 ** (k / 2) for k in range(-4, 9))


@dataclass(frozen=True)
class AreaRange:
    """Objects whose area in pixels lies in ``[low, high]``, both ends inside, as in pycocotools."""

    name: str
    low: float
    high: float


#: As pycocotools has them; "all" leaves out the areas below 0 that mark ignored objects.
COCO_RANGES = (
    AreaRange("AP", 0, ENDLESS),
    AreaRange("AP_S", 0, 32**2),
    AreaRange("AP_M", 32**2, 96**2),
    AreaRange("AP_L", 96**2, ENDLESS),
)


def size_bins(edges: Sequence[float] = EDGES) -> tuple[AreaRange, ...]:
    """Bins ``[0, e_1), [e_1, e_2), ..., [e_n, endless]`` of the square root of the area.

    COCO's own ranges share their ends: an object of 32 x 32 pixels is both small and medium. Here each object is in one
    bin, so that the counts add up.

    Args:
        edges: pixels, rising, above 0.

    Raises:
        InputError: edges that are not.
    """
    if not edges or not all(low < high for low, high in zip((0, *edges), (*edges, math.sqrt(ENDLESS)), strict=True)):
        raise InputError(f"size edges are {list(edges)}: give rising numbers of pixels above 0, such as 16 32 64 128.")
    areas = [0.0, *(round(edge * edge, 6) for edge in edges)]  # rounded: 22.627..^2 is 512
    names = [f"{edge:.3g}" for edge in (0, *edges)]
    closed = [
        AreaRange(f"{names[k]} to {names[k + 1]}", areas[k], math.nextafter(areas[k + 1], 0)) for k in range(len(edges))
    ]
    return (*closed, AreaRange(f"{names[-1]} up", areas[-1], ENDLESS))
