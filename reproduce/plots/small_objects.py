"""Which small objects a sheet of detections shows, and of each detector the box that finds one, or the nearest.

Shapes: G objects, D detections, as in :mod:`clsa.reproduce.ap`. Boxes are x, y, width, height in pixels.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools.mask import iou

from ..ap.annotations import GroundTruth
from ..ap.results import Detections
from ..ap.sizes import COCO_RANGES

SMALL_AREA = COCO_RANGES[1].high  # square pixels
MATCH_IOU = 0.5

#: COCO counts so many of an image's detections, the most confident.
PER_IMAGE = 100

#: The side of a window, in multiples of the object's longer one, and in pixels at least.
AROUND, SMALLEST_WINDOW = 4, 96


@dataclass(frozen=True)
class Window:
    """A part of an image, pixels; ``right`` and ``bottom`` are the first that are no longer within."""

    left: int
    top: int
    right: int
    bottom: int

    def holds(self, box: np.ndarray) -> bool:
        """Whether the middle of ``box`` lies within."""
        x, y = box[:2] + box[2:] / 2
        return self.left <= x <= self.right and self.top <= y <= self.bottom


def window_around(box: np.ndarray, width: int, height: int) -> Window:
    """A square with ``box`` in the middle, moved and cut so that it lies within the image."""
    side = round(max(SMALLEST_WINDOW, AROUND * box[2:].max()))
    wide, high = min(side, width), min(side, height)
    x, y = box[:2] + box[2:] / 2
    left, top = (
        round(min(max(0, m - part / 2), whole - part)) for m, part, whole in ((x, wide, width), (y, high, height))
    )
    return Window(left, top, left + wide, top + high)


def small_objects(truth: GroundTruth) -> np.ndarray:
    """(G,) bool: counted as small by COCO, which goes by the annotated area, and no crowd."""
    return (truth.area >= 0) & (truth.area < SMALL_AREA) & ~truth.crowd


def finders(truth: GroundTruth, found: Detections) -> np.ndarray:
    """(G,) int64: for each object the detection that finds it, or -1.

    Greedy as in COCO's evaluation: each detection of an image, the most confident first, takes the free object of its
    class with the highest IoU of at least 0.5.
    """
    finder = np.full(len(truth.image), -1, dtype=np.int64)
    objects = defaultdict(list)
    for g in np.flatnonzero(~truth.crowd):
        objects[truth.image[g], truth.category[g]].append(g)
    detections = defaultdict(list)
    for k in _counted(found):
        detections[found.image[k], found.category[k]].append(k)
    for key in objects.keys() & detections.keys():
        mine = np.array(objects[key])
        overlaps = iou(found.shapes[detections[key]], truth.shapes[mine], [0] * len(mine))
        for k, overlap in zip(detections[key], overlaps, strict=True):
            free = np.where((finder[mine] < 0) & (overlap >= MATCH_IOU), overlap, 0)
            if free.any():
                finder[mine[free.argmax()]] = k
    return finder


def nearest_small(truth: GroundTruth, found: Detections, target: int, window: Window) -> int | None:
    """Of the small detections in the window, of any class, the one that overlaps an object most, or is next to it."""
    box = truth.shapes[target]
    near = [
        k for k in _counted(found, truth.image[target]) if found.area[k] < SMALL_AREA and window.holds(found.shapes[k])
    ]
    if not near:
        return None
    overlaps = iou(found.shapes[near], box[None], [0])[:, 0]
    middles = found.shapes[near][:, :2] + found.shapes[near][:, 2:] / 2
    distances = np.hypot(*(middles - (box[:2] + box[2:] / 2)).T)
    return near[np.lexsort((distances, -overlaps))[0]]


def overlap(truth: GroundTruth, found: Detections, target: int, k: int) -> float:
    """IoU of an object and a detection."""
    return float(iou(found.shapes[[k]], truth.shapes[[target]], [0])[0, 0])


def choose(truth: GroundTruth, found_by_any: np.ndarray, count: int) -> list[int]:
    """``count`` small objects of different images, at random but repeatable: of those that any detector finds, and
    where these are of too few images, of the others.

    Args:
        found_by_any: (G,) bool.
    """
    chance, small = np.random.default_rng(0), small_objects(truth)
    chosen: dict[int, int] = {}
    for pool in (small & found_by_any, small & ~found_by_any):
        for g in chance.permutation(np.flatnonzero(pool)):
            if len(chosen) < count:
                chosen.setdefault(int(truth.image[g]), int(g))
    return list(chosen.values())


def _counted(found: Detections, image: int | None = None) -> Iterator[int]:
    """The detections that COCO counts, of all images or of one, the most confident first."""
    taken: dict[int, int] = defaultdict(int)
    among = np.arange(len(found.image)) if image is None else np.flatnonzero(found.image == image)
    for k in among[np.argsort(-found.score[among], kind="stable")]:
        taken[found.image[k]] += 1
        if taken[found.image[k]] <= PER_IMAGE:
            yield int(k)
