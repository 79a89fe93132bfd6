"""How sure an average precision is, and a difference of two: the bootstrap over images.

The images are drawn anew, as many as there are, with replacement (Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993); all files are evaluated on the same draw, so that what makes an image hard for every detector cancels
in their difference. The intervals hold the uncertainty of the test images alone, not that of another training run.

Average precision depends on how many images there are: its envelope makes it too high on few, the more so the fewer
objects a category has. So there are two truths, the mean over test sets of as many images and the value on endlessly
many, and the intervals are for the first. The bias, mean of the resamples minus what was observed, is printed beside.

What three simulated set-ups gave, in 500, 400 and 600 test sets, for AP and AP_S: 150 images of 2 categories, two
detectors of AP 29 and 40; 150 images of 20 categories, AP 20 and 40; 300 images of 10 categories, AP 0.1 and 0.6.

- A difference: the percentiles. They held the mean over test sets in 92 to 96 %. Basic intervals held it in 90 to 94,
  bias-corrected ones (Efron & Tibshirani, chapter 14) in 91 to 95 %, in the first two set-ups with an acceleration as
  without. The difference on endlessly many images the percentiles held in 91 to 94 % at AP 20 to 40, but at AP below 1
  in 92 % for AP and in 78 % for AP_S, where the bias is half of the resamples' standard deviation. There bias-corrected
  intervals held it in 95 and 93 %, yet in 90 and 92 % in the second set-up: none is best for both.
- One file: the percentiles, moved so that the resamples' mean falls on the observed value, since they lie above it by
  as much as the bias, up to 0.8 of their standard deviation (Hall, "The Bootstrap and Edgeworth Expansion", 1992,
  chapter 1, on correcting bias). They held the mean over test sets in 91 to 98 %; the value on endlessly many images,
  in the second set-up, in 56 to 84 % alone: with few objects a category it is lower by points, and no interval says so.

Shapes: R resamples, F result files, I images, A area ranges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from tqdm import tqdm

from .accumulate import average_precision, build_curves, mean_over_categories
from .matching import Matches

#: Resamples that are evaluated together: enough to hide Python's own time, few enough for the processor's cache.
TOGETHER = 100


@dataclass(frozen=True)
class Spread:
    """Of the resamples: mean, and the interval that holds the middle 95 % of them."""

    mean: float
    low: float
    high: float


def draw_images(images: int, resamples: int, seed: int) -> np.ndarray:
    """(R, I) int16, how often each resample drew each image; the first rows do not depend on how many follow."""
    chance = np.random.default_rng(seed)
    drawn = np.empty((resamples, images), dtype=np.int16)
    for row in drawn:
        row[:] = np.bincount(chance.integers(images, size=images), minlength=images)
    return drawn


def bootstrap(
    files: Sequence[Matches], objects: Sequence[csr_array], drawn: np.ndarray, show_progress: bool = False
) -> np.ndarray:
    """Average precision of each file on each resample.

    Args:
        files: matches of each file, for the same area ranges.
        objects: what :func:`~clsa.reproduce.ap.matching.count_objects` returns.
        drawn: (R, I) from :func:`draw_images`.

    Returns:
        (R, F, A) float64 in [0, 1], nan where a resample has no object of the size.
    """
    images, categories = objects[0].shape
    values = np.empty((len(drawn), len(files), len(objects)))
    with tqdm(desc="bootstrap", total=len(files) * len(drawn), disable=not show_progress, leave=False) as bar:
        for file, matches in enumerate(files):
            curves = build_curves(matches, images, categories, copies=int(drawn.max(initial=1)))
            for first in range(0, len(drawn), TOGETHER):
                weights = drawn[first : first + TOGETHER].astype(np.int32)
                average = average_precision(curves, weights, objects)
                values[first : first + TOGETHER, file] = mean_over_categories(average)
                bar.update(len(weights))
    return values


def spread(values: np.ndarray) -> Spread | None:
    """Mean and 95 % interval of (R,) values; resamples without a value are left out, None if no other is left.

    Of differences it is an interval for the mean over test sets of as many images.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return Spread(float(values.mean()), float(low), float(high))


def spread_around(observed: float, values: np.ndarray, most: float = 1.0) -> Spread | None:
    """The same, moved so that the mean falls on the observed value, and kept within 0 and ``most``."""
    found = spread(values)
    if found is None or np.isnan(observed):
        return None
    bias = found.mean - observed
    return Spread(float(observed), max(0.0, found.low - bias), min(most, found.high - bias))


def share_of_wins(difference: np.ndarray) -> float | None:
    """How often (R,) differences are above 0, in [0, 1]; a difference of 0 counts as half a win."""
    difference = difference[~np.isnan(difference)]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean()) if len(difference) else None
