"""Newton's method on b, w = b X, for problems few of whose images are active: high costs.

    N images, D features, P problems; shapes as in :mod:`.problem`
    K = X X' (N, N) Gram matrix, A the active images of a problem

With the active images known, the minimum has b = 0 outside A and solves on it

    (K_AA + diag(1 / (2 s_A))) b_A = y_A

(Chapelle, "Training a Support Vector Machine in the Primal", 2007): a Cholesky factorisation of the size of A, a few
hundred to a thousand of VOC's 5011 images. An exact line search towards that b keeps the descent while A still changes.

The equation is solved for the correction of b, from a residual in float64. So K may be float32, and its factor too
where the condition allows: what they lack in digits, the next round makes up. A problem for which that is not enough
gets its K_AA in float64.
"""

import torch
from torch import Tensor

from .images import Images
from .line_search import best_step
from .problem import Problems

_ROUNDS = 40
_FULL_STEP = 1e-2  # a step this near 1 is 1: it solves the equation, and images that have left get b = 0 exactly
_STALLED = 1e-6  # a step this short: float32 did not give a direction of descent, from here on float64 does


def gram_dtype(problems: Problems, features: torch.dtype) -> torch.dtype:
    """The features', or float64 where float32's error would disturb the equation's diagonal, 1 / (2 s).

    Rounding disturbs K's eigenvalues by about eps max |x|^2 sqrt(N).
    """
    images = problems.images
    disturbance = torch.finfo(torch.float32).eps * problems.longest**2 * len(images) ** 0.5
    heaviest = float(problems.weight.max())
    return torch.float64 if 2 * heaviest * disturbance > 0.1 else features


def minimise(problems: Problems, start: Tensor, gram: Tensor, tolerance: float) -> tuple[Tensor, dict[str, int]]:
    """Coefficients b (P, N) with |b X - w*| <= tolerance |b X|, and what they took; float64.

    A problem whose equation cannot be factorised, or that does not get there within the limit of rounds, comes back as
    it is; the caller certifies.
    """
    live = torch.arange(len(problems), device=start.device)
    part, images = problems, problems.images
    b = start.clone()
    z = images.scores(images.combination(b))
    solution, careful = b.clone(), torch.zeros_like(live, dtype=torch.bool)
    work = {"newton_rounds": 0, "factorisations": 0}
    for _ in range(_ROUNDS):
        excess = b - part.coefficients(z)  # g = excess X
        norm = images.combination(excess).norm(dim=1)
        going = norm > tolerance * (b * z).sum(1).clamp_min(0).sqrt()
        if not bool(going.all()):
            solution[live] = b
            if not bool(going.any()):
                return solution, work
            live, b, z, excess, careful = (x[going] for x in (live, b, z, excess, careful))
            part = part.select(going)
        active = part.active(z)
        rows = zip(part.weight, active, b, excess, careful, strict=True)
        q = torch.stack([_correction(images, gram, *row) for row in rows])
        x_d = images.scores(images.combination(q))
        t = best_step((b * x_d).sum(1), (q * x_d).sum(1), 1 - part.target * z, part.target * x_d, part.weight)
        t = torch.where((t - 1).abs() <= _FULL_STEP, 1.0, t)
        b, z = b + t[:, None] * q, z + t[:, None] * x_d
        careful = careful | (t < _STALLED) | ~q.any(1)
        work["newton_rounds"] += 1
        work["factorisations"] += len(part)
    solution[live] = b
    return solution, work


def _correction(
    images: Images, gram: Tensor, weight: Tensor, active: Tensor, b: Tensor, excess: Tensor, careful: Tensor
) -> Tensor:
    """q (N,) such that b + q solves the equation on the active images and is 0 on the others; 0 where it cannot.

    Outside A: q = -b. On A, from ``q + 2 s K q = -excess``: (K_AA + D) q_A = -D excess_A + K_AO b_O, with the images O
    that have left the active ones and D = 1 / (2 s).
    """
    inside, left = active.nonzero()[:, 0], (~active & (b != 0)).nonzero()[:, 0]
    q = torch.where(active, 0.0, -b)
    if not len(inside):
        return q
    if careful:
        x = images.rows(inside).dense(torch.float64)
        matrix, among_left = x @ x.T, x @ images.rows(left).dense(torch.float64).T
    else:
        matrix, among_left = gram[inside[:, None], inside], gram[inside[:, None], left].double()
    ridge = 0.5 / weight[inside]
    right = -ridge * excess[inside] + among_left @ b[left]
    if torch.finfo(torch.float32).eps * float(matrix.diagonal().sum() / ridge.min()) > 0.05:
        matrix = matrix.double()
    matrix.diagonal().add_(ridge.to(matrix.dtype))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed):
        return torch.zeros_like(b)
    q[inside] = torch.cholesky_solve(right[:, None].to(matrix.dtype), factor)[:, 0].double()
    return q
