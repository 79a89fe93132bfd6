"""One-vs-rest linear SVMs on frozen features, the cost of each class chosen by cross-validation.

    N images, D feature dimensions, K classes

The protocol of Goyal et al., "Scaling and Benchmarking Self-Supervised Visual Representation Learning", 2019, as their
benchmark's tools and vissl's carry it out: each feature row divided by (its L2 norm + 1e-5); an L2-regularised squared
hinge loss, positives weighted twice; per class the cost with the best average precision (scikit-learn's, the step sum)
over three stratified, unshuffled folds of trainval, the first of equal ones; one last fit on all of trainval. A class's
difficult images are absent ones in training. Who solves it is a choice of its own, :data:`SOLVERS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clsa.configs.command import InputError

FOLDS = 3
POSITIVE_WEIGHT = 2.0
_ROWS = 512  # images at a time, where a copy of all would cost memory

_HALVES = tuple(0.5**power for power in range(4, 20))

#: Costs C by name. The order decides between costs that are equally good in cross-validation.
GRIDS: dict[str, tuple[float, ...]] = {
    # fair_self_supervision_benchmark: the list of its VOC07 instructions, and the default of its training tool
    "fair26": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, *_HALVES),
    "fair18": (0.01, 0.1, *_HALVES),
    "vissl11": (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0),
    "openselfsup19": (1.0, 10.0, 100.0, *_HALVES),
    # ours, for the miniature world's few images: its classes choose among all of these
    "mini5": (0.01, 0.1, 1.0, 10.0, 100.0),
}

#: Both minimise the same function. sklearn: the benchmarks' liblinear by dual coordinate descent, to its tolerance or
#: its iteration limit. exact: :mod:`.exact_svm`, all classes and folds at once, each minimum certified.
SOLVERS = ("exact", "sklearn")


@dataclass(frozen=True)
class SVMScores:
    """``scores`` (N_test, K) and the ``weights`` behind them (D + 1, K), the last row the bias, float64; by class the
    chosen costs and their cross-validated APs as fractions.

    ``not_converged`` counts the ``fits`` that missed their solver's own aim; ``solver`` says what a result records.
    """

    scores: np.ndarray
    weights: np.ndarray
    costs: tuple[float, ...]
    cross_validated: tuple[float, ...]
    fits: int
    not_converged: int
    solver: dict[str, Any] = field(default_factory=dict)


def grid_of(name: str) -> tuple[float, ...]:
    """The costs of a named grid."""
    if name not in GRIDS:
        raise InputError(f"SVM.GRID {name!r} is unknown. Give one of {', '.join(GRIDS)}.")
    return GRIDS[name]


def normalise_rows(features: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Each row of (N, D) divided by (its L2 norm + 1e-5).

    float64 is what liblinear computes in; float32 is half the memory, for the exact solver.
    """
    normalised = np.array(features, dtype=dtype)
    for start in range(0, len(normalised), _ROWS):  # the norms' squares would otherwise take as much memory again
        rows = normalised[start : start + _ROWS]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + dtype(1e-5)
    return normalised


def fit_and_score(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    classes: Sequence[str],
    costs: Sequence[float],
    solver: str = "sklearn",
    seed: int = 0,
    jobs: int = 1,
    tolerance: float = 1e-4,
    device: str = "cpu",
) -> SVMScores:
    """Choose a cost for every class on the training images, fit, and score the test images.

    Args:
        train_features, test_features: (N, D), finite, as a network gave them, in memory or mapped from a file;
            :func:`normalise_rows` is done here. The exact solver reads the test images' when all is fitted, a few at
            a time, and computes in float32 unless they are float64.
        train_labels: (N_train, K), 1 / -1 / 0.
        solver: one of :data:`SOLVERS`.
        seed: of the order in which liblinear visits its coordinates.
        jobs: liblinear's processes, which share the classes, -1 for one a core. The result is the same for any number.
        tolerance: of the exact solver: |gradient| <= tolerance |w|.
        device: where the exact solver computes.

    Raises:
        InputError: a class with fewer positives, or fewer other images, than there are folds.
    """
    targets = np.where(train_labels == 1, 1, -1)
    for name, column in zip(classes, targets.T, strict=True):
        for count, what in ((int((column == 1).sum()), "positive"), (int((column == -1).sum()), "negative")):
            if count < FOLDS:
                raise InputError(
                    f"class {name} has {count} {what} training images: {FOLDS}-fold cross-validation needs at least "
                    f"{FOLDS}. Use a larger training split; in the miniature world, a larger --size."
                )
    if solver == "exact":
        return _exact(train_features, targets, test_features, classes, costs, tolerance, device)

    from .liblinear import MAX_ITERATIONS, fit_classes

    train, test = normalise_rows(train_features), normalise_rows(test_features)
    by_class = fit_classes(train, targets, test, costs, FOLDS, seed, jobs)
    return SVMScores(
        scores=np.stack([fit.scores for fit in by_class], axis=1),
        weights=np.stack([fit.weights for fit in by_class], axis=1),
        costs=tuple(fit.cost for fit in by_class),
        cross_validated=tuple(fit.cross_validated for fit in by_class),
        fits=sum(fit.fits for fit in by_class),
        not_converged=sum(fit.not_converged for fit in by_class),
        solver={
            "method": "liblinear, dual coordinate descent",
            "iteration_limit": MAX_ITERATIONS,
        },
    )


def _exact(
    train: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    classes: Sequence[str],
    costs: Sequence[float],
    tolerance: float,
    device: str,
) -> SVMScores:
    from .exact_svm.path import fit_path  # PyTorch: not for liblinear's worker processes, which import this file

    dtype = np.result_type(train, np.float32).type
    rows, fold_of = normalise_rows(train, dtype), stratified_folds(targets)
    fit = fit_path(rows, targets, fold_of, costs, POSITIVE_WEIGHT, tolerance, device)
    blocks = (normalise_rows(test[start : start + _ROWS], dtype) for start in range(0, len(test), _ROWS))
    return SVMScores(
        scores=np.concatenate([block @ fit.weights[:-1] for block in blocks]) + fit.weights[-1],  # float64
        weights=fit.weights,
        costs=fit.costs,
        cross_validated=fit.cross_validated,
        fits=fit.fits,
        not_converged=len(fit.uncertified),
        solver={
            "method": "exact: Newton's method in the primal and the dual, float64 certificates",
            "device": device,
            "tolerance": tolerance,
            "certificate": fit.certificate,
            "certificate_of": "largest |gradient| / |w| of the certified fits: no solution is further from its minimum",
            "iterations": fit.work,
            "uncertified": [
                f"{classes[u.column]}, {'all folds' if u.fold is None else f'without fold {u.fold}'}, cost {u.cost:g}: "
                f"|gradient| / |w| = {u.certificate:.1e}"
                for u in fit.uncertified
            ],
        },
    )


def stratified_folds(targets: np.ndarray) -> np.ndarray:
    """(N, K) int: the fold in which each class, 1 or -1 in a column, holds out each image.

    Those of scikit-learn's ``StratifiedKFold(3, shuffle=False)``, without a second or two, and 0.1 GB, for its import.
    """
    fold_of = np.empty(targets.shape, dtype=np.int64)
    for k, column in enumerate(targets.T):
        other = column != column[0]  # images of the first one's kind come before
        in_order = np.sort(other)
        for kind in (False, True):
            sizes = [np.count_nonzero(in_order[fold::FOLDS] == kind) for fold in range(FOLDS)]
            fold_of[other == kind, k] = np.repeat(np.arange(FOLDS), sizes)
    return fold_of
