"""Which method for which problem, warm starts, and the certificate of everything that leaves.

N images, D features, P problems; shapes as in :mod:`.problem`
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from . import dual, primal
from .images import Images
from .line_search import best_step
from .preconditioner import Preconditioner
from .problem import Problems
from .reduction import reduced

_HEADROOM = 0.7  # of the tolerance, for a solver whose own arithmetic is float32; the certificate is float64
_KEPT = 0.9  # of the active images, for a multiple of a start to be taken in its place


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

    def where(self, kept: Tensor, other: "Solutions") -> "Solutions":
        """Those of ``kept`` (P,) from here, the rest from ``other``."""
        pairs = ((self.w, other.w), (self.z, other.z), (self.b, other.b), (self.certificate, other.certificate))
        return Solutions(*(torch.where(kept.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))


class Minimiser:
    """Solves problems of the same images.

    Args:
        images: float32 or float64. With more features than images the problems are solved on the rows of
            :mod:`.reduction`, and :meth:`weights` leads back.
        tolerance: solutions are certified where |g| <= tolerance |w|.
    """

    def __init__(self, images: Images, tolerance: float) -> None:
        self.given = self.images = images
        self.tolerance = tolerance
        self.longest = images.longest()
        self.gram: Tensor | None = None
        self.preconditioner: Preconditioner | None = None
        if images.dimensions > len(images):
            rotated = reduced(images.gram(torch.float64))
            self.images = images if rotated is None else rotated
        self.work: dict[str, int] = {"newton_steps": 0, "cg_iterations": 0, "newton_rounds": 0, "factorisations": 0}
        # A factorisation of this size takes as long as some dozen iterations of conjugate gradients, a Newton step's.
        self.few_images = max(256, round((150 * len(images) * self.images.dimensions) ** (1 / 3)))

    def primal_images(self) -> Images:
        """As precise as they came: float32 suffices for conjugate gradients, and is twice as fast.

        Made anew for each cost, which takes milliseconds: they are memory that the dual can do without.
        """
        return self.images.to(self.given.matrix.dtype)

    def problems(self, target: Tensor, weight: Tensor) -> Problems:
        """Of (P, N) targets, 1 or -1, and weights, both float64."""
        return Problems(self.images, target, weight, self.longest)

    def solve(self, problems: Problems, start: Solutions | None = None) -> Solutions:
        """The minima, from those of neighbouring problems if given; the certificate says how near each came."""
        start = _nothing(problems) if start is None else _scaled(problems, start)
        few = problems.active(start.z).sum(1) <= self.few_images
        solved = start.map(torch.clone)
        if not bool(few.all()):
            many = ~few
            part = problems.select(many)
            images = self.primal_images()
            self.preconditioner = self.preconditioner or Preconditioner(images)
            tolerance = _HEADROOM * self.tolerance
            w, work = primal.minimise(part, images, start.w[many], self.preconditioner, tolerance)
            del images
            z, certificate = part.certify(w)
            _place(solved, many, Solutions(w, z, part.coefficients(z), certificate))
            self._count(work)
            few = few.clone()
            few[many] = certificate > self.tolerance  # float32 did not suffice: finish them in the dual
        if bool(few.any()):
            part = problems.select(few)
            b, work = dual.minimise(part, solved.b[few], self._gram_for(part), self.tolerance)
            w = self.images.combination(b)
            z, certificate = part.certify(w)
            _place(solved, few, Solutions(w, z, b, certificate))
            self._count(work)
        return solved

    def weights(self, problems: Problems, solved: Solutions) -> tuple[Tensor, Tensor]:
        """Weights (P, D) for the features as they came, and their certificates (P,), against those features."""
        if self.images is self.given:
            return solved.w, solved.certificate
        given = Problems(self.given, problems.target, problems.weight, self.longest)
        # w on the rows of L is L' c: then X' c has its scores and its gradient. b is a step further, and off by more.
        c = torch.linalg.solve_triangular(self.images.matrix.mT, solved.w.mT, upper=True).mT
        w = self.given.combination(c)
        certificate = given.certify(w)[1]
        off = certificate > self.tolerance  # rarely: where the reduction's jitter shows
        if bool(off.any()):
            part = given.select(off)
            b, work = dual.minimise(part, solved.b[off], self._gram_for(part), self.tolerance)
            w[off] = self.given.combination(b)
            certificate[off] = part.certify(w[off])[1]
            self._count(work)
        return w, certificate

    def _gram_for(self, problems: Problems) -> Tensor:
        """K, computed when it is first needed, and again where float64 first is.

        Of the rotated images, if they are: the fewer products. Their jitter is far below what the dual makes up for.
        """
        dtype = dual.gram_dtype(problems, self.given.matrix.dtype)
        if self.gram is None or (dtype == torch.float64 and self.gram.dtype != dtype):
            self.gram = None  # its memory, before the other's is taken
            self.gram = self.images.gram(dtype)
        return self.gram

    def _count(self, work: dict[str, int]) -> None:
        for name, amount in work.items():
            self.work[name] += amount


def _nothing(problems: Problems) -> Solutions:
    zeros = torch.zeros_like(problems.target)
    w = zeros.new_zeros(len(problems), problems.images.dimensions)
    return Solutions(w, zeros, zeros, zeros.new_full((len(problems),), torch.inf))


def _scaled(problems: Problems, start: Solutions) -> Solutions:
    """The best multiple of each start, unless it would leave most images without loss.

    While all images are active, w grows in proportion to the cost, and its multiple is the next minimum nearly. Later
    it is not: the multiple then is a better value, but its active images are a fraction of the minimum's, and come back
    over many rounds; those of the start as it is are the minimum's and a few more.
    """
    size = (start.w * start.w).sum(1)
    ones = torch.ones_like(start.z)
    t = best_step(torch.zeros_like(size), size, ones, problems.target * start.z, problems.weight)
    remaining = problems.active(t[:, None] * start.z).sum(1)
    t = torch.where((size > 0) & (remaining >= _KEPT * problems.active(start.z).sum(1)), t, 1.0)
    factor = t[:, None]
    return Solutions(factor * start.w, factor * start.z, factor * start.b, start.certificate)


def _place(whole: Solutions, rows: Tensor, part: Solutions) -> None:
    for target, source in ((whole.w, part.w), (whole.z, part.z), (whole.b, part.b)):
        target[rows] = source
    whole.certificate[rows] = part.certificate
