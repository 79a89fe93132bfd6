"""A cheap stand-in for the inverse of the Hessian: exact in the features' leading directions, flat in the others.

    N images, D features, k leading directions, P problems

A Hessian is ``I + X' diag(h) X`` with the weights h_i = 2 s_i of the active images. Were all weights equal to their
mean r, its inverse would be ``V diag(1 / (1 + r l)) V'`` for the eigenpairs (l, V) of X'X. The features of a network
have a spectrum that falls off steeply, so that k of D pairs and the mean of the others' eigenvalues come close. The
pairs come from one randomised projection (Halko, Martinsson & Tropp, "Finding structure with randomness", 2011).
"""

import torch
from torch import Tensor

from .images import Images

_OVERSAMPLING = 16


class Preconditioner:
    """Leading eigenpairs of X'X, computed once for all problems and costs."""

    def __init__(self, images: Images, rank: int = 500) -> None:
        dimensions, dtype = images.dimensions, images.matrix.dtype
        rank = min(rank, dimensions)
        width = min(rank + _OVERSAMPLING, dimensions)
        draw = torch.Generator().manual_seed(0)  # on the CPU: the same numbers whatever the device
        random = torch.randn(width, len(images), generator=draw, dtype=torch.float64, device="cpu").to(images.matrix)
        basis = torch.linalg.qr(images.combination(random).T)[0]  # D x width
        projected = images.scores(basis.T)
        values, vectors = torch.linalg.eigh((projected @ projected.T).double())
        leading = values.flip(0)[:rank].clamp_min(0)
        total = images.matrix.norm().double() ** 2 + images.bias * len(images)
        self.eigenvalues = leading.to(dtype)  # k
        self.vectors = basis @ vectors.flip(1)[:, :rank].to(dtype)  # D x k
        self.others = float(((total - leading.sum()) / max(dimensions - rank, 1)).clamp_min(0))

    def apply(self, residual: Tensor, mean_weight: Tensor) -> Tensor:
        """(P, D) residuals to steps; ``mean_weight`` (P,) is the mean of h over all N images."""
        flat = 1 / (1 + mean_weight * self.others)[:, None]
        correction = 1 / (1 + mean_weight[:, None] * self.eigenvalues) - flat  # P x k
        return torch.addmm(residual * flat, correction * (residual @ self.vectors), self.vectors.T)
