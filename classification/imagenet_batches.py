"""Where the linear layer's batches come from: views of the images through the frozen network, or rows of a cache.

    N images of a batch (this process's share), D features

Both give ``train(epoch)`` and ``val()``: iterators of features (N, D) float32 and targets (N,) on the device; ``steps``
is how many batches an epoch has.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .image_folder import ClassifiedImages
from .seeded_views import EpochBatches, SeededViews, in_order
from .transforms import IMAGENET_MEAN, IMAGENET_STD

Batches = Iterator[tuple[Tensor, Tensor]]

#: IMAGENET.AMP by name; auto is decided on the device.
PRECISIONS = {"off": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class AugmentedViews:
    """Another random crop of every image in every epoch, as torchvision and MoCo train a linear layer.

    Mixed precision is the frozen network's alone: the layer computes in float32, so that nothing needs loss scaling.

    Args:
        network: in eval mode, on the process's device.
        cfg: the ``IMAGENET`` node.
    """

    def __init__(
        self,
        network: nn.Module,
        train: ClassifiedImages,
        val: ClassifiedImages,
        cfg: CfgNode,
        seed: int,
        process: Process,
        workers: int,
    ) -> None:
        self.network, self.cfg, self.seed, self.process, self.workers = network, cfg, seed, process, workers
        self.precision = choose_precision(cfg.AMP, process.device)
        self.train_views = SeededViews(train.paths, train_transform(cfg), seed)
        self.val_views = SeededViews(val.paths, val_transform(cfg), seed)
        self.train_targets, self.val_targets = (torch.as_tensor(split.targets) for split in (train, val))
        self.steps = len(train.paths) // cfg.BATCH_SIZE

    def train(self, epoch: int) -> Batches:
        images = len(self.train_views.paths)
        keys = EpochBatches(images, self.cfg.BATCH_SIZE, self.seed, epoch, self.process.rank, self.process.world_size)
        return self._features(self.train_views, keys, self.train_targets)

    def val(self) -> Batches:
        share = self.cfg.BATCH_SIZE // self.process.world_size
        keys = in_order(len(self.val_views.paths), share, self.process.rank, self.process.world_size)
        return self._features(self.val_views, keys, self.val_targets)

    @torch.no_grad()
    def _features(self, views: SeededViews, keys, targets: Tensor) -> Batches:
        device = self.process.device
        on_gpu = device.type == "cuda"
        loader = DataLoader(views, batch_sampler=keys, num_workers=self.workers, pin_memory=on_gpu)
        for images, index in loader:
            images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
            with torch.autocast(images.device.type, self.precision) if self.precision else contextlib.nullcontext():
                features = self.network(images)
            yield features.float(), targets[index].to(device, non_blocking=True)


class CachedRows:
    """The features of one centre crop of each image, the same in every epoch; a single process.

    Args:
        train_features, val_features: (N, D), float16 or float32; may be memory-mapped.
    """

    def __init__(
        self,
        train_features: np.ndarray,
        train_targets: np.ndarray,
        val_features: np.ndarray,
        val_targets: np.ndarray,
        batch_size: int,
        seed: int,
        device: str,
    ) -> None:
        self.features = {"train": train_features, "val": val_features}
        self.targets = {"train": train_targets, "val": val_targets}
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.precision = None
        self.steps = len(train_features) // batch_size

    def train(self, epoch: int) -> Batches:
        keys = EpochBatches(len(self.features["train"]), self.batch_size, self.seed, epoch)
        return self._rows("train", keys)

    def val(self) -> Batches:
        return self._rows("val", in_order(len(self.features["val"]), self.batch_size))

    def _rows(self, split: str, keys) -> Batches:
        for batch in keys:
            rows = np.array([index for _, index in batch])
            features = torch.as_tensor(np.asarray(self.features[split][rows], dtype=np.float32))
            yield features.to(self.device), torch.as_tensor(self.targets[split][rows], device=self.device)


def train_transform(cfg: CfgNode) -> transforms.Compose:
    """PIL image -> (3, SIZE, SIZE): random resized crop, random mirror image."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(cfg.SIZE, scale=tuple(cfg.CROP_SCALE)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def val_transform(cfg: CfgNode) -> transforms.Compose:
    """PIL image -> (3, SIZE, SIZE): shorter side to RESIZE, centre crop."""
    return transforms.Compose(
        [
            transforms.Resize(cfg.RESIZE),
            transforms.CenterCrop(cfg.SIZE),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype | None:
    """``auto``: bfloat16 on a GPU that has it, float16 on another, float32 (None) on a CPU."""
    if name == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name not in PRECISIONS:
        raise InputError(f"IMAGENET.AMP {name!r} is unknown. Give auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]
