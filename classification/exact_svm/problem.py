"""The problems: one-vs-rest linear SVMs with squared hinge loss, all on the same images.

    N images, D features of which the last is 1, P problems: a class, the images it is fitted on, a cost
    X (N, D) features    y (P, N) targets, 1 or -1    s (P, N) weights    w (P, D) solutions    z = w X' (P, N) scores

Each row minimises what scikit-learn's ``LinearSVC(loss="squared_hinge", intercept_scaling=1)`` minimises, its bias
being the weight of the feature that is 1 everywhere, and regularised with the others:

    f(w) = 1/2 |w|^2 + sum_i s_i max(0, 1 - y_i z_i)^2        s_i = cost x class weight, 0 for images left out
    g(w) = w - b(z) X                                         b_i(z) = 2 s_i y_i max(0, 1 - y_i z_i)

f is strongly convex with modulus 1, so ``|w - w*| <= |g(w)|`` for the one minimum w*: the norm of the gradient
certifies a solution without knowing the minimum. With feature rows of norm 1, no score is then off by more than
``sqrt(2) |g|``. At the minimum ``w* = b X``: the vector b, a number an image, says all that w says.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROWS = 128  # of the features that are widened to float64 at a time: they stay in the cache


@dataclass(frozen=True)
class Problems:
    """``features`` (N, D) float32 or float64, ``magnitude`` the largest norm of a row; ``target`` and
    ``weight`` (P, N) float64.

    Problems are rows, not columns: matrix libraries multiply a few long rows several times faster than as many columns.
    """

    features: Tensor
    target: Tensor
    weight: Tensor
    magnitude: float

    def __len__(self) -> int:
        return len(self.target)

    def select(self, rows: Tensor) -> "Problems":
        """Those problems alone."""
        return Problems(self.features, self.target[rows], self.weight[rows], self.magnitude)

    def active(self, z: Tensor) -> Tensor:
        """(P, N) bool: images that a problem sees and whose loss is not zero."""
        return (self.weight > 0) & (self.target * z < 1)

    def coefficients(self, z: Tensor) -> Tensor:
        """b(z), (P, N)."""
        return 2 * self.weight * self.target * (1 - self.target * z).clamp_min(0)

    def objective(self, w: Tensor, z: Tensor) -> Tensor:
        """f(w), (P,)."""
        return (w * w).sum(1) / 2 + (self.weight * (1 - self.target * z).clamp_min(0) ** 2).sum(1)

    def certify(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Scores z (P, N) and the certificate |g| / |w| (P,) of float64 solutions, both in float64.

        The certificate is 0 where w = 0 is the minimum and w is nothing but the rounding error of a sum over images
        that cancels. That happens: features that tell nothing, and classes that weigh the same.
        """
        z = scores_of(self.features, w)
        gradient = (w - combination(self.features, self.coefficients(z))).norm(dim=1)
        size = w.norm(dim=1)
        total = 2 * self.weight.sum(1) * self.magnitude
        rounding = 4 * torch.finfo(torch.float64).eps * total
        is_zero = (size <= rounding) & (gradient <= rounding * (1 + total * self.magnitude))
        return z, torch.where(is_zero, 0.0, gradient / size.clamp_min(torch.finfo(torch.float64).tiny))


def scores_of(features: Tensor, w: Tensor) -> Tensor:
    """w X' in float64, (P, N), a block of images at a time: float32 features need no second copy of themselves."""
    return torch.cat([w @ block.to(w.dtype).T for block in features.split(_ROWS)], dim=1)


def combination(features: Tensor, b: Tensor) -> Tensor:
    """b X in float64, (P, D)."""
    total = b.new_zeros(len(b), features.shape[1])
    for block, part in zip(features.split(_ROWS), b.split(_ROWS, dim=1), strict=True):
        total.addmm_(part, block.to(b.dtype))
    return total
