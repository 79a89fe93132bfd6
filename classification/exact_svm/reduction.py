"""As many dimensions as images, and the same inner products: how layers of 8192 or 9216 features are solved.

    N images, D > N features    X (N, D)    K = X X' (N, N)    L (N, N) lower triangular, K = L L'

A minimum lies in the span of the images, and f depends on them through their inner products alone. So the problem on
the rows of L is the problem on the rows of X: the same scores z, the same coefficients b, the same gradient norms; only
``w = b X`` in place of ``b L``.
"""

import torch
from torch import Tensor

from .images import Images

#: Added to K's diagonal, as a share of its largest entry, so that repeated images do not stop the factorisation. Scores
#: change by some 1e-9 |b|: far below what the solvers' tolerance admits.
_JITTER = 1e-9


def reduced(gram: Tensor) -> Images | None:
    """The rows of L, or None where K cannot be factorised. ``gram``, K in float64, is overwritten."""
    diagonal = gram.diagonal()
    diagonal.add_(_JITTER * diagonal.max())
    failed = torch.empty((), dtype=torch.int32, device=gram.device)
    factor = gram.mT  # in the order of LAPACK, which then needs no copy
    torch.linalg.cholesky_ex(factor, out=(factor, failed))
    return None if bool(failed) else Images(factor, bias=False, triangular=True)
