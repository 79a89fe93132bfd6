"""Newton directions of many problems by conjugate gradients, their products with the features made together.

N images, D features, P problems
"""

import torch
from torch import Tensor

from .images import Images
from .preconditioner import Preconditioner

_ITERATIONS = 200
_SHARE_THAT_LEAVES = 1 / 6  # of the rows, before those that are done are worth copying the others without them


def newton_direction(
    images: Images, curvature: Tensor, gradient: Tensor, precision: Tensor, preconditioner: Preconditioner
) -> tuple[Tensor, Tensor, int]:
    """Solve ``(I + X' diag(h) X) d = -g`` for every row until the residual's norm is below ``precision``.

    Args:
        images: X, (N, D), in the dtype of the others.
        curvature: h = 2 s on active images, else 0; (P, N).
        gradient: g, (P, D).
        precision: (P,).

    Returns:
        d (P, D), d X' (P, N) and the number of iterations.
    """
    direction, change = torch.zeros_like(gradient), torch.zeros_like(curvature)
    tiny = torch.finfo(gradient.dtype).tiny
    rows = torch.arange(len(gradient), device=gradient.device)
    mean_weight = curvature.mean(1)
    residual = -gradient
    step = preconditioner.apply(residual, mean_weight)
    energy = (residual * step).sum(1)
    d, x_d = direction.clone(), change.clone()
    for iteration in range(1, _ITERATIONS + 1):
        x_step = images.scores(step)
        bent = step + images.combination(curvature * x_step)
        length = (energy / (step * bent).sum(1).clamp_min(tiny))[:, None]
        d.addcmul_(length, step)
        x_d.addcmul_(length, x_step)
        residual.addcmul_(-length, bent)
        going = residual.norm(dim=1) > precision
        finished = len(going) - int(going.sum())
        if finished == len(going) or iteration == _ITERATIONS:
            break
        if finished > _SHARE_THAT_LEAVES * len(going):
            direction[rows], change[rows] = d, x_d
            rows, curvature, mean_weight, residual, step, energy, precision, d, x_d = (
                part[going] for part in (rows, curvature, mean_weight, residual, step, energy, precision, d, x_d)
            )
        preconditioned = preconditioner.apply(residual, mean_weight)
        following = (residual * preconditioned).sum(1)
        step = torch.addcmul(preconditioned, (following / energy.clamp_min(tiny))[:, None], step)
        energy = following
    direction[rows], change[rows] = d, x_d
    return direction, change, iteration
