"""CLSA and MoCo v2, Algorithm 1 of "Contrastive Learning with Stronger Augmentations".

Shapes:
    N: images of this process
    B: images of all processes
    S: side of a view, in pixels
    C: embedding dimension
    K: keys in the queue
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .bank import Bank
from .distributed import Process, gather
from .key_queue import KeyQueue
from .losses import Temperatures, query_losses, top1_percent
from .networks import Encoder
from .seeding import Purpose, generator


@dataclass
class Step:
    """What one forward pass gives: the loss parts (with gradient), what is logged, and the keys to enqueue."""

    contrastive: Tensor  # scalar, L_C of eq. 1, summed over the weak queries
    strong: Tensor | None  # scalar, L_D of eq. 4 summed over all pairs (or what LOSS.STRONG says); None for MoCo v2
    acc1_bank: Tensor  # scalar percent: the positive among positive + queue, for the first weak query
    acc1_batch: Tensor  # scalar percent: the positive among the batch's keys
    ddm_target_entropy: Tensor | None  # scalar, nats
    batch_keys: Tensor  # B x C, all processes in rank order; of both views, 2B x C, if the loss is symmetric


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
        self.temperatures = temperatures(cfg)
        self.strong_loss = cfg.LOSS.STRONG
        self.symmetric = cfg.LOSS.SYMMETRIC
        self.bank = cfg.LOSS.BANK
        self.bn_statistics = cfg.MODEL.BN_STATISTICS
        self.amp_dtype = getattr(torch, cfg.SOLVER.PRECISION)
        self.follow = get_ema_multi_avg_fn(cfg.MODEL.KEY_MOMENTUM)

    def forward(
        self, key_view: Tensor, weak_views: Sequence[Tensor], strong_views: Sequence[Tensor], iteration: int
    ) -> Step:
        """Embed the views and compare the queries with the bank.

        Args:
            key_view: N x 3 x S x S, normalised.
            weak_views: at least one N x 3 x S x S, each of its own size. A symmetric loss takes one, of the key's size.
            strong_views: as many N x 3 x S x S as the method has, each of its own size.
            iteration: the step, which seeds the shuffling of the key network's batch.
        """
        with torch.autocast(key_view.device.type, self.amp_dtype, enabled=self.amp_dtype != torch.float32):
            batch_keys = self._embed_keys(key_view, 2 * iteration)  # B x C
            weak = [self.query(view) for view in weak_views]  # each N x C
            with self._running_statistics_kept() if self.bn_statistics == "weak_views" else contextlib.nullcontext():
                strong = [self.query(view) for view in strong_views]  # each N x C
            if self.symmetric:
                other_keys = self._embed_keys(weak_views[0], 2 * iteration + 1)  # B x C
                other_weak = self.query(key_view)  # N x C
        own = self._own_rows(len(key_view), batch_keys.device)  # N, where batch_keys has ours

        bank = self._bank(batch_keys, own)
        contrastive, of_strong, acc1_bank, target_entropy = query_losses(
            weak, strong, bank, self.temperatures, self.strong_loss
        )
        if self.symmetric:
            # The views change places, the strong queries learn from both: the mean, so that the learning rate can stay.
            bank = self._bank(other_keys, own)
            other = query_losses([other_weak], strong, bank, self.temperatures, self.strong_loss)
            contrastive = (contrastive + other.contrastive) / 2
            of_strong = (of_strong + other.strong) / 2 if strong else None
        return Step(
            contrastive=contrastive,
            strong=of_strong,
            acc1_bank=acc1_bank,
            acc1_batch=top1_percent(weak[0].detach() @ batch_keys.T, own),
            ddm_target_entropy=target_entropy,
            batch_keys=torch.cat([batch_keys, other_keys]) if self.symmetric else batch_keys,
        )

    @torch.no_grad()
    def update_key_network(self) -> None:
        """key = momentum * key + (1 - momentum) * query, for every parameter.

        Parameters only, as in MoCo: the running statistics of the key network's BN follow its own forward passes. They
        are used by nobody during training, where BN normalises by the batch.
        """
        self.follow(list(self.key.parameters()), list(self.query.parameters()), None)

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

    def _own_rows(self, batch: int, device: torch.device) -> Tensor:
        first = self.process.rank * batch
        return torch.arange(first, first + batch, device=device)  # N

    def _bank(self, batch_keys: Tensor, own: Tensor) -> Bank:
        return Bank(batch_keys[own], self.queue.keys, batch_keys if self.bank == "batch_and_queue" else None)

    @contextlib.contextmanager
    def _running_statistics_kept(self) -> Iterator[None]:
        """BN normalises by the batch, as ever, and its running mean and variance stay as they are."""
        norms = [m for m in self.query.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        yield
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def temperatures(cfg: CfgNode) -> Temperatures:
    """LOSS.TEMPERATURE, and of DDM's two distributions their own where they are not 0."""
    tau = cfg.LOSS.TEMPERATURE
    return Temperatures(tau, cfg.LOSS.DDM_TARGET_TEMPERATURE or tau, cfg.LOSS.DDM_STUDENT_TEMPERATURE or tau)
