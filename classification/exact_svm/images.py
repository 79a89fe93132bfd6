"""The images' features, as given, and the products that the solvers need of them.

N images, D features, one of them 1 everywhere if there is a bias    X (N, D)    P problems
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_ROWS = 128  # that are widened to float64 at a time: they stay in the cache; also the steps of a triangle
_BLOCK = 256  # rows of the Gram matrix at a time


@dataclass(frozen=True)
class Images:
    """``matrix`` (N, D) or, with ``bias``, (N, D - 1): the column of ones is then understood, and nothing is copied.

    ``triangular``: N = D, and all is 0 to the right of the diagonal, which halves the products.
    """

    matrix: Tensor
    bias: bool
    triangular: bool = False

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def dimensions(self) -> int:
        return self.matrix.shape[1] + self.bias

    def to(self, dtype: torch.dtype) -> "Images":
        """The same in ``dtype``; a copy only where that is another one."""
        return replace(self, matrix=self.matrix.to(dtype))

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
        """w X', (P, N), of w (P, D), in the dtype of w whatever the features' own."""
        z = w.new_empty(len(w), len(self))  # not a list of parts, which in memory would lie between the blocks' gaps
        for rows, block in self._blocks(w.dtype):
            z[:, rows] = w[:, : block.shape[1]] @ block.T
        return z.add_(w[:, -1:]) if self.bias else z

    def combination(self, b: Tensor) -> Tensor:
        """b X, (P, D), of b (P, N), in the dtype of b."""
        total = b.new_zeros(len(b), self.matrix.shape[1])
        for rows, block in self._blocks(b.dtype):
            total[:, : block.shape[1]].addmm_(b[:, rows], block)
        return torch.cat([total, b.sum(1, keepdim=True)], dim=1) if self.bias else total

    def _blocks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Some rows of the matrix at a time, in ``dtype``, without the columns that are 0 in all of them."""
        size = _ROWS if self.triangular or self.matrix.dtype != dtype else len(self)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            columns = stop if self.triangular else self.matrix.shape[1]
            yield slice(start, stop), self.matrix[start:stop, :columns].to(dtype)

    def gram(self, dtype: torch.dtype) -> Tensor:
        """X X', (N, N): the lower triangle, in blocks of rows, and its mirror image."""
        gram = self.matrix.new_empty(len(self), len(self), dtype=dtype)
        for start in range(0, len(self), _BLOCK):
            rows = self.matrix[start : start + _BLOCK].to(dtype)
            stop = start + len(rows)
            for left in range(0, stop, _BLOCK):
                right = min(left + _BLOCK, stop)
                width = right if self.triangular else self.matrix.shape[1]
                gram[start:stop, left:right] = rows[:, :width] @ self.matrix[left:right, :width].to(dtype).T
            gram[:start, start:stop] = gram[start:stop, :start].T
        return gram.add_(1) if self.bias else gram
