"""Augmented views whose randomness depends on the seed, the epoch and the image, and on nothing else.

A view is the same whichever process draws it, with any number of workers, before or after a resumed run.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from clsa.datasets.images import open_rgb

_ORDER, _VIEW = 1, 2  # keep the two streams of random numbers apart


class SeededViews(Dataset):
    """Item (epoch, i): ``transform`` of image i, seeded by both, and i itself.

    Args:
        transform: PIL image -> tensor; may draw from PyTorch's generator and from Python's, as torchvision's do.
    """

    def __init__(
        self, paths: Sequence[str | Path], transform: Callable[[Image.Image], torch.Tensor], seed: int
    ) -> None:
        self.paths = paths
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, index = key
        image = open_rgb(self.paths[index])
        with seeded(_VIEW, self.seed, epoch, index):
            return self.transform(image), index


class EpochBatches:
    """A process's share of every batch of one epoch, as keys of :class:`SeededViews`.

    One order of all images for (seed, epoch), cut into batches of ``batch_size`` over all ``world_size`` processes; the
    rank takes its contiguous part of each. So that the batches, and the sum of the parts' gradients, are the same for
    any number of processes.

    Args:
        batch_size: of all processes together; a multiple of ``world_size``.
        drop_last: leave out the last batch if it is smaller. The images left out are others in every epoch.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1, drop_last=True
    ) -> None:
        order = np.random.default_rng((_ORDER, seed, epoch)).permutation(images)
        whole = images - images % batch_size if drop_last else images
        batches = (order[start : start + batch_size] for start in range(0, whole, batch_size))
        self.batches = [[(epoch, int(index)) for index in np.array_split(batch, world_size)[rank]] for batch in batches]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def in_order(images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> list[list[tuple[int, int]]]:
    """Batches of keys of a process's contiguous share of all images, as epoch 0; for transforms without chance."""
    share = [(0, int(index)) for index in np.array_split(np.arange(images), world_size)[rank]]
    return [share[start : start + batch_size] for start in range(0, len(share), batch_size)]


@contextlib.contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """PyTorch's CPU generator and Python's start from ``numbers`` within the block, and are as before after it."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    torch.manual_seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
