"""Low-shot SVMs: how far do k labelled images of each class go?

    N images, D features, K classes, C costs, S samples of k positives a class

The SVM is that of :mod:`.svm`, on a few images a class (:mod:`.low_shot_samples`). Its cost is chosen in two ways:

- ``cross_validated``, by class, from nothing but the sample: the mean step average precision over min(k, 3)
  stratified, unshuffled folds. One positive cannot be held out and trained on, so that at k = 1 there is nothing to
  choose by, and every class takes :data:`COST_OF_ONE`, fixed before anything was measured.
- ``oracle_c``, on the **test** set: the one cost, for all classes and samples of a k, with the highest mean over the
  samples of the test mAP. Published tables do this (``aggregate_low_shot_svm_stats.py`` of
  fair_self_supervision_benchmark). It flatters, most where k is small; to compare with a table it is the right one.

The standard deviation is over the samples, divided by S and not S - 1, as that tool has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .average_precision import FLAVOURS, average_precisions
from .exact_svm.images import Images
from .exact_svm.minimiser import Minimiser
from .exact_svm.ranking import step_average_precision
from .svm import FOLDS, POSITIVE_WEIGHT

#: scikit-learn's default; the rows have norm 1.
COST_OF_ONE = 1.0

#: What decides between the costs in ``oracle_c``.
ORACLE_FLAVOUR = "mAP envelope"


@dataclass(frozen=True)
class SampleFit:
    """One sample. ``by_cost``: the four figures of the test images for one cost in all classes, fractions, in the
    order of the costs; ``cross_validated``: those of each class's own cost; ``best_costs`` (K,); ``fits`` and how many
    of them were not certified."""

    by_cost: list[dict[str, float]]
    cross_validated: dict[str, float]
    best_costs: tuple[float, ...]
    fits: int
    not_converged: int


def fit_sample(
    train: np.ndarray,
    sample: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    costs: Sequence[float],
    tolerance: float = 1e-4,
    device: str = "cpu",
) -> SampleFit:
    """Fit every class at every cost, on the whole sample and without each fold.

    Args:
        train, test: (N, D), rows normalised as :func:`.svm.normalise_rows` does.
        sample: (N_train, K), 1 / -1 / 0 not seen.
        test_labels: (N_test, K), 1 / -1 / 0 difficult, left out.
        costs: of equally good ones the first is chosen.
    """
    seen_by_any = np.flatnonzero((sample != 0).any(axis=1))
    sample = sample[seen_by_any]
    folds = min(FOLDS, int((sample == 1).sum(axis=0).min()))
    fold_of = stratified_folds(sample, folds)
    parts = [sample != 0, *((sample != 0) & (fold_of != fold) for fold in range(folds if folds > 1 else 0))]

    classes = sample.shape[1]
    target = torch.as_tensor(sample.T != -1, dtype=torch.float64, device=device) * 2 - 1  # K x N; unseen ones weigh 0
    class_weight = torch.where(target > 0, POSITIVE_WEIGHT, 1.0)
    weight = torch.cat([class_weight * torch.as_tensor(part.T, device=device) for part in parts])  # whole, then folds
    target = target.repeat(len(parts), 1)
    minimiser = Minimiser(Images(torch.as_tensor(train[seen_by_any], device=device), bias=True), tolerance)

    solutions, not_converged = None, 0
    test_scores: dict[float, np.ndarray] = {}
    held_out: dict[float, np.ndarray] = {}
    for cost in sorted(set(costs) | ({COST_OF_ONE} if folds == 1 else set())):
        problems = minimiser.problems(target, cost * weight)
        solutions = minimiser.solve(problems, solutions)
        not_converged += int((solutions.certificate > tolerance).sum())
        whole = torch.arange(len(target), device=device) < classes
        fitted = solutions.map(lambda part, rows=whole: part[rows])
        w = minimiser.weights(problems.select(whole), fitted)[0].cpu().numpy()
        test_scores[cost] = test @ w[:, :-1].T + w[:, -1]  # N_test x K
        if folds > 1:
            z = solutions.z[classes:].cpu().numpy().reshape(folds, classes, -1)
            held_out[cost] = _held_out_precision(z, sample, fold_of)

    if folds > 1:
        best = [max(costs, key=lambda cost: held_out[cost][k]) for k in range(classes)]  # the first of equal ones
    else:
        best = [COST_OF_ONE] * classes
    own = np.stack([test_scores[cost][:, k] for k, cost in enumerate(best)], axis=1)
    return SampleFit(
        by_cost=[average_precisions(test_scores[cost], test_labels).means() for cost in costs],
        cross_validated=average_precisions(own, test_labels).means(),
        best_costs=tuple(best),
        fits=len(target) * len(test_scores),
        not_converged=not_converged,
    )


def summarise(fits: Sequence[SampleFit], costs: Sequence[float]) -> dict[str, Any]:
    """What a result says of one k: for both choices of the cost, mean, std and each sample's figure, in percent."""
    means = np.mean([[figures[ORACLE_FLAVOUR] for figures in fit.by_cost] for fit in fits], axis=0)  # C
    best = int(np.argmax(means))
    return {
        "cross_validated": _statistics([fit.cross_validated for fit in fits]),
        "oracle_c": _statistics([fit.by_cost[best] for fit in fits]),
        "oracle_cost": costs[best],
        "oracle_cost_at_grid_edge": costs[best] in (min(costs), max(costs)),
        "cross_validated_costs": [list(fit.best_costs) for fit in fits],
        "fits": sum(fit.fits for fit in fits),
        "not_converged": sum(fit.not_converged for fit in fits),
    }


def stratified_folds(sample: np.ndarray, folds: int) -> np.ndarray:
    """(N, K) int: the fold that holds each image of a class's sample out, -1 for images that are not in it."""
    from sklearn.model_selection import StratifiedKFold

    fold_of = np.full(sample.shape, -1)
    if folds > 1:
        for k, column in enumerate(sample.T):
            members = np.flatnonzero(column)
            splits = StratifiedKFold(folds, shuffle=False).split(members[:, None], column[members])
            for fold, (_, held) in enumerate(splits):
                fold_of[members[held], k] = fold
    return fold_of


def _held_out_precision(z: np.ndarray, sample: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """(K,) means over the folds of the held-out images' average precision; ``z`` (folds, K, N) scores."""
    return np.array(
        [
            np.mean(
                [
                    step_average_precision(z[fold, k, held], sample[held, k] > 0)
                    for fold in range(len(z))
                    for held in [fold_of[:, k] == fold]
                ]
            )
            for k in range(sample.shape[1])
        ]
    )


def _statistics(samples: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    by_name = {name: [100 * figures[name] for figures in samples] for name in FLAVOURS}
    return {
        name: {"mean": float(np.mean(values)), "std": float(np.std(values)), "samples": values}
        for name, values in by_name.items()
    }
