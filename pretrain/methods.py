"""CLSA and MoCo v2, Algorithm 1 of "Contrastive Learning with Stronger Augmentations".

Shapes:
    N: images of this process
    B: images of all processes
    S: side of a view, in pixels
    C: embedding dimension
    K: keys in the queue
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from .distributed import Process, gather
from .key_queue import KeyQueue
from .losses import batch_bank_logits, ddm_loss, entropy, info_nce_loss, positive_bank_logits, top1_percent
from .networks import Encoder
from .seeding import Purpose, generator


@dataclass
class Step:
    """What one forward pass gives: the loss parts (with gradient), what is logged, and the keys to enqueue."""

    contrastive: Tensor  # scalar, L_C of eq. 1
    ddm: Tensor | None  # scalar, L_D of eq. 4 summed over the strong views; None for MoCo v2
    acc1_bank: Tensor  # scalar percent: the positive among positive + queue, for the weak query
    acc1_batch: Tensor  # scalar percent: the positive among the batch's keys
    ddm_target_entropy: Tensor | None  # scalar, nats
    batch_keys: Tensor  # B x C, all processes in rank order


class MomentumContrast(nn.Module):
    """Query network, its slowly following copy (the key network), and a queue of the copy's past keys.

    With strong views it is CLSA (``clsa_single``: one, ``clsa_multi``: several, one weak query for all); without it is
    MoCo v2. The training loop calls, in the order of Algorithm 1, ``forward``, the optimizer,
    :meth:`update_key_network`, :meth:`enqueue`.
    """

    def __init__(self, cfg: CfgNode, process: Process) -> None:
        super().__init__()
        self.query = Encoder(cfg)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue = KeyQueue(cfg.LOSS.QUEUE_LENGTH, cfg.MODEL.HEAD_OUTPUT)
        self.process = process
        self.seed = cfg.SEED
        self.temperature = cfg.LOSS.TEMPERATURE
        self.key_momentum = cfg.MODEL.KEY_MOMENTUM
        self.bank = cfg.LOSS.BANK
        self.amp_dtype = getattr(torch, cfg.SOLVER.PRECISION)

    def forward(self, key_view: Tensor, weak_view: Tensor, strong_views: Sequence[Tensor], iteration: int) -> Step:
        """Embed the views and compare the queries with the bank.

        Args:
            key_view, weak_view: N x 3 x S x S, normalised.
            strong_views: as many N x 3 x S x S as the method has, each of its own size.
            iteration: the step, which seeds the shuffling of the key network's batch.
        """
        with torch.autocast(key_view.device.type, self.amp_dtype, enabled=self.amp_dtype != torch.float32):
            batch_keys = self._embed_keys(key_view, iteration)  # B x C
            weak_query = self.query(weak_view)  # N x C
            strong_queries = [self.query(view) for view in strong_views]  # each N x C
        first = self.process.rank * len(key_view)
        own = torch.arange(first, first + len(key_view), device=batch_keys.device)  # N, where batch_keys has ours

        if self.bank == "positive_and_queue":
            positive = torch.zeros_like(own)
            weak_logits = self._against_positive(weak_query, batch_keys[own])  # N x (1 + K)
            strong_logits = [self._against_positive(query, batch_keys[own]) for query in strong_queries]
        else:
            positive = own
            weak_logits = self._against_batch(weak_query, batch_keys)  # N x (B + K)
            strong_logits = [self._against_batch(query, batch_keys) for query in strong_queries]

        return Step(
            contrastive=info_nce_loss(weak_logits, positive),
            ddm=ddm_loss(weak_logits, strong_logits) if strong_logits else None,
            acc1_bank=self._bank_accuracy(weak_query.detach(), batch_keys[own]),
            acc1_batch=top1_percent(weak_query.detach() @ batch_keys.T, own),
            ddm_target_entropy=entropy(weak_logits.detach()) if strong_logits else None,
            batch_keys=batch_keys,
        )

    @torch.no_grad()
    def update_key_network(self) -> None:
        """key = momentum * key + (1 - momentum) * query, for every parameter.

        Parameters only, as in MoCo: the running statistics of the key network's BN follow its own forward passes. They
        are used by nobody during training, where BN normalises by the batch.
        """
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            key.mul_(self.key_momentum).add_(query * (1 - self.key_momentum))

    def enqueue(self, batch_keys: Tensor) -> None:
        """The keys of this step, B x C of all processes in rank order, replace the oldest of the queue."""
        self.queue.enqueue(batch_keys)

    @torch.no_grad()
    def _embed_keys(self, key_view: Tensor, iteration: int) -> Tensor:
        """N x 3 x S x S to the keys of all processes, B x C in rank order.

        With several processes each embeds a random share of all images ("shuffling BN", MoCo section 3.3): otherwise
        BN's statistics, taken over the same images for query and key, tell the query which key is its own. With one
        process there is nothing to shuffle.
        """
        if self.process.world_size == 1:
            return self.key(key_view)
        images = gather(key_view, self.process)  # B x 3 x S x S
        order = generator(Purpose.SHUFFLE, self.seed, iteration).permutation(len(images))  # B, the same everywhere
        share = order.reshape(self.process.world_size, -1)[self.process.rank]  # N
        keys = gather(self.key(images[torch.from_numpy(share).to(images.device)]), self.process)  # B x C, shuffled
        place = torch.from_numpy(order.argsort()).to(keys.device)
        return keys[place]

    def _against_positive(self, query: Tensor, own_keys: Tensor) -> Tensor:
        return positive_bank_logits(query, own_keys, self.queue.keys, self.temperature)

    def _against_batch(self, query: Tensor, batch_keys: Tensor) -> Tensor:
        return batch_bank_logits(query, batch_keys, self.queue.keys, self.temperature)

    def _bank_accuracy(self, query: Tensor, own_keys: Tensor) -> Tensor:
        """Logged for every kind of bank, so that runs can be compared."""
        logits = self._against_positive(query, own_keys)  # N x (1 + K)
        return top1_percent(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))
