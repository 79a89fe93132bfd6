"""The queue of keys: first in, first out, of fixed length.

Shapes:
    K: length of the queue
    C: embedding dimension
    B: keys of one step, of all processes together
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KeyQueue(nn.Module):
    """The newest K keys. Starts with K random unit vectors, as MoCo's does.

    Attributes:
        keys: K x C float32 buffer, in no order that a loss depends on.
        oldest: 0-d int64 buffer, the row that the next key replaces. A tensor, so that no step waits for the GPU.

    K need not be a multiple of the batch (MoCo's must): a step that crosses the end goes on at row 0.
    """

    keys: Tensor
    oldest: Tensor

    def __init__(self, length: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, dimension), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replace the B oldest keys by ``keys`` (B x C, B <= K), row 0 first.

        With several processes every one passes the keys of all, in rank order, so that all queues stay the same.
        """
        length, count = len(self.keys), len(keys)
        if count > length:
            raise ValueError(f"{count} keys do not fit into a queue of {length}")
        rows = (self.oldest + torch.arange(count, device=self.keys.device)) % length  # B
        self.keys.index_copy_(0, rows, keys.to(self.keys.dtype))
        self.oldest.copy_((self.oldest + count) % length)
