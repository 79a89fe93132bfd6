"""scikit-learn's solver of the SVM protocol: liblinear, a class and a fold and a cost at a time.

N images, D feature dimensions, K classes
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

MAX_ITERATIONS = 2000  # where liblinear stops, converged or not


@dataclass(frozen=True)
class ClassFit:
    """What became of one class: the chosen cost, its cross-validated AP (fraction) and the test images' scores."""

    cost: float
    cross_validated: float
    scores: np.ndarray  # (N_test,) float64
    weights: np.ndarray  # (D + 1,), the last one the bias
    fits: int
    not_converged: int


def fit_classes(
    train: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    costs: Sequence[float],
    folds: int,
    seed: int,
    jobs: int,
) -> list[ClassFit]:
    """A fit for every column of ``targets`` (N_train, K), 1 or -1; ``train`` and ``test`` are (N, D) features."""
    from joblib import Parallel, delayed, parallel_config

    # Processes and not threads: liblinear releases the GIL but draws its coordinate order from one generator for the
    # whole process, so that the results of concurrent threads differ from run to run.
    with parallel_config(backend="loky", inner_max_num_threads=1):
        fits = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(_fit_class)(train, column, test, tuple(costs), folds, seed) for column in targets.T
        )
        return list(tqdm(fits, total=targets.shape[1], desc="SVM, classes", unit="class", leave=False))


def _fit_class(
    train: np.ndarray, target: np.ndarray, test: np.ndarray, costs: tuple[float, ...], folds: int, seed: int
) -> ClassFit:
    """``target`` (N_train,) of 1 and -1."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import StratifiedKFold

    machines, by_fold = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted below, and reported
        for kept, held in StratifiedKFold(folds, shuffle=False).split(train, target):
            fold = [linear_svc(cost, seed).fit(train[kept], target[kept]) for cost in costs]
            scores = (machine.decision_function(train[held]) for machine in fold)
            by_fold.append([average_precision_score(target[held], score) for score in scores])
            machines += fold
        by_cost = np.mean(by_fold, axis=0)
        best = int(np.argmax(by_cost))
        machines.append(linear_svc(costs[best], seed).fit(train, target))
    chosen = machines[-1]
    return ClassFit(
        cost=costs[best],
        cross_validated=float(by_cost[best]),
        scores=chosen.decision_function(test),
        weights=np.append(chosen.coef_[0], chosen.intercept_),
        fits=len(machines),
        not_converged=sum(machine.n_iter_ >= MAX_ITERATIONS for machine in machines),
    )


def linear_svc(cost: float, seed: int):
    """The benchmark's ``LinearSVC``."""
    from sklearn.svm import LinearSVC

    return LinearSVC(
        C=cost,
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        class_weight={1: 2, -1: 1},
        tol=1e-4,
        max_iter=MAX_ITERATIONS,
        intercept_scaling=1.0,  # the bias is a weight like the others, and regularised with them
        random_state=seed,
    )
