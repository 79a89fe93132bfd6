"""The four average precisions that papers call "VOC07 mAP", computed from one matrix of scores.

    N images, K classes
    scores  (N, K) float     higher means more surely present
    labels  (N, K) int       1 present, -1 absent, 0 difficult (present, but only as objects marked difficult)

They differ by several points on the same scores, so each has its name (:data:`FLAVOURS`), and figures of two names are
never comparable:

- ``class mAP, envelope``: per class, the area under the precision-recall curve after each precision has been raised to
  the highest one at that recall or beyond. VOC from 2010 on; the SVM benchmarks of Goyal et al., "Scaling and
  Benchmarking Self-Supervised Visual Representation Learning", 2019, and of vissl.
- ``class mAP, step``: per class, the sum of precision times recall step, nothing raised: scikit-learn's
  ``average_precision_score``.
- ``class mAP, 11-point``: per class, the mean of the raised precision at recall 0, 0.1, ... 1. VOC until 2009.
- ``per-image AP``: per image, the step average precision of its ranking of the classes; the mean over images. The
  public code of "Contrastive Learning with Stronger Augmentations" computes this one. It is scikit-learn's
  ``label_ranking_average_precision_score``, apart from images without a positive label: that function counts them
  as 1, this module leaves them out.

Equal scores count as one threshold: no order of theirs is better than another, and the result does not depend on the
order of the images. (The SVM benchmarks' own tools rank equal scores by file order.) The 11 recall levels are compared
in whole numbers, so that 3 found of 10 do reach recall 0.3, which ``3 / 10 >= 3 * 0.1`` denies in floating point.
"""

from dataclasses import dataclass

import numpy as np

from clsa.configs.command import InputError

#: Name of a value in a result -> flavour of the metric.
FLAVOURS = {
    "mAP envelope": "class mAP, envelope",
    "mAP step": "class mAP, step",
    "mAP 11-point": "class mAP, 11-point",
    "per-image AP": "per-image AP",
}


@dataclass(frozen=True)
class AveragePrecisions:
    """All as fractions in [0, 1], float64; NaN where there is nothing to find.

    ``envelope``, ``step``, ``eleven_point``: (K,) by class, NaN for a class without a positive image.
    ``per_image``: (N,) by image, NaN for an image without a positive class.
    """

    envelope: np.ndarray
    step: np.ndarray
    eleven_point: np.ndarray
    per_image: np.ndarray

    def means(self) -> dict[str, float]:
        """The four figures by the names of :data:`FLAVOURS`, over what is defined; NaN if nothing is."""
        columns = (self.envelope, self.step, self.eleven_point, self.per_image)
        return {name: _mean_of_defined(values) for name, values in zip(FLAVOURS, columns, strict=True)}


def average_precisions(scores: np.ndarray, labels: np.ndarray, difficult: str = "left out") -> AveragePrecisions:
    """All average precisions of one matrix of scores.

    Args:
        scores: (N, K), finite.
        labels: (N, K), 1 / -1 / 0.
        difficult: what becomes of the 0s. ``"left out"``: a class does not see the images in which it is difficult,
            an image's ranking not the classes that are difficult in it (VOC's rule, and that of the benchmarks).
            ``"absent"``: they count as absent.

    Raises:
        InputError: shapes that do not fit, scores that are not finite, other labels, an unknown ``difficult``.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    _check(scores, labels, difficult)
    present = labels == 1
    counted = labels != 0 if difficult == "left out" else np.ones_like(present)

    envelope, step, eleven_point = _by_column(scores, present, counted)
    per_image = _by_column(scores.T, present.T, counted.T)[1]
    return AveragePrecisions(envelope, step, eleven_point, per_image)


def _by_column(scores: np.ndarray, present: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Envelope, step and 11-point average precision of every column, ``counted`` entries only; each (K,)."""
    rows = np.arange(len(scores))[:, None]
    score = np.where(counted, scores, -np.inf)  # what is not counted sinks below everything that is
    order = np.argsort(-score, axis=0, kind="stable")
    score, hit, shown = (np.take_along_axis(values, order, axis=0) for values in (score, present & counted, counted))
    positives = hit.sum(axis=0)

    # Position of the last entry with the same score: the threshold that admits all of them.
    last = np.ones(score.shape, dtype=bool)
    last[:-1] = score[1:] != score[:-1]
    threshold = np.minimum.accumulate(np.where(last, rows, len(scores))[::-1], axis=0)[::-1]
    found = np.take_along_axis(hit.cumsum(axis=0), threshold, axis=0)
    admitted = np.take_along_axis(shown.cumsum(axis=0), threshold, axis=0)

    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the NaN that a column without positives gets
        precision = found / admitted
        raised = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        step = (precision * hit).sum(axis=0) / positives
        envelope = (raised * hit).sum(axis=0) / positives

    reached = [(10 * found >= tenths * positives).argmax(axis=0) for tenths in range(11)]
    eleven_point = np.mean([np.take_along_axis(raised, row[None], axis=0)[0] for row in reached], axis=0)
    return envelope, step, np.where(positives > 0, eleven_point, np.nan)


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _check(scores: np.ndarray, labels: np.ndarray, difficult: str) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape or not scores.size:
        raise InputError(
            f"scores of shape {scores.shape} and labels of shape {labels.shape} do not fit: both must be "
            "images x classes"
        )
    if not np.isfinite(scores).all():
        image, column = np.argwhere(~np.isfinite(scores))[0]
        raise InputError(f"the score of image {image} for class {column} is {scores[image, column]}: it must be finite")
    other = np.setdiff1d(labels, (1, 0, -1))
    if other.size:
        raise InputError(
            f"labels are 1 (present), -1 (absent) or 0 (difficult), got {other[0]!r} too. Labels of 0 and 1 alone "
            "become these by 2 * labels - 1."
        )
    if difficult not in ("left out", "absent"):
        raise InputError(f"difficult {difficult!r} is unknown. Give 'left out' or 'absent'.")
