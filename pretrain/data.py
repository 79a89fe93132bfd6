"""From a folder of images to batches of uint8 views.

Shapes:
    N: images of this process in one step
    S: side of a view, in pixels

Each image is decoded once; only the views that the method uses are made; they travel as uint8 and are normalised on
the device (``Normalise``). Order and views depend on (seed, epoch, index) alone, so training can stop at any step and
go on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from fvcore.common.config import CfgNode
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clsa.configs.command import InputError
from clsa.datasets.images import open_rgb

from .augment import View, build_views
from .distributed import Process
from .seeding import Purpose, generator

# ImageNet's channel statistics, which torchvision's and detectron2's configs for these weights assume.
PIXEL_MEAN = (123.675, 116.280, 103.530)
PIXEL_STD = (58.395, 57.120, 57.375)


def find_images(folder: str) -> list[str]:
    """Paths of all images in ``folder/<class>/``, sorted: the index of an image is its place in this list.

    Raises:
        InputError: no such folder, no class folders, a class folder without an image.
    """
    if not folder or not Path(folder).is_dir():
        raise InputError(
            f"data folder {folder!r} does not exist. Set DATA.TRAIN to a folder that holds one folder of images for "
            "each class, such as imagenet/train. `clsa-data mini` renders a small one."
        )
    try:
        return [path for path, _ in torchvision.datasets.ImageFolder(folder).samples]
    except FileNotFoundError as error:
        raise InputError(
            f"data folder {folder!r} is not laid out as <class>/<image>: {' '.join(str(error).split())}"
        ) from error


class ViewDataset(Dataset):
    """The views of an image: item (epoch, index) is a list of uint8 tensors S x S x 3, one for each view.

    An image that cannot be read is returned as its :class:`InputError`, because an exception that leaves a loader's
    worker loses its one-sentence message to a traceback; :func:`batches` raises it in the training process.
    """

    def __init__(self, paths: Sequence[str], views: Sequence[View], seed: int) -> None:
        self.paths, self.views, self.seed = paths, views, seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> list[Tensor] | InputError:
        epoch, index = epoch_and_index
        try:
            image = open_rgb(self.paths[index])
        except InputError as error:
            return error
        views = []
        for number, view in enumerate(self.views):
            rng = generator(Purpose.VIEW, self.seed, epoch, index, number)
            views.append(torch.from_numpy(np.array(view(image, rng))))
        return views


@dataclass(frozen=True)
class BatchOrder:
    """For steps ``start + 1`` to ``stop``, the (epoch, index) pairs of one process: a ``batch_sampler``.

    Each epoch is a new permutation of the images; those that do not fill a batch are dropped. Process r takes the r-th
    part of each batch, so that the keys gathered in rank order are in the order of a single process.
    """

    images: int
    batch_size: int
    seed: int
    start: int
    stop: int
    process: Process

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.batch_size

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.process.world_size
        permutation, of_epoch = None, -1
        for iteration in range(self.start, self.stop):
            epoch, step = divmod(iteration, self.steps_per_epoch)
            if epoch != of_epoch:
                permutation, of_epoch = generator(Purpose.ORDER, self.seed, epoch).permutation(self.images), epoch
            first = step * self.batch_size + self.process.rank * share
            yield [(epoch, int(index)) for index in permutation[first : first + share]]


def batches(cfg: CfgNode, paths: Sequence[str], process: Process, start: int, stop: int) -> Iterator[list[Tensor]]:
    """Steps ``start + 1`` to ``stop``: for each a list of views, uint8 N x S x S x 3.

    Raises:
        InputError: an image cannot be read; the message names it.
    """
    loader = DataLoader(
        ViewDataset(paths, build_views(cfg), cfg.SEED),
        batch_sampler=BatchOrder(len(paths), cfg.SOLVER.BATCH_SIZE, cfg.SEED, start, stop, process),
        num_workers=cfg.DATA.WORKERS,
        collate_fn=_stack_views,
        pin_memory=process.device.type == "cuda",
        # The loader draws a number when it starts. From its own generator: a resumed run starts it once more.
        generator=torch.Generator(),
    )
    for views in loader:
        if isinstance(views, InputError):
            raise views
        yield views


class Normalise:
    """uint8 N x S x S x 3 to float32 N x 3 x S x S on ``device``, zero mean and unit variance by ImageNet's statistics.

    The pixels lie as NHWC already, so that ``channels_last`` costs no copy.
    """

    def __init__(self, device: torch.device, channels_last: bool) -> None:
        self.device, self.channels_last = device, channels_last
        self.mean = torch.tensor(PIXEL_MEAN, device=device)
        self.std = torch.tensor(PIXEL_STD, device=device)

    def __call__(self, view: Tensor) -> Tensor:
        pixels = (view.to(self.device, non_blocking=True) - self.mean) / self.std  # N x S x S x 3
        images = pixels.permute(0, 3, 1, 2)  # N x 3 x S x S, strides of NHWC
        return images if self.channels_last else images.contiguous()


def _stack_views(samples: list[list[Tensor] | InputError]) -> list[Tensor] | InputError:
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
    return [torch.stack(view) for view in zip(*samples, strict=True)]
