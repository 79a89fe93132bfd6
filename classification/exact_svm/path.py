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

from .images import Images
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
    y = torch.as_tensor(targets.T, dtype=torch.float64, device=device).contiguous()  # K x N
    class_weight = torch.where(y > 0, positive_weight, 1.0)
    folds = int(fold_of.max()) + 1
    seen = torch.as_tensor(np.concatenate([fold != fold_of.T for fold in range(folds)]), device=device)  # P x N
    minimiser = Minimiser(Images(torch.as_tensor(features, device=device), bias=True), tolerance)

    y_folds, weight_folds = y.repeat(folds, 1), class_weight.repeat(folds, 1) * seen
    solutions: Solutions | None = None
    precision, certificates = {}, {}
    best: Solutions | None = None  # of each class, at the best cost so far
    for cost in tqdm(sorted(set(costs)), desc="exact SVM, costs", unit="cost", leave=False):
        solutions = minimiser.solve(minimiser.problems(y_folds, cost * weight_folds), solutions)
        precision[cost] = _held_out_precision(solutions.z, targets, fold_of)
        certificates[cost] = solutions.certificate.cpu().numpy().reshape(folds, -1)
        tried = [other for other in costs if other in precision]
        chosen = [max(tried, key=lambda other: precision[other][k]) for k in range(len(y))]  # the first of equal ones
        mean = solutions.map(lambda part: part.unflatten(0, (folds, -1)).mean(0))
        best = mean if best is None else best.where(y.new_tensor(chosen) != cost, mean)

    final = minimiser.problems(y, class_weight * y.new_tensor(chosen)[:, None])
    weights, final_certificates = (
        part.cpu().numpy() for part in minimiser.weights(final, minimiser.solve(final, best))
    )

    everything = [
        *((value, fold, k, cost) for cost, part in certificates.items() for (fold, k), value in np.ndenumerate(part)),
        *((value, None, k, chosen[k]) for k, value in enumerate(final_certificates)),
    ]
    return PathFit(
        weights=weights.T,
        costs=tuple(chosen),
        cross_validated=tuple(float(precision[cost][k]) for k, cost in enumerate(chosen)),
        certificates=final_certificates,
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
