"""The losses of CLSA as the paper's public code computes them, for comparison; a plain reading of its way of working.

For every weak query, and again for every pair of a weak and a strong query, it clones the queue, multiplies, joins the
logits of the batch's keys and of the queue, and takes log(softmax); and of the first logits it takes the top 5, for the
accuracy. PyTorch keeps all of it for the backward pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def literal_losses(
    weak: Sequence[Tensor], strong: Sequence[Tensor], keys: Tensor, queue: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(contrastive loss, DDM loss, share of the first weak queries whose key is the nearest), scalars.

    Args:
        weak, strong: queries of each view, N x C.
        keys: N x C, the batch's; row i is the positive of row i of each query.
        queue: C x K, as it lies there.
    """
    own = torch.arange(len(keys), device=keys.device)

    def logits(query: Tensor) -> Tensor:
        of_batch = torch.einsum("nc,ck->nk", query, keys.T)
        of_queue = torch.einsum("nc,ck->nk", query, queue.clone().detach())
        joined = torch.cat([of_batch, of_queue], dim=1)
        joined /= temperature
        return joined

    contrastive, ddm, top1 = 0.0, 0.0, None
    for query in weak:
        of_weak = logits(query)
        if top1 is None:
            top1 = (of_weak.detach().topk(5, dim=1).indices == own[:, None])[:, 0].float().mean()
        contrastive = contrastive + F.cross_entropy(of_weak, own)
        target = torch.softmax(of_weak.clone().detach(), dim=1)
        for student in strong:
            probability = torch.softmax(logits(student), dim=1)
            ddm = ddm - torch.mean(torch.sum(torch.log(probability) * target, dim=1))
    return contrastive, ddm, top1
