"""The losses of CLSA, equations 1, 3 and 4 of "Contrastive Learning with Stronger Augmentations", by a closed form.

Shapes:
    W, S: weak and strong queries of an image (1 and 1 in CLSA-Single, 1 and 5 in CLSA-Multi)
    N: queries of one view (the batch of one process)
    C: embedding dimension; every embedding has unit L2 norm

All losses are means over N, in nats, in the dtype of their arguments (the training loop passes float32).

Read literally, eq. 4 over W x S pairs is W * S cross-entropies, each with its own products with the bank, kept for the
backward pass. With ``lse`` and ``mean`` of a query's distribution over the bank (``bank.distribution``) the losses are

    eq. 1   lse(weak) - weak . own key / temperature
    eq. 4   W lse(strong) - strong . (sum of the weak queries' mean keys) / temperature, summed over the strong queries

so that each query meets the bank once, and nothing as long as the bank is kept. lse is taken with the largest logit in
front, where the public code takes log(softmax), which underflows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .bank import Bank, distribution

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
        strong: scalar with gradient, summed over all pairs of a weak and a strong query: eq. 4; or, ``contrastive``,
            eq. 1 summed over the strong queries. None without strong queries.
        acc1: scalar percent, no gradient: the first weak query's own key is above every key of the queue. A tie is a
            miss.
        target_entropy: scalar nats, no gradient: mean entropy of the target distributions, the least value that each
            pair of eq. 4 can reach. None where nothing is taught.
    """

    contrastive: Tensor
    strong: Tensor | None
    acc1: Tensor
    target_entropy: Tensor | None


def query_losses(
    weak: Sequence[Tensor], strong: Sequence[Tensor], bank: Bank, temperatures: Temperatures, strong_loss: str = "ddm"
) -> Losses:
    """Losses of the weak and the strong queries against ``bank``; gradients flow to the queries, not to the keys.

    Args:
        weak: W >= 1 tensors N x C. They learn by eq. 1 alone: as targets they are constants.
        strong: S >= 0 tensors N x C.
        bank: of N queries; it serves every view.
        strong_loss: ``ddm`` (eq. 4), or ``contrastive``: eq. 1 on the strong queries, the ablation of the paper's table
            4. Then there is no target.
    """
    own, tau = bank.own.repeat(len(weak), 1), temperatures.contrastive  # W N x C
    query = torch.cat(list(weak))  # W N x C
    met = distribution(query, bank.repeated(len(weak)), tau)
    similarity = (query * own).sum(dim=1)  # W N
    contrastive = len(weak) * (met.log_normaliser - similarity / tau).mean()
    first = slice(len(bank.own))
    acc1 = 100.0 * (similarity[first] > met.largest[first]).float().mean().detach()
    if not strong:
        return Losses(contrastive, None, acc1, None)
    if strong_loss == "contrastive":
        return Losses(contrastive, query_losses(strong, [], bank, temperatures).contrastive, acc1, None)

    target_tau, student_tau = temperatures.target, temperatures.student
    with torch.no_grad():
        if target_tau != tau:
            met = distribution(query, bank.repeated(len(weak)), target_tau)
        entropy = (met.log_normaliser - (query * met.mean_key).sum(dim=1) / target_tau).mean()
        taught = met.mean_key.unflatten(0, (len(weak), -1)).sum(dim=0)  # N x C
    student = torch.cat(list(strong))  # S N x C
    normaliser = distribution(student, bank.repeated(len(strong)), student_tau).log_normaliser  # S N
    agreement = (student * taught.repeat(len(strong), 1)).sum(dim=1) / student_tau  # S N
    return Losses(contrastive, len(strong) * (len(weak) * normaliser - agreement).mean(), acc1, entropy)


def top1_percent(similarity: Tensor, positive: Tensor) -> Tensor:
    """Percentage of the rows of N x M whose ``positive`` (N, int64) is above every other column. A tie is a miss."""
    own = similarity.gather(1, positive[:, None])  # N x 1
    return 100.0 * ((similarity >= own).sum(dim=1) == 1).float().mean()
