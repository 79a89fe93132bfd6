"""Which method for which problem, warm starts, and the certificate of everything that leaves.

N images, D features, P problems; shapes as in :mod:`.problem`
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from . import dual, primal
from .line_search import best_step
from .preconditioner import Preconditioner
from .problem import Problems, combination
from .reduction import reduced

_HEADROOM = 0.7  # of the tolerance, for a solver whose own arithmetic is float32; the certificate is float64


@dataclass(frozen=True)
class Solutions:
    """Of P problems, float64: ``w`` (P, D), ``z`` = w X' (P, N), ``b`` (P, N) with b X = w nearly, and the
    ``certificate`` (P,), |g| / |w|."""

    w: Tensor
    z: Tensor
    b: Tensor
    certificate: Tensor

    def map(self, function) -> "Solutions":
        """``function`` of each tensor."""
        return Solutions(*(function(part) for part in (self.w, self.z, self.b, self.certificate)))


class Minimiser:
    """Solves problems of one feature matrix.

    Args:
        features: (N, D) float32 or float64, the last column 1. With D > N the problems are solved on the rows of
            :mod:`.reduction`, and :meth:`weights` leads back.
        heaviest: the largest weight s that will come, for the precision of the Gram matrix.
        tolerance: solutions are certified where |g| <= tolerance |w|.
    """

    def __init__(self, features: Tensor, heaviest: float, tolerance: float) -> None:
        self.original = self.features = features
        self.heaviest = heaviest
        self.tolerance = tolerance
        if features.shape[1] > len(features):
            self.features = self._reduce()
        self.magnitude = float(features.norm(dim=1).max())
        self.work: dict[str, int] = {"newton_steps": 0, "cg_iterations": 0, "newton_rounds": 0, "factorisations": 0}
        images, dimensions = self.features.shape
        # A factorisation of this size takes as long as some ten iterations of conjugate gradients, a Newton step's.
        self.few_images = max(256, round((120 * images * dimensions) ** (1 / 3)))

    def _reduce(self) -> Tensor:
        gram = dual.gram_matrix(self.original, torch.float64)
        factor = reduced(gram)
        self.gram = gram.to(self._gram_dtype)
        return self.original if factor is None else factor

    @property
    def _gram_dtype(self) -> torch.dtype:
        return dual.gram_dtype(self.original, self.heaviest)

    @cached_property
    def gram(self) -> Tensor:
        return dual.gram_matrix(self.original, self._gram_dtype)

    @cached_property
    def preconditioner(self) -> Preconditioner:
        return Preconditioner(self.primal_features)

    @cached_property
    def primal_features(self) -> Tensor:
        """As precise as they came: float32 suffices for conjugate gradients, and is twice as fast."""
        return self.features.to(self.original.dtype)

    def problems(self, target: Tensor, weight: Tensor) -> Problems:
        """Of (P, N) targets, 1 or -1, and weights, both float64."""
        return Problems(self.features, target, weight, self.magnitude)

    def solve(self, problems: Problems, start: Solutions | None = None) -> Solutions:
        """The minima, from those of neighbouring problems if given; the certificate says how near each came."""
        start = _nothing(problems) if start is None else _scaled(problems, start)
        few = problems.active(start.z).sum(1) <= self.few_images
        solved = start.map(torch.clone)
        if not bool(few.all()):
            many = ~few
            part = problems.select(many)
            w, work = primal.minimise(
                self.primal_features, part, start.w[many], self.preconditioner, _HEADROOM * self.tolerance
            )
            z, certificate = part.certify(w)
            _place(solved, many, Solutions(w, z, part.coefficients(z), certificate))
            self._count(work)
            few = few.clone()
            few[many] = certificate > self.tolerance  # float32 did not suffice: finish them in the dual
        if bool(few.any()):
            part = problems.select(few)
            b, work = dual.minimise(part, solved.b[few], self.gram, self.tolerance)
            w = combination(self.features, b)
            z, certificate = part.certify(w)
            _place(solved, few, Solutions(w, z, b, certificate))
            self._count(work)
        return solved

    def weights(self, problems: Problems, solved: Solutions) -> tuple[Tensor, Tensor]:
        """Weights (P, D) for the features as they came, and their certificates (P,), against those features."""
        if self.features is self.original:
            return solved.w, solved.certificate
        given = Problems(self.original, problems.target, problems.weight, self.magnitude)
        b = solved.b.clone()
        w = combination(self.original, b)
        certificate = given.certify(w)[1]
        off = certificate > self.tolerance  # rarely: where the reduction's jitter shows
        if bool(off.any()):
            b[off], work = dual.minimise(given.select(off), b[off], self.gram, self.tolerance)
            w = combination(self.original, b)
            certificate = given.certify(w)[1]
            self._count(work)
        return w, certificate

    def _count(self, work: dict[str, int]) -> None:
        for name, amount in work.items():
            self.work[name] += amount


def _nothing(problems: Problems) -> Solutions:
    zeros = torch.zeros_like(problems.target)
    w = zeros.new_zeros(len(problems), problems.features.shape[1])
    return Solutions(w, zeros, zeros, zeros.new_full((len(problems),), torch.inf))


def _scaled(problems: Problems, start: Solutions) -> Solutions:
    """The best multiple of each start. While all images are active, w grows in proportion to the cost."""
    size = (start.w * start.w).sum(1)
    ones = torch.ones_like(start.z)
    t = best_step(torch.zeros_like(size), size, ones, problems.target * start.z, problems.weight)
    t = torch.where(size > 0, t, 1.0)
    factor = t[:, None]
    return Solutions(factor * start.w, factor * start.z, factor * start.b, start.certificate)


def _place(whole: Solutions, rows: Tensor, part: Solutions) -> None:
    for target, source in ((whole.w, part.w), (whole.z, part.z), (whole.b, part.b)):
        target[rows] = source
    whole.certificate[rows] = part.certificate
