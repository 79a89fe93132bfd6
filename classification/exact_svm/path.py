"""The protocol: a cost for every class by cross-validation along the grid, then one fit on all images.

    N images, D features (one more inside, which is 1), K classes, F folds, P = F x K problems a cost

Costs are taken in ascending order, each starting from the last one's minima: all folds and classes together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .minimiser import Minimiser, Solutions
from .ranking import step_average_precision


@dataclass(frozen=True)
class Uncertified:
    """A fit whose gradient is larger than the tolerance: of class number ``column`` on all images but those of
    ``fold``, None for the fit on all, at ``cost``."""

    column: int
    fold: int | None
    cost: float
    certificate: float


@dataclass(frozen=True)
class PathFit:
    """``weights`` (D + 1, K) float64, the last row the bias; by class the chosen cost and its cross-validated AP.

    ``certificate`` is the largest |g| / |w| of all ``fits`` that are not in ``uncertified``; ``work`` counts the
    solvers' steps.
    """

    weights: np.ndarray
    costs: tuple[float, ...]
    cross_validated: tuple[float, ...]
    certificates: np.ndarray  # (K,) of the weights
    certificate: float
    fits: int
    uncertified: tuple[Uncertified, ...]
    work: dict[str, int]


def fit_path(
    features: np.ndarray,
    targets: np.ndarray,
    fold_of: np.ndarray,
    costs: Sequence[float],
    positive_weight: float = 2.0,
    tolerance: float = 1e-4,
    device: str = "cpu",
) -> PathFit:
    """Choose a cost for each class, and fit it.

    Args:
        features: (N, D) float32 or float64. What is float32 stays so in memory; certificates are float64 all the same.
        targets: (N, K), 1 or -1; each class has positives in every fold.
        fold_of: (N, K) int, the fold in which a class holds an image out.
        costs: of equally good ones the first is chosen.
        positive_weight: factor of the cost for positives.
    """
    costs = tuple(float(cost) for cost in costs)
    x = torch.as_tensor(features, device=device)
    x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    y = torch.as_tensor(targets.T, dtype=torch.float64, device=device).contiguous()  # K x N
    class_weight = torch.where(y > 0, positive_weight, 1.0)
    folds = int(fold_of.max()) + 1
    seen = torch.as_tensor(np.concatenate([fold != fold_of.T for fold in range(folds)]), device=device)  # P x N
    minimiser = Minimiser(x, positive_weight * max(costs), tolerance)

    y_folds, weight_folds = y.repeat(folds, 1), class_weight.repeat(folds, 1) * seen
    solutions: Solutions | None = None
    by_cost: dict[float, Solutions] = {}
    precision: dict[float, np.ndarray] = {}
    for cost in tqdm(sorted(set(costs)), desc="exact SVM, costs", unit="cost", leave=False):
        solutions = minimiser.solve(minimiser.problems(y_folds, cost * weight_folds), solutions)
        by_cost[cost] = solutions
        precision[cost] = _held_out_precision(solutions.z, targets, fold_of)

    cross_validated = np.stack([precision[cost] for cost in costs])  # costs x K
    chosen = [costs[row] for row in cross_validated.argmax(axis=0)]
    start = _mean_over_folds(by_cost, chosen, folds)
    final = minimiser.problems(y, class_weight * y.new_tensor(chosen)[:, None])
    weights, certificates = (part.cpu().numpy() for part in minimiser.weights(final, minimiser.solve(final, start)))

    everything = [
        *(
            (value, fold, k, cost)
            for cost, part in by_cost.items()
            for (fold, k), value in np.ndenumerate(part.certificate.cpu().numpy().reshape(folds, -1))
        ),
        *((value, None, k, chosen[k]) for k, value in enumerate(certificates)),
    ]
    return PathFit(
        weights=weights.T,
        costs=tuple(chosen),
        cross_validated=tuple(cross_validated.max(axis=0).tolist()),
        certificates=certificates,
        certificate=max((float(value) for value, *_ in everything if value <= tolerance), default=float("inf")),
        fits=len(everything),
        uncertified=tuple(
            Uncertified(k, fold, cost, float(value)) for value, fold, k, cost in everything if not value <= tolerance
        ),
        work=minimiser.work,
    )


def _held_out_precision(z: Tensor, targets: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """(K,) means over the folds of the held-out images' average precision."""
    scores = z.cpu().numpy().reshape(-1, targets.shape[1], len(targets))  # F x K x N
    return np.array(
        [
            np.mean(
                [
                    step_average_precision(scores[fold, k, held], targets[held, k] > 0)
                    for fold in range(len(scores))
                    for held in [fold_of[:, k] == fold]
                ]
            )
            for k in range(targets.shape[1])
        ]
    )


def _mean_over_folds(by_cost: dict[float, Solutions], chosen: Sequence[float], folds: int) -> Solutions:
    """Where the fit on all images starts: the mean of what the folds found at the class's cost."""
    columns = len(chosen)

    def mean(name: str) -> Tensor:
        parts = (getattr(by_cost[cost], name)[k::columns].mean(dim=0) for k, cost in enumerate(chosen))
        return torch.stack(list(parts))

    return Solutions(mean("w"), mean("z"), mean("b"), mean("certificate"))
