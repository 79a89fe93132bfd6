"""Which detection finds which object: COCO's rule, for all area ranges and IoU thresholds at once.

The rule is that of ``COCOeval.evaluateImg`` in pycocotools. Detections of an image and category, best first, each take
the free object of largest IoU (the later one of equals) that reaches the threshold; an object that counts goes before
one that is ignored, whatever the IoU; crowds stay free. Matched with an ignored object, or unmatched and itself outside
the area range, a detection counts neither as true nor as false. IoU is pycocotools' own.

Shapes: D detections, G objects, I images, K categories, A area ranges, T = 10 IoU thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_tools
from scipy.sparse import csr_array
from tqdm import tqdm

from .annotations import GroundTruth
from .results import Detections
from .sizes import AreaRange

THRESHOLDS = np.linspace(0.5, 0.95, 10)

#: Detections of one category in one image that are looked at.
MOST_DETECTIONS = 100


@dataclass(frozen=True)
class Matches:
    """The detections that were looked at, ordered by category, then score (best first), then image, then file order."""

    image: np.ndarray  # (D,) int64
    category: np.ndarray  # (D,) int64
    score: np.ndarray  # (D,) float64
    is_true: np.ndarray  # (A, T, D) bool, found an object that counts
    is_counted: np.ndarray  # (A, T, D) bool, true or false, not ignored


def match(truth: GroundTruth, found: Detections, ranges: Sequence[AreaRange], name: str | None = None) -> Matches:
    """Match all detections; ``name`` labels the progress bar, None shows none."""
    images = len(truth.image_ids)
    order = np.lexsort((-found.score, found.image, found.category))  # stable: equal scores stay in file order
    group = found.category[order] * images + found.image[order]
    order = order[_rank_in_group(group) < MOST_DETECTIONS]
    group = found.category[order] * images + found.image[order]

    object_order = np.argsort(truth.category * images + truth.image, kind="stable")
    object_group = (truth.category * images + truth.image)[object_order]
    object_ignored = truth.crowd | ~_within(truth.area, ranges)  # (A, G)

    shape = (len(ranges), len(THRESHOLDS), len(order))
    is_matched, is_true = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    groups = np.intersect1d(group, object_group)
    firsts, lasts = np.searchsorted(group, groups), np.searchsorted(group, groups, side="right")
    object_firsts = np.searchsorted(object_group, groups)
    object_lasts = np.searchsorted(object_group, groups, side="right")
    slices = zip(firsts, lasts, object_firsts, object_lasts, strict=True)
    for first, last, object_first, object_last in tqdm(
        slices, desc=f"match {name}", total=len(groups), disable=name is None, leave=False
    ):
        objects = object_order[object_first:object_last]
        crowd = truth.crowd[objects]
        iou = mask_tools.iou(_take(found.shapes, order[first:last]), _take(truth.shapes, objects), crowd.tolist())
        matched, counted = match_image(iou, crowd, object_ignored[:, objects])
        is_matched[:, :, first:last] = matched
        is_true[:, :, first:last] = counted
    is_within = _within(found.area[order], ranges)[:, None]  # (A, 1, D)
    is_counted = np.where(is_matched, is_true, is_within)

    by_score = np.lexsort((-found.score[order], found.category[order]))  # stable: equal scores stay in image order
    order = order[by_score]
    return Matches(
        image=found.image[order],
        category=found.category[order],
        score=found.score[order],
        is_true=is_true[:, :, by_score],
        is_counted=is_counted[:, :, by_score],
    )


def match_image(iou: np.ndarray, crowd: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match the detections of one image and category.

    Args:
        iou: (D, G), detections best first.
        crowd: (G,) bool.
        ignored: (A, G) bool.

    Returns:
        Two (A, T, D) bool: matched at all, and matched with an object that counts.
    """
    detections, objects = iou.shape
    matched = np.zeros((len(ignored), len(THRESHOLDS), detections), dtype=bool)
    counted = matched.copy()
    free = np.ones((len(ignored), len(THRESHOLDS), objects), dtype=bool)
    needed = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    for row in np.flatnonzero((iou >= needed[0]).any(axis=1)):
        near = np.flatnonzero(iou[row] >= needed[0])
        overlap = iou[row, near]
        rank = np.argsort(np.argsort(overlap, kind="stable"))  # of equals the later one is higher
        counts = ~ignored[:, None, near]
        preference = np.where(free[:, :, near] & (overlap >= needed), rank + len(near) * counts, -1)  # (A, T, near)
        chosen = preference.argmax(axis=2)
        best = preference.max(axis=2)
        hit = best >= 0
        matched[:, :, row] = hit
        counted[:, :, row] = best >= len(near)
        chosen = near[chosen]
        area, threshold = np.nonzero(hit & ~crowd[chosen])
        free[area, threshold, chosen[area, threshold]] = False
    return matched, counted


def count_objects(truth: GroundTruth, ranges: Sequence[AreaRange]) -> list[csr_array]:
    """For each area range, how many objects that count each image has of each category: (I, K) sparse float64."""
    shape = (len(truth.image_ids), len(truth.category_ids))
    counts = ~truth.crowd & _within(truth.area, ranges)  # (A, G)
    return [csr_array((np.ones(row.sum()), (truth.image[row], truth.category[row])), shape=shape) for row in counts]


def _within(area: np.ndarray, ranges: Sequence[AreaRange]) -> np.ndarray:
    """(A, len(area)) bool."""
    return np.stack([(r.low <= area) & (area <= r.high) for r in ranges])


def _rank_in_group(group: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal values."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))


def _take(shapes: np.ndarray | list, rows: np.ndarray) -> np.ndarray | list:
    return shapes[rows] if isinstance(shapes, np.ndarray) else [shapes[row] for row in rows]
