"""The losses of CLSA, equations 1, 3 and 4 of "Contrastive Learning with Stronger Augmentations", with their gradients.

Shapes:
    W, S: weak and strong queries of an image (1 and 1 in CLSA-Single, 1 and 5 in CLSA-Multi)
    N: queries of one view (the batch of one process)
    C: embedding dimension; every embedding has unit L2 norm
    M: keys that a query is compared with (``bank``)

All losses are means over N, in nats, in the dtype of their arguments (the training loop passes float32).

Read literally, eq. 4 over W x S pairs is W * S cross-entropies, each with its own two products with the bank, kept for
the backward pass. With l the logits of a strong query, its terms are ``sum_w (lse(l) - p_w . l)``, which is
``W lse(l) - (sum_w p_w) . l``: so the weak distributions are summed once, each query meets the bank once, and the
gradient, ``(W softmax(l) - sum_w p_w) . bank / (temperature N)``, is at hand as soon as the loss is. It is computed
then, and N x C is all that the backward pass keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .bank import Bank

STRONG_LOSSES = ("ddm", "contrastive")


@dataclass(frozen=True)
class Temperatures:
    """Divisors of the similarities, above 0. The paper has one, tau, for all three.

    Attributes:
        contrastive: in eq. 1.
        target: of the weak query's distribution, where it teaches (eq. 3 and 4). Below ``student`` it sharpens.
        student: of the strong query's distribution.
    """

    contrastive: float
    target: float
    student: float

    @classmethod
    def equal(cls, tau: float) -> "Temperatures":
        return cls(tau, tau, tau)


class Losses(NamedTuple):
    """What the queries of one step give.

    Attributes:
        contrastive: scalar with gradient, eq. 1 summed over the weak queries (one in the paper, five in the public
            code's CLSA-Multi).
        strong: scalar with gradient, summed over all pairs of a weak and a strong query: eq. 4, or with ``contrastive``
            in place of DDM eq. 1 on each strong query. 0 without strong queries.
        acc1: scalar percent, no gradient: the first weak query's own key is above every key of the queue; a tie is a
            miss.
        target_entropy: scalar nats, no gradient: mean entropy of the target distributions, the least value that each
            pair of ``strong`` can reach. 0 without strong queries.
    """

    contrastive: Tensor
    strong: Tensor
    acc1: Tensor
    target_entropy: Tensor


def query_losses(
    weak: Sequence[Tensor],
    strong: Sequence[Tensor],
    bank: Bank,
    temperatures: Temperatures,
    strong_loss: str = "ddm",
) -> Losses:
    """Losses of the weak and the strong queries against ``bank``; gradients flow to the queries, not to the keys.

    Args:
        weak: W >= 1 tensors N x C. Through eq. 1 alone they learn: as targets they are constants.
        strong: S >= 0 tensors N x C.
        strong_loss: ``ddm`` (eq. 4), or ``contrastive``: eq. 1 on the strong queries, the ablation of the paper's table
            4. Then there is no target, and ``target_entropy`` is 0.

    ``log_softmax`` throughout, where the public code takes log(softmax), which underflows.
    """
    return Losses(*_QueryLosses.apply(len(weak), bank, temperatures, strong_loss, *weak, *strong))


class _QueryLosses(torch.autograd.Function):
    """Value and gradient in one pass, a view at a time: at most four N x M blocks in memory, whatever W and S are."""

    @staticmethod
    def forward(ctx, weak_count: int, bank: Bank, temperatures: Temperatures, strong_loss: str, *queries: Tensor):
        weak, strong = queries[:weak_count], queries[weak_count:]
        needs_target = bool(strong) and strong_loss == "ddm"
        contrastive, entropy, gradients, target, acc1 = 0.0, 0.0, [], None, None
        for query in weak:
            similarity = bank.similarities(query)  # N x M
            if acc1 is None:
                acc1 = _accuracy(similarity, bank)
            if needs_target:
                probability, its_entropy = _distribution(similarity, temperatures.target)
                entropy = entropy + its_entropy / weak_count
                target = probability if target is None else target.add_(probability)  # N x M, rows sum to W
                del probability
            value, gradient = _contrastive(similarity, bank, temperatures.contrastive)
            contrastive = contrastive + value
            gradients.append(gradient)
        zero = weak[0].new_zeros(())
        total = zero
        for query in strong:
            similarity = bank.similarities(query)  # N x M
            if strong_loss == "ddm":
                value, gradient = _cross_entropy(similarity, target, weak_count, bank, temperatures.student)
            else:
                value, gradient = _contrastive(similarity, bank, temperatures.contrastive)
            total = total + value
            gradients.append(gradient)
        ctx.weak_count = weak_count
        ctx.save_for_backward(*gradients)
        entropy = entropy if needs_target else zero.clone()
        ctx.mark_non_differentiable(acc1, entropy)
        return contrastive, total.clone() if total is zero else total, acc1, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, of_contrastive: Tensor, of_strong: Tensor, *_):
        scale = [of_contrastive] * ctx.weak_count
        scale += [of_strong] * (len(ctx.saved_tensors) - ctx.weak_count)
        return None, None, None, None, *(s * g for s, g in zip(scale, ctx.saved_tensors, strict=True))


def _contrastive(similarity: Tensor, bank: Bank, temperature: float) -> tuple[Tensor, Tensor]:
    """Eq. 1, scalar, and its gradient with respect to the query, N x C. Overwrites ``similarity``."""
    logits = similarity.div_(temperature)
    row, column = torch.arange(len(logits), device=logits.device), bank.positive()
    normaliser = logits.logsumexp(dim=1, keepdim=True)  # N x 1
    value = (normaliser[:, 0] - logits[row, column]).mean()
    slope = logits.sub_(normaliser).exp_()  # N x M, the softmax
    slope[row, column] -= 1
    return value, bank.weighted_sum(slope) / (temperature * len(slope))


def _cross_entropy(
    similarity: Tensor, target: Tensor, total: int, bank: Bank, temperature: float
) -> tuple[Tensor, Tensor]:
    """Mean over N of ``-sum_k target log softmax``, whose target's rows sum to ``total``; and its gradient, N x C."""
    logits = similarity.div_(temperature)
    normaliser = logits.logsumexp(dim=1, keepdim=True)  # N x 1
    # A dot product a row, as batched 1 x M by M x 1 products: target * logits would be a third N x M block.
    agreement = torch.bmm(target[:, None, :], logits[:, :, None])[:, 0, 0]  # N
    value = (total * normaliser[:, 0] - agreement).mean()
    slope = logits.sub_(normaliser).exp_().mul_(total).sub_(target)  # N x M
    return value, bank.weighted_sum(slope) / (temperature * len(slope))


def _distribution(similarity: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Eq. 3: N x M probabilities, and their mean entropy. Leaves ``similarity`` as it is."""
    logits = similarity / temperature
    normaliser = logits.logsumexp(dim=1, keepdim=True)
    logits.sub_(normaliser)
    probability = logits.exp()
    entropy = -torch.bmm(probability[:, None, :], logits[:, :, None]).mean()
    return probability, entropy


def _accuracy(similarity: Tensor, bank: Bank) -> Tensor:
    own = similarity.gather(1, bank.positive()[:, None])  # N x 1
    best = bank.queue_part(similarity).amax(dim=1, keepdim=True)  # N x 1
    return 100.0 * (own > best).float().mean()


def top1_percent(similarity: Tensor, positive: Tensor) -> Tensor:
    """Percentage of the rows of N x M whose ``positive`` (N, int64) is above every other column. A tie is a miss."""
    own = similarity.gather(1, positive[:, None])  # N x 1
    return 100.0 * ((similarity >= own).sum(dim=1) == 1).float().mean()
