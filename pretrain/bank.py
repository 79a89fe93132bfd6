"""What a query is compared with: keys of this step and the queue, eq. 3 of "Contrastive Learning with Stronger
Augmentations".

Shapes:
    N: queries of one view (the batch of one process)
    B: keys of this step, of all processes together
    C: embedding dimension; every embedding has unit L2 norm
    K: keys in the queue
    M: keys that a query is compared with, 1 + K or B + K

A bank is never put together in memory: K is 65536, and a copy of the queue for each product is what makes a plain
reading of the equations slow.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PositiveBank:
    """Each query's own key in column 0, then the queue (the paper's bank).

    Attributes:
        own_keys: N x C.
        queue: K x C.
    """

    own_keys: Tensor
    queue: Tensor

    def similarities(self, query: Tensor) -> Tensor:
        """N x C to N x (1 + K) dot products."""
        out = query.new_empty(len(query), 1 + len(self.queue))
        out[:, 0] = (query * self.own_keys).sum(dim=1)
        out[:, 1:] = query @ self.queue.T
        return out

    def weighted_sum(self, weight: Tensor) -> Tensor:
        """N x (1 + K) weights to N x C, each row the weighted sum of the keys of its bank."""
        return (weight[:, 1:] @ self.queue).addcmul_(weight[:, :1], self.own_keys)

    def positive(self) -> Tensor:
        """N, int64: the column of each query's own key."""
        return torch.zeros(len(self.own_keys), dtype=torch.long, device=self.own_keys.device)

    def queue_part(self, similarity: Tensor) -> Tensor:
        """The columns of the queue, N x K."""
        return similarity[:, 1:]


@dataclass(frozen=True)
class BatchBank:
    """The keys of the whole batch, of all processes in rank order, then the queue (the public code's bank).

    Attributes:
        batch_keys: B x C.
        queue: K x C.
        own_rows: N, int64, the rows of ``batch_keys`` that are the queries' own. (The public code offsets by the index
            of the GPU in its server, which is wrong on several servers.)
    """

    batch_keys: Tensor
    queue: Tensor
    own_rows: Tensor

    def similarities(self, query: Tensor) -> Tensor:
        """N x C to N x (B + K) dot products."""
        out = query.new_empty(len(query), len(self.batch_keys) + len(self.queue))
        out[:, : len(self.batch_keys)] = query @ self.batch_keys.T
        out[:, len(self.batch_keys) :] = query @ self.queue.T
        return out

    def weighted_sum(self, weight: Tensor) -> Tensor:
        """N x (B + K) weights to N x C, each row the weighted sum of the bank's keys."""
        batch = len(self.batch_keys)
        return (weight[:, batch:] @ self.queue).addmm_(weight[:, :batch], self.batch_keys)

    def positive(self) -> Tensor:
        """N, int64: the column of each query's own key."""
        return self.own_rows

    def queue_part(self, similarity: Tensor) -> Tensor:
        """The columns of the queue, N x K."""
        return similarity[:, len(self.batch_keys) :]


Bank = PositiveBank | BatchBank
