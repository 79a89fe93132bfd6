"""Newton's method on b, w = b X, for problems few of whose images are active: high costs.

    N images, D features, P problems; shapes as in :mod:`.problem`
    K = X X' (N, N) Gram matrix, A the active images of a problem

With the active images known, the minimum has b = 0 outside A and solves on it

    (K_AA + diag(1 / (2 s_A))) b_A = y_A

(Chapelle, "Training a Support Vector Machine in the Primal", 2007): a Cholesky factorisation of the size of A, a few
hundred to a thousand of VOC's 5011 images. An exact line search towards that b keeps the descent while A still changes.

The equation is solved for the correction of b, from a residual in float64. So K may be float32, and its factor too
where the condition allows: what they lack in digits, the next round makes up.
"""

import torch
from torch import Tensor

from .line_search import best_step
from .problem import Problems, combination, scores_of

_ROUNDS = 40


def gram_dtype(features: Tensor, heaviest: float) -> torch.dtype:
    """The features' own, or float64 where float32's error would drown the equation's diagonal, 1 / (2 s).

    Rounding disturbs K's eigenvalues by about eps max |x|^2 sqrt(N). ``heaviest`` is the largest s to come.
    """
    disturbance = torch.finfo(torch.float32).eps * float((features * features).sum(1).max()) * len(features) ** 0.5
    return torch.float64 if 2 * heaviest * disturbance > 0.3 else features.dtype


def gram_matrix(features: Tensor, dtype: torch.dtype) -> Tensor:
    """K, (N, N) in ``dtype``."""
    gram = torch.empty(len(features), len(features), dtype=dtype, device=features.device)
    for start in range(0, len(features), 1024):  # the lower triangle, in blocks of rows, and its mirror image
        rows = features[start : start + 1024].to(dtype)
        stop = start + len(rows)
        gram[start:stop, :stop] = rows @ features[:stop].to(dtype).T
        gram[:start, start:stop] = gram[start:stop, :start].T
    return gram


def minimise(problems: Problems, start: Tensor, gram: Tensor, tolerance: float) -> tuple[Tensor, dict[str, int]]:
    """Coefficients b (P, N) with |b X - w*| <= tolerance |b X|, and what they took; float64.

    A problem whose equation cannot be factorised, or that does not get there within the limit of rounds, comes back as
    it is; the caller certifies.
    """
    live = torch.arange(len(problems), device=start.device)
    part = problems
    b = start.clone()
    z = scores_of(part.features, combination(part.features, b))
    solution = b.clone()
    work = {"newton_rounds": 0, "factorisations": 0}
    for _ in range(_ROUNDS):
        excess = b - part.coefficients(z)  # g = excess X
        norm = combination(part.features, excess).norm(dim=1)
        going = norm > tolerance * (b * z).sum(1).clamp_min(0).sqrt()
        if not bool(going.all()):
            solution[live] = b
            if not bool(going.any()):
                return solution, work
            live, b, z, excess = (x[going] for x in (live, b, z, excess))
            part = part.select(going)
        active = part.active(z)
        q = torch.stack([_correction(gram, *row) for row in zip(part.weight, active, b, excess, strict=True)])
        x_d = scores_of(part.features, combination(part.features, q))
        t = best_step((b * x_d).sum(1), (q * x_d).sum(1), 1 - part.target * z, part.target * x_d, part.weight)
        b, z = b + t[:, None] * q, z + t[:, None] * x_d
        work["newton_rounds"] += 1
        work["factorisations"] += len(part)
    solution[live] = b
    return solution, work


def _correction(gram: Tensor, weight: Tensor, active: Tensor, b: Tensor, excess: Tensor) -> Tensor:
    """q (N,) such that b + q solves the equation on the active images and is 0 on the others.

    Outside A: q = -b. On A, from ``q + 2 s K q = -excess``: (K_AA + D) q_A = -D excess_A + K_AO b_O, with the images O
    that have left the active ones and D = 1 / (2 s).
    """
    inside, left = active.nonzero()[:, 0], (~active & (b != 0)).nonzero()[:, 0]
    q = torch.where(active, 0.0, -b)
    if not len(inside):
        return q
    rows = gram.index_select(0, inside)
    matrix, ridge = rows.index_select(1, inside), 0.5 / weight[inside]
    right = -ridge * excess[inside] + rows.index_select(1, left).double() @ b[left]
    condition = float(matrix.diagonal().sum() / ridge.min())
    if torch.finfo(torch.float32).eps * condition > 0.05:
        matrix = matrix.double()
    matrix.diagonal().add_(ridge.to(matrix.dtype))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed):
        return torch.zeros_like(b)
    q[inside] = torch.cholesky_solve(right[:, None].to(matrix.dtype), factor)[:, 0].double()
    return q
