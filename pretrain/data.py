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
from typing import NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .augment import DrawnView, View, apply, build_views
from .batch_order import BatchOrder
from .batched_augment import apply_batch, encode, side_by_side
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


class LoadedBatch(NamedTuple):
    """A batch on its way from a worker: what costs least to send.

    Attributes:
        pixels: the views' crops, uint8 N x S x S x 3, one view after the other in a single tensor, because each tensor
            takes shared memory of its own and a conversation of the two processes.
        operations: codes and magnitudes of each view, as in :class:`ViewBatch`; as arrays, which go through a pipe.
        skipped: (name, reason) of the images passed over.
    """

    pixels: Tensor
    operations: list[tuple[np.ndarray, np.ndarray]]
    skipped: list[tuple[str, str]]


class ViewDataset(Dataset):
    """Batches of views: item [(epoch, index), ...] is the :class:`LoadedBatch` of these images.

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

    def __getitem__(self, places: list[tuple[int, int]]) -> LoadedBatch | InputError:
        pixels = _room_to_send(len(places) * self._bytes_of_image)
        crops = [part.numpy() for part in self._cut(pixels)]
        drawn, skipped = [], []
        try:
            for row, (epoch, index) in enumerate(places):
                image = self._decode(index, skipped)
                drawn.append(self.draw(image.size, epoch, index))
                for number, view in enumerate(self.views):
                    crops[number][row] = self._pixels(image, view, drawn[-1][number])
        except InputError as error:
            return error
        return LoadedBatch(pixels, [self._remaining(list(of_view)) for of_view in zip(*drawn, strict=True)], skipped)

    def draw(self, image_size: tuple[int, int], epoch: int, index: int) -> list[DrawnView]:
        """What the views of image ``index``, of this width and height, are to be in this epoch."""
        return [
            view.draw(image_size, generator(Purpose.VIEW, self.seed, epoch, index, number))
            for number, view in enumerate(self.views)
        ]

    def views_of(self, batch: LoadedBatch) -> list[ViewBatch]:
        """The views, whose pixels are parts of the batch's."""
        return [
            ViewBatch(crops, torch.from_numpy(codes), torch.from_numpy(magnitudes))
            for crops, (codes, magnitudes) in zip(self._cut(batch.pixels), batch.operations, strict=True)
        ]

    def _cut(self, pixels: Tensor) -> list[Tensor]:
        """The views' parts of a batch's pixels, each N x S x S x 3."""
        count = len(pixels) // self._bytes_of_image
        parts = pixels.split([count * view.size**2 * 3 for view in self.views])
        return [part.view(count, view.size, view.size, 3) for part, view in zip(parts, self.views, strict=True)]

    @property
    def _bytes_of_image(self) -> int:
        return sum(view.size**2 * 3 for view in self.views)

    def _decode(self, index: int, skipped: list[tuple[str, str]]) -> Decoded:
        """Image ``index``, or the one that takes its place; ``skipped`` gets those passed over."""
        before = len(skipped)
        for place in range(index, index + min(SKIPS_IN_A_ROW, len(self.source))):
            place %= len(self.source)
            name = self.source.name(place)
            try:
                return self.decode(self.source.read(place), name)
            except InputError as error:
                if not self.skip_bad:
                    raise
                skipped.append((name, str(error)))
        in_a_row = skipped[before:]
        raise InputError(
            f"{len(in_a_row)} images in a row cannot be read, too many to skip. The first: {in_a_row[0][1]}"
        )

    def _pixels(self, image: Decoded, view: View, drawn: DrawnView) -> np.ndarray:
        crop = image.crop(drawn.box, view.size)
        return np.asarray(apply(Image.fromarray(crop), drawn.operations)) if self.operate else crop

    def _remaining(self, drawn: list[DrawnView]) -> tuple[np.ndarray, np.ndarray]:
        """Codes and magnitudes of what is still to be done on the N crops of a view."""
        if self.operate:
            return np.empty((len(drawn), 0), np.uint8), np.empty((len(drawn), 0))
        codes, magnitudes = encode(drawn)
        return codes.numpy(), magnitudes.numpy()


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
        batch_size=None,  # an item is a batch already
        sampler=BatchOrder(len(source), cfg.SOLVER.BATCH_SIZE, cfg.SEED, start, stop, process),
        num_workers=cfg.DATA.WORKERS,
        collate_fn=_as_it_is,
        pin_memory=process.device.type == "cuda",
        worker_init_fn=leave_signals_to_the_trainer,
        # The loader draws a number when it starts. From its own generator: a resumed run starts it once more.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        if skipped:
            skipped.note(batch.skipped)
        yield dataset.views_of(batch)


def _room_to_send(count: int) -> Tensor:
    """uint8 of any content; in a loader's worker, memory that it shares with the training process.

    Ordinary memory would be copied there when the batch is sent, a tenth of a worker's time. There is no public name
    for this; PyTorch's own ``default_collate`` does so, too.
    """
    if get_worker_info() is None:
        return torch.empty(count, dtype=torch.uint8)
    return torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(count))


def _as_it_is(batch: LoadedBatch | InputError) -> LoadedBatch | InputError:
    return batch


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
        return self.together([view])[0]

    def together(self, views: Sequence[ViewBatch]) -> list[Tensor]:
        """Each view as by itself; those of one size undergo their operations side by side, for fewer launches."""
        of_size: dict[int, list[int]] = {}
        for number, view in enumerate(views):
            of_size.setdefault(view.pixels.shape[1], []).append(number)
        images = {}
        for numbers in of_size.values():
            parts = [views[number].pixels.to(self.device, non_blocking=True) for number in numbers]
            pixels = torch.cat(parts) if len(parts) > 1 else parts[0]
            codes, magnitudes = side_by_side([(views[number].codes, views[number].magnitudes) for number in numbers])
            if codes.shape[1]:
                pixels = apply_batch(pixels, codes, magnitudes)
            joined = ((pixels - self.mean) / self.std).permute(0, 3, 1, 2)  # N x 3 x S x S, strides of NHWC
            joined = joined if self.channels_last else joined.contiguous()
            images |= zip(numbers, joined.split([len(part) for part in parts]), strict=True)
        return [images[number] for number in range(len(views))]
