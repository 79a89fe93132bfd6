"""The two sides of ``step.py``: each takes what a loader hands over, in the CPU's memory, and makes a training step.

Shapes:
    N: images of a step
    S: side of a view, in pixels
    C: embedding dimension
    K: keys in the queue
"""

from collections.abc import Iterator

import torch
from fvcore.common.config import CfgNode
from literal_loader import USED, LiteralDataset
from literal_losses import literal_losses
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler

from clsa.configs.processes import Process
from clsa.pretrain.config import weak_query_sizes_and_scales
from clsa.pretrain.data import Normalise, ViewBatch, batches
from clsa.pretrain.sources import ImageFiles
from clsa.pretrain.step import train_step
from clsa.pretrain.training_state import TrainingState

TAU = 0.2


class LiteralSide:
    """As the paper's public code works: see ``step.py``.

    Attributes:
        queue: C x K, as it lies there.
        pointer: int64, 1; where the next keys go.
    """

    def __init__(self, cfg: CfgNode, device: torch.device, scale: float) -> None:
        self.cfg, self.device, self.scale = cfg, device, scale
        self.state = TrainingState(cfg, Process(0, 1, device))
        self.state.method.train()
        self.queue = self.state.method.queue.keys.T.contiguous()
        self.pointer = torch.zeros(1, dtype=torch.long, device=device)

    def loader(self, paths: list[str], steps: int) -> Iterator[list[Tensor]]:
        """The views that training uses, for so many steps; an image may come again."""
        dataset, batch = LiteralDataset(paths, self.cfg.METHOD, self.scale), self.cfg.SOLVER.BATCH_SIZE
        sampler = RandomSampler(dataset, num_samples=steps * batch)
        pin, workers = self.device.type == "cuda", self.cfg.DATA.WORKERS
        for views in DataLoader(dataset, batch, sampler=sampler, num_workers=workers, pin_memory=pin, drop_last=True):
            yield [views[number] for number in USED[self.cfg.METHOD]]

    def step(self, views: list[Tensor], _: int = 1) -> float:
        """Of the key's view, the weak queries' and the strong ones, float32 N x 3 x S x S, normalised: the loss."""
        views = [view.to(self.device, non_blocking=True) for view in views]
        method, optimizer, weak_count = self.state.method, self.state.optimizer, self._weak_count()
        key_view, weak_views, strong_views = views[0], views[1 : 1 + weak_count], views[1 + weak_count :]
        weak = [F.normalize(method.query(view), dim=1) for view in weak_views]
        strong = [F.normalize(method.query(view), dim=1) for view in strong_views]
        with torch.no_grad():
            for followed, kept in zip(method.query.parameters(), method.key.parameters(), strict=True):
                kept.data = kept.data * 0.999 + followed.data * (1.0 - 0.999)
            keys = F.normalize(method.key(key_view), dim=1)
        contrastive, ddm, _ = literal_losses(weak, strong, keys, self.queue, TAU)
        loss = contrastive + ddm
        value = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = int(self.pointer)
        self.queue[:, first : first + len(keys)] = keys.T
        self.pointer[0] = (first + len(keys)) % self.queue.shape[1]
        return value

    def _weak_count(self) -> int:
        return len(weak_query_sizes_and_scales(self.cfg))


class OurSide:
    """The training loop's step, from the uint8 crops on, with what is still to be done on them."""

    def __init__(self, cfg: CfgNode, device: torch.device) -> None:
        self.cfg, self.device = cfg, device
        self.state = TrainingState(cfg, Process(0, 1, device))
        self.state.method.train()
        self.normalise = Normalise(device, cfg.MODEL.CHANNELS_LAST)

    def loader(self, paths: list[str], steps: int) -> Iterator[list[ViewBatch]]:
        """The views, for so many steps; an image may come again."""
        source = ImageFiles(paths * -(-self.cfg.SOLVER.BATCH_SIZE // len(paths)))
        return batches(self.cfg, source, Process(0, 1, self.device), 0, steps)

    def step(self, views: list[ViewBatch], iteration: int = 1) -> Tensor:
        """The loss, on the device."""
        return train_step(self.state.method, self.state, self.normalise.together(views), iteration, beta=1.0)[1]
