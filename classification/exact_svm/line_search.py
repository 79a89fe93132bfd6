"""The best step along a direction, for every problem at once.

Along w + t d the objective is a convex, piecewise quadratic function of t, so its derivative rises along straight
pieces, and Newton's method on it, kept between two bounds, ends on the right piece within a few evaluations.
"""

import torch
from torch import Tensor

_EVALUATIONS = 30
_PRECISION = 1e-3  # of a step: every step's error is seen, and corrected, by the next gradient


def best_step(w_d: Tensor, d_d: Tensor, gap: Tensor, change: Tensor, weight: Tensor) -> Tensor:
    """The t > 0, (P,), that minimises ``1/2 |w + t d|^2 + sum_i s_i max(0, gap_i - t change_i)^2``.

    Args:
        w_d, d_d: inner products of w and d, and of d with itself, each (P,).
        gap: 1 - y z, (P, N).
        change: y (d X'), (P, N): what a unit step takes off the gap.
        weight: s, (P, N).
    """
    weighted = weight * change
    curved = weighted * change
    t, low, high = torch.ones_like(d_d), torch.zeros_like(d_d), torch.full_like(d_d, torch.inf)
    for _ in range(_EVALUATIONS):
        left = (gap - t[:, None] * change).clamp_min_(0)
        slope = w_d + t * d_d - 2 * (weighted * left).sum(1)
        curvature = d_d + 2 * (curved * (left > 0)).sum(1)
        low, high = torch.where(slope < 0, t, low), torch.where(slope < 0, high, t)
        newton = t - slope / curvature.clamp_min(torch.finfo(t.dtype).tiny)
        inside = (newton >= low) & (newton <= high)
        halfway = torch.where(high.isinf(), 2 * t, (low + high) / 2)
        following = torch.where(inside, newton, halfway)
        moved = (following - t).abs() > _PRECISION * t
        t = following
        if not bool(moved.any()):
            break
    return t
