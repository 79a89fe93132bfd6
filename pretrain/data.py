"""From the images of a source to batches of views.

Shapes:
    N: images of this process in one step
    S: side of a view, in pixels
    R: operations of a view

Each image is decoded once; only the views that the method uses are made, and they travel as uint8. A worker crops. The
operations after that are done by the worker with Pillow, or by the training process on its device for the whole batch
at once (DATA.AUGMENT_ON), with the same pixels. Order and views depend on (seed, epoch, index) alone, so training can
stop at any step and go on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .augment import DrawnView, View, apply, build_views
from .batched_augment import apply_batch, encode
from .decoding import Decoded, decoder
from .interruption import leave_signals_to_the_trainer
from .seeding import Purpose, generator
from .skipped_images import SkippedImages
from .sources import Source

# ImageNet's channel statistics, which torchvision's and detectron2's configs for these weights assume.
PIXEL_MEAN = (123.675, 116.280, 103.530)
PIXEL_STD = (58.395, 57.120, 57.375)

#: With DATA.SKIP_BAD: so many unreadable images one after the other are no accident.
SKIPS_IN_A_ROW = 100


class ViewBatch(NamedTuple):
    """One view of each image: uint8 N x S x S x 3, and the operations that are still to be done on it.

    ``codes`` (uint8) and ``magnitudes`` (float64), N x R each, are those of ``batched_augment``; R is 0 where the
    workers have done them.
    """

    pixels: Tensor
    codes: Tensor
    magnitudes: Tensor


class Sample(NamedTuple):
    """The views of one image, as pixels and what they were drawn to be; (name, reason) of those skipped for it."""

    views: list[tuple[np.ndarray, DrawnView]]
    skipped: list[tuple[str, str]]


class ViewDataset(Dataset):
    """The views of an image: item (epoch, index) is a :class:`Sample`.

    An image that cannot be read is returned as its :class:`InputError`, because an exception that leaves a loader's
    worker loses its one-sentence message to a traceback; :func:`batches` raises it in the training process. With
    ``skip_bad`` the next image that can be read takes its place: the one after it in the source (after the last, the
    first), with the random choices of the place that it fills.
    """

    def __init__(
        self,
        source: Source,
        views: Sequence[View],
        seed: int,
        decode: Callable[[bytes, str], Decoded],
        operate: bool = True,
        skip_bad: bool = False,
    ) -> None:
        self.source, self.views, self.seed = source, views, seed
        self.decode, self.operate, self.skip_bad = decode, operate, skip_bad

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Sample | InputError:
        epoch, index = epoch_and_index
        skipped = []
        for place in range(index, index + min(SKIPS_IN_A_ROW, len(self.source))):
            place %= len(self.source)
            name = self.source.name(place)
            try:
                image = self.decode(self.source.read(place), name)
            except InputError as error:
                if not self.skip_bad:
                    return error
                skipped.append((name, str(error)))
            else:
                return Sample([self._view(image, epoch, index, number) for number in range(len(self.views))], skipped)
        return InputError(
            f"{len(skipped)} images in a row cannot be read, too many to skip. The first: {skipped[0][1]}"
        )

    def _view(self, image: Decoded, epoch: int, index: int, number: int) -> tuple[np.ndarray, DrawnView]:
        view = self.views[number]
        drawn = view.draw(image.size, generator(Purpose.VIEW, self.seed, epoch, index, number))
        pixels = image.crop(drawn.box, view.size)
        if self.operate:
            pixels = np.array(apply(Image.fromarray(pixels), drawn.operations))
        return pixels, drawn


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


def batches(
    cfg: CfgNode, source: Source, process: Process, start: int, stop: int, skipped: SkippedImages | None = None
) -> Iterator[list[ViewBatch]]:
    """Steps ``start + 1`` to ``stop``, each as a list of views; ``skipped`` is told of images passed over.

    Raises:
        InputError: an image cannot be read; the message names it. A package for DATA.DECODER is missing.
    """
    operate = not augments_on_device(cfg, process.device)
    dataset = ViewDataset(source, build_views(cfg), cfg.SEED, decoder(cfg.DATA.DECODER), operate, cfg.DATA.SKIP_BAD)
    loader = DataLoader(
        dataset,
        batch_sampler=BatchOrder(len(source), cfg.SOLVER.BATCH_SIZE, cfg.SEED, start, stop, process),
        num_workers=cfg.DATA.WORKERS,
        collate_fn=_leave_to_device if not operate else _finished,
        pin_memory=process.device.type == "cuda",
        worker_init_fn=leave_signals_to_the_trainer,
        # The loader draws a number when it starts. From its own generator: a resumed run starts it once more.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        views, passed_over = batch
        if skipped:
            skipped.note(passed_over)
        yield views


def augments_on_device(cfg: CfgNode, device: torch.device) -> bool:
    """Whether the training process does the operations of the views, as DATA.AUGMENT_ON says."""
    return cfg.DATA.AUGMENT_ON == "device" or (cfg.DATA.AUGMENT_ON == "auto" and device.type == "cuda")


class Normalise:
    """A view to float32 N x 3 x S x S on ``device``, zero mean and unit variance by ImageNet's statistics.

    Operations that the workers have left are done first. The pixels lie as NHWC already, so that ``channels_last``
    costs no copy.
    """

    def __init__(self, device: torch.device, channels_last: bool) -> None:
        self.device, self.channels_last = device, channels_last
        self.mean = torch.tensor(PIXEL_MEAN, device=device)
        self.std = torch.tensor(PIXEL_STD, device=device)

    def __call__(self, view: ViewBatch) -> Tensor:
        pixels = view.pixels.to(self.device, non_blocking=True)
        if view.codes.shape[1]:
            pixels = apply_batch(pixels, view.codes, view.magnitudes)
        images = ((pixels - self.mean) / self.std).permute(0, 3, 1, 2)  # N x 3 x S x S, strides of NHWC
        return images if self.channels_last else images.contiguous()


def _leave_to_device(samples: list[Sample | InputError]) -> tuple[list[ViewBatch], list] | InputError:
    return _collate(samples, encode)


def _finished(samples: list[Sample | InputError]) -> tuple[list[ViewBatch], list] | InputError:
    return _collate(samples, lambda drawn: (torch.empty(len(drawn), 0, dtype=torch.uint8), torch.empty(len(drawn), 0)))


def _collate(
    samples: list[Sample | InputError], remaining: Callable[[list[DrawnView]], tuple[Tensor, Tensor]]
) -> tuple[list[ViewBatch], list[tuple[str, str]]] | InputError:
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
    views = []
    for view in zip(*(sample.views for sample in samples), strict=True):
        pixels, drawn = zip(*view, strict=True)
        views.append(ViewBatch(torch.from_numpy(np.stack(pixels)), *remaining(list(drawn))))
    return views, [skip for sample in samples for skip in sample.skipped]
