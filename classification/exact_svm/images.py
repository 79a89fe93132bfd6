"""The images' features, as given, and the products that the solvers need of them.

N images, D features, one of them 1 everywhere if there is a bias    X (N, D)    P problems
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROWS = 128  # that are widened to float64 at a time: they stay in the cache
_BLOCK = 256  # rows of the Gram matrix at a time


@dataclass(frozen=True)
class Images:
    """``matrix`` (N, D) or, with ``bias``, (N, D - 1): the column of ones is then understood, and nothing is copied."""

    matrix: Tensor
    bias: bool

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def dimensions(self) -> int:
        return self.matrix.shape[1] + self.bias

    def dense(self, dtype: torch.dtype) -> Tensor:
        """X (N, D) in ``dtype``."""
        x = self.matrix.to(dtype)
        return torch.cat([x, x.new_ones(len(x), 1)], dim=1) if self.bias else x

    def rows(self, index: Tensor) -> "Images":
        """Some of the images."""
        return Images(self.matrix.index_select(0, index), self.bias)

    def longest(self) -> float:
        """The largest norm of a row."""
        return float((self.matrix.norm(dim=1).double().max() ** 2 + self.bias).sqrt())

    def scores(self, w: Tensor) -> Tensor:
        """w X', (P, N), of w (P, D) float64, in float64 whatever the features' own dtype."""
        offset = w[:, -1:] if self.bias else 0.0
        directions = w[:, : self.matrix.shape[1]]
        blocks = self.matrix.split(_ROWS)
        return torch.cat([directions @ block.to(w.dtype).T for block in blocks], dim=1).add_(offset)

    def combination(self, b: Tensor) -> Tensor:
        """b X, (P, D), of b (P, N) float64, in float64."""
        total = b.new_zeros(len(b), self.matrix.shape[1])
        for block, part in zip(self.matrix.split(_ROWS), b.split(_ROWS, dim=1), strict=True):
            total.addmm_(part, block.to(b.dtype))
        return torch.cat([total, b.sum(1, keepdim=True)], dim=1) if self.bias else total

    def gram(self, dtype: torch.dtype) -> Tensor:
        """X X', (N, N): the lower triangle, in blocks of rows, and its mirror image."""
        gram = self.matrix.new_empty(len(self), len(self), dtype=dtype)
        for start in range(0, len(self), _BLOCK):
            rows = self.matrix[start : start + _BLOCK].to(dtype)
            stop = start + len(rows)
            for left in range(0, stop, _BLOCK):
                columns = self.matrix[left : min(left + _BLOCK, stop)].to(dtype)
                gram[start:stop, left : left + len(columns)] = rows @ columns.T
            gram[:start, start:stop] = gram[start:stop, :start].T
        return gram.add_(1) if self.bias else gram
