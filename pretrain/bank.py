"""What a query is compared with: keys of this step and the queue, eq. 3 of "Contrastive Learning with Stronger
Augmentations".

Shapes:
    Q: queries, of any number of views
    B: keys of this step, of all processes together
    C: embedding dimension; every embedding has unit L2 norm
    K: keys in the queue
    M: keys that a query is compared with, 1 + K or B + K

Similarities are linear in the query: ``sum_k p_k (q . key_k) = q . (sum_k p_k key_k)``. So the losses need two things
of a query's distribution over M keys: the logarithm of its normaliser, and its mean key. They are gathered in one pass
over the bank, a block of keys at a time, and neither the M logits nor a copy of the queue ever lies in memory: K is
65536.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

LOG2_E = 1 / math.log(2)

#: Logits of one block. On the CPU a block should stay in the cache, on a GPU it should fill the device.
BLOCK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}


@dataclass(frozen=True)
class Bank:
    """The keys that every query is compared with, and each query's own.

    Attributes:
        own: Q x C, each query's positive key. (The public code finds it by the index of the GPU in its server, which is
            wrong on several servers.)
        queue: K x C.
        batch: None: own key + queue (paper). B x C: the keys of the whole batch, ``own`` among them, + queue (public
            code).
    """

    own: Tensor
    queue: Tensor
    batch: Tensor | None = None

    def repeated(self, views: int) -> "Bank":
        """The bank of the same images' queries of ``views`` views, one view after the other."""
        return self if views == 1 else replace(self, own=self.own.repeat(views, 1))


class Distribution(NamedTuple):
    """Of each query ``p = softmax(similarities / temperature)`` over its bank (eq. 3).

    Attributes:
        log_normaliser: Q, ``log sum_k exp(q . key_k / temperature)``. Its gradient is ``mean_key / temperature``.
        mean_key: Q x C, ``sum_k p_k key_k``; a constant, no gradient.
        largest: Q, the largest similarity with a key of the queue; a constant.
    """

    log_normaliser: Tensor
    mean_key: Tensor
    largest: Tensor


def distribution(query: Tensor, bank: Bank, temperature: float) -> Distribution:
    """What is needed of eq. 3 for ``query``, Q x C with gradient. ``temperature`` is above 0."""
    return Distribution(*_Distribution.apply(query, bank, temperature))


class _Distribution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query: Tensor, bank: Bank, temperature: float):
        query = query * (LOG2_E / temperature)  # Q x C; powers of 2 cost half of those of e
        own = (query * bank.own).sum(dim=1, keepdim=True)  # Q x 1, a logit (base 2) like all below
        # weighted: the sum of 2 ** (logit - top) key
        if bank.batch is None:
            top, total, weighted = own, torch.ones_like(own), bank.own.clone()
        else:
            top, total, weighted = torch.full_like(own, -torch.inf), torch.zeros_like(own), torch.zeros_like(query)
        largest = torch.full_like(own, -torch.inf)
        length = max(64, BLOCK_ELEMENTS.get(query.device.type, 2**22) // len(query))
        buffer = query.new_empty(len(query) * length)
        for keys, of_queue in _blocks(bank, length):
            logit = torch.mm(query, keys.T, out=buffer[: len(query) * len(keys)].view(len(query), -1))  # Q x block
            best = logit.amax(dim=1, keepdim=True)
            new_top = torch.maximum(top, best)
            shrink = (top - new_top).exp2_()
            weight = logit.sub_(new_top).exp2_()
            total = total * shrink + weight.sum(dim=1, keepdim=True)
            weighted.mul_(shrink).addmm_(weight, keys)
            top = new_top
            if of_queue:
                largest = torch.maximum(largest, best)
        mean_key = weighted / total
        ctx.save_for_backward(mean_key)
        ctx.temperature = temperature
        largest = largest[:, 0] * (temperature / LOG2_E)
        ctx.mark_non_differentiable(mean_key, largest)
        return (top + total.log2())[:, 0] / LOG2_E, mean_key, largest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_log_normaliser: Tensor, *_):
        (mean_key,) = ctx.saved_tensors
        return of_log_normaliser[:, None] * mean_key / ctx.temperature, None, None


def _blocks(bank: Bank, length: int) -> Iterator[tuple[Tensor, bool]]:
    """The keys of the batch and of the queue, ``length`` at a time, and whether they are of the queue."""
    if bank.batch is not None:
        yield from ((keys, False) for keys in bank.batch.split(length))
    yield from ((keys, True) for keys in bank.queue.split(length))
