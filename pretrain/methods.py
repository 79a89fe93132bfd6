"""CLSA and MoCo v2, Algorithm 1 of "Contrastive Learning with Stronger Augmentations".

Shapes:
    N: images of this process
    B: images of all processes
    S: side of a view, in pixels
    M: images of one micro-batch, N / SOLVER.ACCUMULATE
    C: embedding dimension
    K: keys in the queue
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .bank import Bank
from .key_queue import KeyQueue
from .losses import Temperatures, query_losses, top1_percent
from .networks import Encoder
from .seeding import Purpose, generator
from .to_device import to_device


@dataclass
class Step:
    """What the forward pass of a micro-batch gives: the loss parts (with gradient), and what is logged."""

    contrastive: Tensor  # scalar, L_C of eq. 1, summed over the weak queries
    strong: Tensor | None  # scalar, L_D of eq. 4 summed over all pairs (or what LOSS.STRONG says); None for MoCo v2
    acc1_bank: Tensor  # scalar percent: the positive among positive + queue, for the first weak query
    acc1_batch: Tensor  # scalar percent: the positive among the batch's keys
    ddm_target_entropy: Tensor | None  # scalar, nats


class MomentumContrast(nn.Module):
    """Query network, its slowly following copy (the key network), and a queue of the copy's past keys.

    With strong views it is CLSA (``clsa_single``: one, ``clsa_multi``: several, one weak query for all); without it is
    MoCo v2. The training loop calls, in the order of Algorithm 1, :meth:`embed_keys`, ``forward`` for each micro-batch,
    the optimizer, :meth:`update_key_network`, :meth:`enqueue`.

    The keys of the whole batch come first, so that a query of a micro-batch meets the same bank as it would in one
    large batch. Where BN normalises by the batch, micro-batch ``j`` of process ``r`` is to it what process
    ``r * SOLVER.ACCUMULATE + j`` is in a run of as many processes as there are micro-batches: losses are the same.
    """

    def __init__(self, cfg: CfgNode, process: Process) -> None:
        super().__init__()
        self.query = Encoder(cfg)
        self.norm = cfg.MODEL.NORM
        if self.norm == "SyncBN" and process.world_size > 1:
            _require_gpu(process)
            self.query = nn.SyncBatchNorm.convert_sync_batchnorm(self.query)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        if cfg.SOLVER.COMPILE:
            # For each size of view its own code: by itself PyTorch would, from the second size on, make one for all.
            self.query.compile(dynamic=False)
            self.key.compile(dynamic=False)
        self.queue = KeyQueue(cfg.LOSS.QUEUE_LENGTH, cfg.MODEL.HEAD_OUTPUT)
        self.process = process
        self.seed = cfg.SEED
        self.micro_batches = cfg.SOLVER.ACCUMULATE
        self.temperatures = temperatures(cfg)
        self.strong_loss = cfg.LOSS.STRONG
        self.symmetric = cfg.LOSS.SYMMETRIC
        self.bank = cfg.LOSS.BANK
        self.bn_statistics = cfg.MODEL.BN_STATISTICS
        self.amp_dtype = getattr(torch, cfg.SOLVER.PRECISION)
        self.follow = get_ema_multi_avg_fn(cfg.MODEL.KEY_MOMENTUM)

    def train(self, mode: bool = True) -> "MomentumContrast":
        """As ever; with MODEL.NORM FrozenBN every BN goes on normalising by its running statistics."""
        super().train(mode)
        if self.norm == "FrozenBN":
            for norm in _norms(self):
                norm.eval()
        return self

    @torch.no_grad()
    def embed_keys(self, key_view: Tensor, weak_view: Tensor, iteration: int) -> list[Tensor]:
        """The keys that this step's queries meet, of all processes in rank order: one tensor B x C.

        With a symmetric loss two, the second of ``weak_view``, for the queries of ``key_view``.

        Args:
            key_view: N x 3 x S x S, normalised.
            weak_view: the first weak query's view.
            iteration: the step, which seeds the shuffling of the key network's batch.
        """
        views = [key_view, weak_view] if self.symmetric else [key_view]
        with self._autocast(key_view):
            return [self._embed(view, 2 * iteration + number) for number, view in enumerate(views)]

    def forward(
        self,
        key_view: Tensor,
        weak_views: Sequence[Tensor],
        strong_views: Sequence[Tensor],
        keys: Sequence[Tensor],
        first: int = 0,
    ) -> Step:
        """Embed the queries of a micro-batch and compare them with the bank.

        Args:
            key_view: M x 3 x S x S, normalised. A symmetric loss makes a query of it, too.
            weak_views: at least one M x 3 x S x S, each of its own size. A symmetric loss takes one, of the key's size.
            strong_views: as many M x 3 x S x S as the method has, each of its own size.
            keys: what :meth:`embed_keys` gave for the whole batch.
            first: place of the micro-batch's first image among the N of this process.
        """
        with self._autocast(key_view):
            weak = [self.query(view) for view in weak_views]  # each M x C
            with self._running_statistics_kept() if self.bn_statistics == "weak_views" else contextlib.nullcontext():
                strong = [self.query(view) for view in strong_views]  # each M x C
            if self.symmetric:
                other_weak = self.query(key_view)  # M x C
        batch_keys = keys[0]  # B x C
        own = self._own_rows(first, len(key_view), batch_keys)  # M, where batch_keys has ours

        bank = self._bank(batch_keys, own)
        contrastive, of_strong, acc1_bank, target_entropy = query_losses(
            weak, strong, bank, self.temperatures, self.strong_loss
        )
        if self.symmetric:
            # The views change places, the strong queries learn from both: the mean, so that the learning rate can stay.
            bank = self._bank(keys[1], own)
            other = query_losses([other_weak], strong, bank, self.temperatures, self.strong_loss)
            contrastive = (contrastive + other.contrastive) / 2
            of_strong = (of_strong + other.strong) / 2 if strong else None
        return Step(
            contrastive=contrastive,
            strong=of_strong,
            acc1_bank=acc1_bank,
            acc1_batch=top1_percent(weak[0].detach() @ batch_keys.T, own),
            ddm_target_entropy=target_entropy,
        )

    @torch.no_grad()
    def update_key_network(self) -> None:
        """key = momentum * key + (1 - momentum) * query, for every parameter.

        Parameters only, as in MoCo: the running statistics of the key network's BN follow its own forward passes. They
        are used by nobody during training, where BN normalises by the batch.
        """
        self.follow(list(self.key.parameters()), list(self.query.parameters()), None)

    def enqueue(self, keys: Sequence[Tensor]) -> None:
        """The keys of this step (:meth:`embed_keys`) replace the oldest of the queue."""
        for batch_keys in keys:
            self.queue.enqueue(batch_keys)

    def _embed(self, view: Tensor, seed: int) -> Tensor:
        """N x 3 x S x S to the keys of all processes, B x C in rank order.

        Each micro-batch embeds a random share of all images ("shuffling BN", MoCo section 3.3): otherwise BN's
        statistics, taken over the same images for query and key, tell the query which key is its own. With one process
        and one micro-batch there is nothing to shuffle.
        """
        shares = self.process.world_size * self.micro_batches
        if shares == 1:
            return self.key(view)
        images = self.process.concatenated(view)  # B x 3 x S x S
        order = generator(Purpose.SHUFFLE, self.seed, seed).permutation(len(images))  # B, the same everywhere
        order = to_device(order, images.device)
        mine = order.view(self.process.world_size, self.micro_batches, -1)[self.process.rank]  # shares x M
        embedded = [self.key(images[share]) for share in mine]  # each M x C
        shuffled = self.process.concatenated(torch.cat(embedded))  # B x C
        place = torch.empty_like(order)  # of each image among the shuffled: the inverse of order
        place[order] = torch.arange(len(order), device=order.device)
        return shuffled[place]

    def _own_rows(self, first: int, count: int, batch_keys: Tensor) -> Tensor:
        first += self.process.rank * (len(batch_keys) // self.process.world_size)
        return torch.arange(first, first + count, device=batch_keys.device)  # M

    def _autocast(self, view: Tensor) -> contextlib.AbstractContextManager:
        if self.amp_dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(view.device.type, self.amp_dtype)

    def _bank(self, batch_keys: Tensor, own: Tensor) -> Bank:
        return Bank(batch_keys[own], self.queue.keys, batch_keys if self.bank == "batch_and_queue" else None)

    @contextlib.contextmanager
    def _running_statistics_kept(self) -> Iterator[None]:
        """BN normalises by the batch, as ever, and its running mean and variance stay as they are."""
        norms = _norms(self.query)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        yield
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def mean_step(steps: Sequence[Step]) -> Step:
    """Of the micro-batches of one step: every part's mean, without gradient."""

    def mean(values: list[Tensor | None]) -> Tensor | None:
        return None if values[0] is None else torch.stack(values).detach().mean(dim=0)

    return Step(**{field.name: mean([getattr(step, field.name) for step in steps]) for field in fields(Step)})


def temperatures(cfg: CfgNode) -> Temperatures:
    """LOSS.TEMPERATURE, and of DDM's two distributions their own where they are not 0."""
    tau = cfg.LOSS.TEMPERATURE
    return Temperatures(tau, cfg.LOSS.DDM_TARGET_TEMPERATURE or tau, cfg.LOSS.DDM_STUDENT_TEMPERATURE or tau)


def _norms(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _require_gpu(process: Process) -> None:
    if process.device.type != "cuda":
        raise InputError(
            "MODEL.NORM SyncBN normalises over several processes on GPUs only, these compute on the CPU. "
            "Take MODEL.NORM BN or FrozenBN."
        )
