"""Logistic regression on frozen features, one cost for all classes, picked on val.

    N images, D features, K classes

The protocol of Ericsson et al., "How Well Do Self-Supervised Models Transfer?", 2021, as ``linear.py`` of
linusericsson/ssl-transfer carries it out: features not normalised; one-vs-rest logistic regressions by scikit-learn's
L-BFGS; C = 1 / w for 45 values of w from 1e-6 to 1e5; fitted on train, the one C with the best mean 11-point AP on val
(of equal ones the largest), refitted on trainval. Difficult images are absent ones, in the test as well.

- Its C is not scikit-learn's of today. It asks for the softmax over two classes ("multinomial"), which penalises a
  weight vector for each; both carry half of the difference, so that its minimum at C is the minimum of the one-vector
  logistic regression at 2 C, which is fitted here. The bias is not penalised in either.
- It starts each fit from the last class's, and stops after 100 iterations, converged or not. Here a fit starts from the
  same class's at the next smaller C, so that few reach the limit; those are counted.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from .average_precision import average_precisions

#: Descending, as the protocol tries them.
COSTS = tuple(1 / np.logspace(-6, 5, 45))

#: scikit-learn's limit for one fit.
MAX_ITERATIONS = 100


@dataclass(frozen=True)
class LogisticFit:
    """``scores`` (N_test, K); the chosen ``cost`` and the mean 11-point AP on val (fraction) of every cost."""

    scores: np.ndarray
    cost: float
    validation: tuple[float, ...]
    fits: int
    not_converged: int


def fit_and_score(
    train: np.ndarray,
    train_labels: np.ndarray,
    val: np.ndarray,
    val_labels: np.ndarray,
    test: np.ndarray,
    costs: Sequence[float] = COSTS,
    max_iterations: int = MAX_ITERATIONS,
    jobs: int = 1,
) -> LogisticFit:
    """Pick the cost on val, refit on train and val together, score the test images.

    Args:
        train, val, test: (N, D), finite.
        train_labels, val_labels: (N, K), 1 / -1 / 0; each class has a positive and another image in train.
        jobs: processes that share the classes; the result is the same for any number.
    """
    from joblib import Parallel, delayed, parallel_config

    ascending = sorted(set(costs))
    targets = train_labels == 1
    with parallel_config(backend="loky", inner_max_num_threads=1):
        paths = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(_fit_path)(train, target, val, ascending, max_iterations) for target in targets.T
        )
        by_class = list(tqdm(paths, total=targets.shape[1], desc="logistic, classes", unit="class", leave=False))
    val_scores = dict(zip(ascending, np.stack([scores for scores, _, _ in by_class], axis=2), strict=True))
    validation = [average_precisions(val_scores[cost], val_labels, "absent").means()["mAP 11-point"] for cost in costs]
    best = costs[int(np.argmax(validation))]

    both, both_targets = np.concatenate([train, val]), np.concatenate([targets, val_labels == 1])
    start = ascending.index(best)
    scores, not_converged = [], sum(late for _, late, _ in by_class)
    for column, (_, _, weights) in zip(both_targets.T, by_class, strict=True):
        model = _regression(best, max_iterations)
        late = _fit(model, both, column, weights[start])
        scores.append(model.decision_function(test))
        not_converged += late
    return LogisticFit(
        scores=np.stack(scores, axis=1),
        cost=float(best),
        validation=tuple(validation),
        fits=targets.shape[1] * (len(ascending) + 1),
        not_converged=not_converged,
    )


def _fit_path(
    train: np.ndarray, target: np.ndarray, val: np.ndarray, costs: Sequence[float], max_iterations: int
) -> tuple[np.ndarray, int, list[np.ndarray]]:
    """Val scores (C, N_val) of one class, how many fits hit the limit, and each cost's weights (D + 1,), bias last."""
    scores, weights, late = [], [], 0
    for cost in costs:
        model = _regression(cost, max_iterations)
        late += _fit(model, train, target, weights[-1] if weights else None)
        scores.append(model.decision_function(val))
        weights.append(np.append(model.coef_[0], model.intercept_))
    return np.stack(scores), late, weights


def _regression(cost: float, max_iterations: int):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=2 * cost, solver="lbfgs", warm_start=True, max_iter=max_iterations)


def _fit(model, features: np.ndarray, target: np.ndarray, start: np.ndarray | None) -> bool:
    """Fit from ``start`` (D + 1,); True if it stopped at the limit."""
    from sklearn.exceptions import ConvergenceWarning

    if start is not None:
        model.coef_, model.intercept_ = start[None, :-1], start[-1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted
        model.fit(features, target)
    return bool(model.n_iter_[0] >= model.max_iter)
