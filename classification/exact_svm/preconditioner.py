"""A cheap stand-in for the inverse of the Hessian: exact in the features' leading directions, flat in the others.

    N images, D features, k leading directions, P problems

A Hessian is ``I + X' diag(h) X`` with the weights h_i = 2 s_i of the active images. Were all weights equal to their
mean r, its inverse would be ``V diag(1 / (1 + r l)) V'`` for the eigenpairs (l, V) of X'X. The features of a network
have a spectrum that falls off steeply, so that k of D pairs and the mean of the others' eigenvalues come close. The
pairs come from one randomised projection (Halko, Martinsson & Tropp, "Finding structure with randomness", 2011).
"""

import torch
from torch import Tensor

_OVERSAMPLING = 16


class Preconditioner:
    """Leading eigenpairs of X'X, computed once for all problems and costs."""

    def __init__(self, features: Tensor, rank: int = 500) -> None:
        dimensions = features.shape[1]
        rank = min(rank, dimensions)
        width = min(rank + _OVERSAMPLING, dimensions)
        draw = torch.Generator().manual_seed(0)  # on the CPU: the same numbers whatever the device
        random = torch.randn(len(features), width, generator=draw, dtype=torch.float64, device="cpu").to(features)
        basis = torch.linalg.qr(features.T @ random)[0]  # D x width
        projected = features @ basis
        values, vectors = torch.linalg.eigh((projected.T @ projected).double())
        leading = values.flip(0)[:rank].clamp_min(0)
        total = features.norm().double() ** 2
        self.eigenvalues = leading.to(features.dtype)  # k
        self.vectors = basis @ vectors.flip(1)[:, :rank].to(features.dtype)  # D x k
        self.others = float(((total - leading.sum()) / max(dimensions - rank, 1)).clamp_min(0))

    def apply(self, residual: Tensor, mean_weight: Tensor) -> Tensor:
        """(P, D) residuals to steps; ``mean_weight`` (P,) is the mean of h over all N images."""
        flat = 1 / (1 + mean_weight * self.others)[:, None]
        correction = 1 / (1 + mean_weight[:, None] * self.eigenvalues) - flat  # P x k
        return torch.addmm(residual * flat, correction * (residual @ self.vectors), self.vectors.T)
