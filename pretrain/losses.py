"""The losses of CLSA, equations 1, 3 and 4 of "Contrastive Learning with Stronger Augmentations".

Shapes:
    N: queries (the batch of one process)
    C: embedding dimension; every embedding here has unit L2 norm
    K: keys in the queue
    M: keys that a query is compared with (the bank): 1 + K with its positive key alone, B + K with the keys of a whole
       batch of B (all processes together)

All losses are means over N, in nats, in the dtype of their arguments (the training loop passes float32).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def positive_bank_logits(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Exponents of eq. 1 and 3: each query against its own key and the queue.

    Args:
        query, key: N x C, row i of ``key`` is the positive of row i of ``query``.
        queue: K x C.
        temperature: tau, above 0.

    Returns:
        N x (1 + K), the positive in column 0.
    """
    positive = (query * key).sum(dim=1, keepdim=True)  # N x 1
    negative = query @ queue.T  # N x K
    return torch.cat([positive, negative], dim=1) / temperature


def batch_bank_logits(query: Tensor, batch_keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Each query against the keys of the whole batch and the queue, as the paper's public code has it.

    Args:
        query: N x C.
        batch_keys: B x C, of all processes in rank order.
        queue: K x C.
        temperature: tau, above 0.

    Returns:
        N x (B + K). The positive of query i of process r is in column ``r * N + i``. (The public code offsets by the
        index of the GPU in its server, which is wrong on several servers.)
    """
    return query @ torch.cat([batch_keys, queue]).T / temperature


def info_nce_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Contrastive loss on the weak query, eq. 1.

    Args:
        logits: N x M, similarities over temperature.
        positive: N, int64, the column of each query's positive key.

    Returns:
        Scalar ``-mean_i log softmax(logits_i)[positive_i]``. log(M) where all similarities are equal.
    """
    return F.cross_entropy(logits, positive)


def ddm_loss(weak_logits: Tensor, strong_logits: Sequence[Tensor]) -> Tensor:
    """Distributional divergence (DDM), eq. 4: the weak query's distribution over the bank teaches the strong ones.

    Args:
        weak_logits: N x M, from the weak query. No gradient flows into it: it is the target.
        strong_logits: one N x M for each strong view. Several (CLSA-Multi) are summed.

    Returns:
        Scalar ``sum_views mean_i -sum_k p(k | weak_i) log p(k | strong_i)``: a cross-entropy, so its least value is the
        target's entropy, not 0. ``log_softmax`` where the public code takes log(softmax), which underflows.
    """
    target = weak_logits.detach().softmax(dim=1)  # N x M
    return torch.stack([-(target * strong.log_softmax(dim=1)).sum(dim=1).mean() for strong in strong_logits]).sum()


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy of ``softmax(logits)`` over the rows of N x M: scalar in [0, log(M)] nats."""
    log_probability = logits.log_softmax(dim=1)
    return -(log_probability.exp() * log_probability).sum(dim=1).mean()


def top1_percent(logits: Tensor, positive: Tensor) -> Tensor:
    """Percentage of the rows of N x M whose ``positive`` (N, int64) is above every other column. A tie is a miss."""
    positive_logit = logits.gather(1, positive[:, None])  # N x 1
    return 100.0 * ((logits >= positive_logit).sum(dim=1) == 1).float().mean()
