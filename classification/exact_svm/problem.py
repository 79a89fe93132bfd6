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

from .images import Images


@dataclass(frozen=True)
class Problems:
    """``images`` of which ``longest`` is the largest norm; ``target`` and ``weight`` (P, N) float64.

    Problems are rows, not columns: matrix libraries multiply a few long rows several times faster than as many columns.
    """

    images: Images
    target: Tensor
    weight: Tensor
    longest: float

    def __len__(self) -> int:
        return len(self.target)

    def select(self, rows: Tensor) -> "Problems":
        """Those problems alone."""
        return Problems(self.images, self.target[rows], self.weight[rows], self.longest)

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
        z = self.images.scores(w)
        gradient = (w - self.images.combination(self.coefficients(z))).norm(dim=1)
        size = w.norm(dim=1)
        total = 2 * self.weight.sum(1) * self.longest
        rounding = 4 * torch.finfo(torch.float64).eps * total
        is_zero = (size <= rounding) & (gradient <= rounding * (1 + total * self.longest))
        return z, torch.where(is_zero, 0.0, gradient / size.clamp_min(torch.finfo(torch.float64).tiny))
