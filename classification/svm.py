"""One-vs-rest linear SVMs on frozen features, the cost of each class chosen by cross-validation.

    N images, D feature dimensions, K classes

The protocol of Goyal et al., "Scaling and Benchmarking Self-Supervised Visual Representation Learning", 2019, as their
benchmark's tools and vissl's carry it out: each feature row divided by (its L2 norm + 1e-5); liblinear's L2-regularised
squared hinge loss, positives weighted twice; per class the cost with the best average precision (scikit-learn's, the
step sum) over three stratified, unshuffled folds of trainval, the first of equal ones; one last fit on all of trainval.
A class's difficult images are absent ones in training.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from clsa.configs.command import InputError

FOLDS = 3
MAX_ITERATIONS = 2000  # where liblinear stops, converged or not

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

#: liblinear's two ways to the same minimum; the benchmarks use dual coordinate descent. On features that nearly agree
#: in direction (a random ResNet-18's, 1200 images, C = 10) it took 28 times as long as the primal Newton method, and
#: both reached the same objective to 7 digits.
SOLVERS = ("dual", "primal")


@dataclass(frozen=True)
class ClassFit:
    """What became of one class: the chosen cost, its cross-validated AP (fraction) and the test images' scores."""

    cost: float
    cross_validated: float
    scores: np.ndarray  # (N_test,) float64
    fits: int
    not_converged: int


@dataclass(frozen=True)
class SVMScores:
    """``scores`` (N_test, K) float64, and by class the chosen costs and their cross-validated APs as fractions."""

    scores: np.ndarray
    costs: tuple[float, ...]
    cross_validated: tuple[float, ...]
    fits: int
    not_converged: int


def grid_of(name: str) -> tuple[float, ...]:
    """The costs of a named grid."""
    if name not in GRIDS:
        raise InputError(f"SVM.GRID {name!r} is unknown. Give one of {', '.join(GRIDS)}.")
    return GRIDS[name]


def normalise_rows(features: np.ndarray) -> np.ndarray:
    """Each row of (N, D) divided by (its L2 norm + 1e-5); float64, which liblinear computes in anyway."""
    features = np.asarray(features, dtype=np.float64)
    return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-5)


def fit_and_score(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    classes: Sequence[str],
    costs: Sequence[float],
    solver: str = "dual",
    seed: int = 0,
    jobs: int = 1,
) -> SVMScores:
    """Choose a cost for every class on the training images, fit, and score the test images.

    Args:
        train_features, test_features: (N, D), finite, normalised by :func:`normalise_rows`.
        train_labels: (N_train, K), 1 / -1 / 0.
        solver: one of :data:`SOLVERS`. Both minimise the same function, to liblinear's tolerance.
        seed: of the order in which liblinear visits its coordinates.
        jobs: processes that share the classes, -1 for one a core. The result is the same for any number.

    Raises:
        InputError: a class with fewer positives, or fewer other images, than there are folds.
    """
    from joblib import Parallel, delayed, parallel_config

    targets = np.where(train_labels == 1, 1, -1)
    for name, column in zip(classes, targets.T, strict=True):
        for count, what in ((int((column == 1).sum()), "positive"), (int((column == -1).sum()), "negative")):
            if count < FOLDS:
                raise InputError(
                    f"class {name} has {count} {what} training images: {FOLDS}-fold cross-validation needs at least "
                    f"{FOLDS}. Use a larger training split; in the miniature world, a larger --size."
                )

    # Processes and not threads: liblinear releases the GIL but draws its coordinate order from one generator for the
    # whole process, so that the results of concurrent threads differ from run to run.
    with parallel_config(backend="loky", inner_max_num_threads=1):
        fits = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(_fit_class)(train_features, column, test_features, tuple(costs), solver, seed)
            for column in targets.T
        )
        by_class = list(tqdm(fits, total=len(classes), desc="SVM, classes", unit="class", leave=False))
    return SVMScores(
        scores=np.stack([fit.scores for fit in by_class], axis=1),
        costs=tuple(fit.cost for fit in by_class),
        cross_validated=tuple(fit.cross_validated for fit in by_class),
        fits=sum(fit.fits for fit in by_class),
        not_converged=sum(fit.not_converged for fit in by_class),
    )


def _fit_class(
    train: np.ndarray, target: np.ndarray, test: np.ndarray, costs: tuple[float, ...], solver: str, seed: int
) -> ClassFit:
    """``target`` (N_train,) of 1 and -1."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import StratifiedKFold

    machines, by_fold = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted below, and reported
        for kept, held in StratifiedKFold(FOLDS, shuffle=False).split(train, target):
            fold = [_machine(cost, solver, seed).fit(train[kept], target[kept]) for cost in costs]
            scores = (machine.decision_function(train[held]) for machine in fold)
            by_fold.append([average_precision_score(target[held], score) for score in scores])
            machines += fold
        by_cost = np.mean(by_fold, axis=0)
        best = int(np.argmax(by_cost))
        machines.append(_machine(costs[best], solver, seed).fit(train, target))
    return ClassFit(
        cost=costs[best],
        cross_validated=float(by_cost[best]),
        scores=machines[-1].decision_function(test),
        fits=len(machines),
        not_converged=sum(machine.n_iter_ >= MAX_ITERATIONS for machine in machines),
    )


def _machine(cost: float, solver: str, seed: int):
    from sklearn.svm import LinearSVC

    return LinearSVC(
        C=cost,
        penalty="l2",
        loss="squared_hinge",
        dual=solver == "dual",
        class_weight={1: 2, -1: 1},
        tol=1e-4,
        max_iter=MAX_ITERATIONS,
        intercept_scaling=1.0,  # the bias is a weight like the others, and regularised with them
        random_state=seed,
    )
