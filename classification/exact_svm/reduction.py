"""Fewer dimensions than images, and the same inner products: what layers of 8192 or 9216 features are solved in.

    N images, D > N features    X (N, D)    K = X X' (N, N)    L (N, N) lower triangular, K = L L'

A minimum lies in the span of the images, and f depends on them through their inner products alone. So the problem on
the rows of L is the problem on the rows of X: the same scores z, the same coefficients b, the same gradient norms; only
``w = b X`` in place of ``b L``.
"""

import torch
from torch import Tensor

#: Added to K's diagonal, as a share of its largest entry, so that repeated images do not stop the factorisation. Scores
#: change by some 1e-9 |b|: far below what the solvers' tolerance admits.
_JITTER = 1e-9


def reduced(gram: Tensor) -> Tensor | None:
    """L, or None where K cannot be factorised; both float64."""
    ridge = _JITTER * gram.diagonal().max()
    lifted = gram.clone()
    lifted.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(lifted)
    return None if bool(failed) else factor
