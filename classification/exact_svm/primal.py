"""Newton's method on w, for problems most of whose images are active: low costs.

    N images, D features, P problems; shapes as in :mod:`.problem`

The truncated Newton method of Keerthi & DeCoste, "A Modified Finite Newton Method for Fast Solution of Large Scale
Linear SVMs", 2005: the objective is quadratic as long as the active images stay the same, and an exact line search
along the Newton direction makes it descend where they do not. All problems go together, so that the work is products of
matrices; those that are done leave.
"""

import torch
from torch import Tensor

from .conjugate_gradient import newton_direction
from .images import Images
from .line_search import best_step
from .preconditioner import Preconditioner
from .problem import Problems

_STEPS = 40
_FORCING = 0.1  # a direction's residual, as a share of the gradient: better directions cost more than they bring


def minimise(
    problems: Problems, images: Images, start: Tensor, preconditioner: Preconditioner, tolerance: float
) -> tuple[Tensor, dict[str, int]]:
    """Solutions (P, D), float64, with |g| <= tolerance |w| as far as the digits of ``images`` go, and what they took.

    Everything is computed in the dtype of ``images``, which are the problems' own but for that. Whether the tolerance
    was reached is for the caller to certify; a problem that does not get there within the step limit comes back as it
    is.
    """
    live = torch.arange(len(problems), device=start.device)
    y, s, w = (part.to(images.matrix.dtype) for part in (problems.target, problems.weight, start))
    solution, z = w.clone(), images.scores(w)
    work = {"newton_steps": 0, "cg_iterations": 0}
    for _ in range(_STEPS):
        gap = 1 - y * z
        loss_side = gap.clamp_min(0)
        gradient = w - images.combination(2 * s * y * loss_side)
        norm, size = gradient.norm(dim=1), w.norm(dim=1)
        going = norm > tolerance * size
        if not bool(going.all()):
            solution[live] = w
            if not bool(going.any()):
                return solution.double(), work
            live, y, s, w, z, gap, loss_side, gradient, norm, size = (
                part[going] for part in (live, y, s, w, z, gap, loss_side, gradient, norm, size)
            )
        precision = torch.maximum(_FORCING * norm, 0.3 * tolerance * size)
        d, x_d, iterations = newton_direction(images, 2 * s * (loss_side > 0), gradient, precision, preconditioner)
        t = best_step((w * d).sum(1), (d * d).sum(1), gap, y * x_d, s)
        w, z = w + t[:, None] * d, z + t[:, None] * x_d
        work["newton_steps"] += 1
        work["cg_iterations"] += iterations
    solution[live] = w
    return solution.double(), work
