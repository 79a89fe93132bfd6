"""Average precision of a weighted set of images, from matches made once.

A resample draws some images several times and others never: image i has weight m_i. Average precision of the resample
is that of COCO, in ``COCOeval.accumulate`` of pycocotools, on a data set in which image i stands m_i times, copies
side by side. Nothing has to be matched again, and not even sorted:

- precision and recall are ratios of cumulative sums of the weights along detections sorted by score;
- precision only rises at true detections, so those alone, and no false one behind the last of them, can make the
  envelope (the largest precision at this recall or a higher one);
- m copies of a true detection in a row are one of weight m: the last of them has the highest precision;
- only where true and false detections of the same image and category have the very same score do copies interleave.
  Such ties are unrolled: copy c is an entry of its own with weight [m_i >= c].

So the average of precision at 101 recalls is a sum over true detections of the envelope times the number of recall
levels that they are the first to reach. Equal to pycocotools to rounding error, for every resample.

Shapes: B resamples, I images, K categories, A area ranges, T IoU thresholds, n entries of a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from .matching import Matches

RECALL_LEVELS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Curve:
    """Detections of one category that count at one threshold and area range, best first, up to the last true one."""

    column: np.ndarray  # (n,) int32 column of the weights
    true: np.ndarray  # int32 positions of the true ones in ``column``


@dataclass(frozen=True)
class Curves:
    """All curves of one result file: ``[area range][category][threshold]``, for weights up to ``copies``."""

    of: list[list[list[Curve]]]
    copies: int
    has_ties: bool


def build_curves(matches: Matches, images: int, categories: int, copies: int = 1) -> Curves:
    """Prepare the curves.

    Args:
        copies: the largest weight that an image will have.
    """
    bounds = np.searchsorted(matches.category, np.arange(categories + 1))
    slices = [slice(first, last) for first, last in pairwise(bounds)]
    of, has_ties = [], False
    for is_true, is_counted in zip(matches.is_true, matches.is_counted, strict=True):  # over area ranges
        of.append([])
        for category in slices:
            image, score = matches.image[category], matches.score[category]
            true, counted = is_true[:, category], is_counted[:, category]  # (T, n)
            order, copy = _unroll_ties(image, score, true, counted, copies)
            has_ties = has_ties or bool(copy.any())
            column = (copy * images + image[order]).astype(np.int32)
            of[-1].append([_curve(column, true[t, order], counted[t, order]) for t in range(len(true))])
    return Curves(of, copies, has_ties)


def average_precision(curves: Curves, weights: np.ndarray, objects: Sequence[csr_array]) -> np.ndarray:
    """Average precision of each resample, area range, category and threshold.

    Args:
        weights: (B, I) int32, how often each image stands in each resample, none above ``curves.copies``.
        objects: what :func:`~clsa.reproduce.ap.matching.count_objects` returns.

    Returns:
        (B, A, K, T) float64 in [0, 1], nan where a resample has no object of the category and size.
    """
    if curves.has_ties:
        reached = [weights >= copy for copy in range(1, curves.copies + 1)]
        columns = np.concatenate([weights, *reached], axis=1, dtype=np.int32)
    else:
        columns = weights
    thresholds = len(curves.of[0][0])
    average = np.full((len(weights), len(curves.of), len(curves.of[0]), thresholds), np.nan)
    for area, of_area in enumerate(curves.of):
        positives = (objects[area].T @ weights.T).astype(np.int64)  # (K, B)
        for category, of_category in enumerate(of_area):
            present = positives[category] > 0
            if not present.any():
                continue
            levels = levels_reached(positives[category])
            average[present, area, category] = 0
            for threshold, curve in enumerate(of_category):
                if len(curve.true):
                    area_under = _area_under(curve, columns, levels)
                    average[present, area, category, threshold] = area_under[present]
    return average


def mean_over_categories(average: np.ndarray) -> np.ndarray:
    """(..., K, T) to (...): COCO's mean over thresholds and those categories that have objects; nan if none has."""
    of_category = average.mean(axis=-1)
    present = ~np.isnan(of_category)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return np.where(present, of_category, 0).sum(axis=-1) / present.sum(axis=-1)


def levels_reached(positives: np.ndarray) -> np.ndarray:
    """How many of the 101 recall levels t true detections of n objects reach: (B, max n + 1) int64, column t.

    Recall 0 is a level too; it takes a true detection to have a precision there, hence nothing is reached by none.
    """
    recall = np.arange(positives.max() + 1) / np.maximum(positives, 1)[:, None]
    reached = np.searchsorted(RECALL_LEVELS, recall, side="right")
    reached[:, 0] = 0
    return reached


def _area_under(curve: Curve, weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(B,) mean of the envelope over the recall levels."""
    all_before = np.cumsum(weights.take(curve.column, axis=1), axis=1, dtype=np.int32).take(curve.true, axis=1)
    true_before = np.cumsum(weights.take(curve.column[curve.true], axis=1), axis=1, dtype=np.int32)
    precision = true_before / (all_before + np.spacing(1))  # the spacing is pycocotools': it makes 0 / 0 be 0
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    row = np.arange(len(weights), dtype=np.int64)[:, None] * levels.shape[1]
    reached = levels.take(row + true_before)  # (B, n)
    newly = np.diff(reached, axis=1, prepend=0)
    return np.einsum("bn,bn->b", envelope, newly) / len(RECALL_LEVELS)


def _curve(column: np.ndarray, true: np.ndarray, counted: np.ndarray) -> Curve:
    positions = np.flatnonzero(counted)
    of_true = np.flatnonzero(true[positions])
    end = of_true[-1] + 1 if len(of_true) else 0
    return Curve(column[positions[:end]], of_true.astype(np.int32))


def _unroll_ties(
    image: np.ndarray, score: np.ndarray, true: np.ndarray, counted: np.ndarray, copies: int
) -> tuple[np.ndarray, np.ndarray]:
    """The order in which copies of images bring their detections: (position, copy) of each entry.

    Copy 0 stands for all copies in one entry; 1 .. ``copies`` for one each, in ties of true and false detections.
    """
    everything = np.arange(len(image))
    starts_tie = np.ones(len(image), dtype=bool)
    starts_tie[1:] = (image[1:] != image[:-1]) | (score[1:] != score[:-1])
    if starts_tie.all():
        return everything, np.zeros_like(everything)
    starts = np.flatnonzero(starts_tie)
    has_true = np.logical_or.reduceat(true, starts, axis=1)
    has_false = np.logical_or.reduceat(counted & ~true, starts, axis=1)
    is_mixed = (has_true & has_false).any(axis=0)  # at any threshold
    tie = np.cumsum(starts_tie) - 1
    repeats = np.where(is_mixed[tie], copies, 1)
    position = np.repeat(everything, repeats)
    copy = np.arange(len(position)) - np.repeat(np.cumsum(repeats) - repeats, repeats) + is_mixed[tie[position]]
    order = np.lexsort((position, copy, tie[position]))
    return position[order], copy[order]
