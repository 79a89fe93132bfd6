"""What the backbone knows of held-out images while it trains: accuracy of their nearest neighbours' vote.

Shapes:
    n: images
    D: width of the backbone's pooled feature
    S: side of the central crop, in pixels

No classifier is trained and nothing of the training is touched: no random number is drawn, BN normalises by its running
statistics and leaves them alone. The figure is for watching a run, not for comparing papers: it depends on the keys of
MONITOR.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torchvision
from fvcore.common.config import CfgNode
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from clsa.configs.command import InputError
from clsa.datasets.images import open_rgb

from .data import ViewBatch

#: Of the similarities in the vote, as in "Unsupervised Feature Learning via Non-Parametric Instance Discrimination".
TEMPERATURE = 0.07
BATCH = 64


class KnnMonitor:
    """MONITOR.DATA's images, decoded once and kept as uint8.

    Raises:
        InputError: no folder of <class>/<image> files, or too few images.
    """

    def __init__(self, cfg: CfgNode) -> None:
        monitor = cfg.MONITOR
        chosen = choose(_samples(monitor.DATA), monitor.CLASSES, monitor.IMAGES_PER_CLASS)
        self.neighbours = monitor.NEIGHBOURS
        if len(chosen) <= self.neighbours or len({label for _, label in chosen}) < 2:
            raise InputError(
                f"MONITOR.DATA {monitor.DATA} gives {len(chosen)} images, the monitor needs two classes and more "
                f"images than MONITOR.NEIGHBOURS, {self.neighbours}. Add images, or lower MONITOR.NEIGHBOURS."
            )
        size = monitor.SIZE or cfg.WEAK.SIZE
        self.labels = torch.tensor([label for _, label in chosen])  # n
        self.images = torch.stack([central_crop(open_rgb(path), size) for path, _ in chosen])  # n x S x S x 3

    @torch.no_grad()
    def top1(self, backbone: nn.Module, normalise: Callable[[ViewBatch], Tensor]) -> float:
        """Percentage of the images whose class wins the vote of their nearest neighbours among all the others.

        ``backbone`` is put into evaluation mode for it, and every part of it back into the mode that it was in.
        """
        modes = {module: module.training for module in backbone.modules()}
        backbone.eval()
        features = torch.cat([backbone(normalise(finished(batch))) for batch in self.images.split(BATCH)])  # n x D
        for module, training in modes.items():
            module.training = training
        return leave_one_out_top1(features.float().cpu(), self.labels, self.neighbours)


def leave_one_out_top1(features: Tensor, labels: Tensor, neighbours: int) -> float:
    """Percentage of n x D ``features`` whose label (n, int64) wins among their ``neighbours`` nearest others.

    Nearest by cosine; each votes with weight ``exp(cosine / 0.07)``.
    """
    unit = F.normalize(features, dim=1)
    cosine = unit @ unit.T  # n x n
    cosine.fill_diagonal_(-torch.inf)  # nobody is a neighbour of itself
    nearest, who = cosine.topk(neighbours, dim=1)  # n x neighbours
    votes = torch.zeros(len(labels), int(labels.max()) + 1)
    votes.scatter_add_(1, labels[who], (nearest / TEMPERATURE).exp())  # n x classes
    return 100.0 * (votes.argmax(dim=1) == labels).double().mean().item()


def choose(samples: Sequence[tuple[str, int]], classes: int, images_per_class: int) -> list[tuple[str, int]]:
    """Of (path, class) samples at most so many classes, and of each at most so many images; both evenly spaced."""
    of_class: dict[int, list[str]] = {}
    for path, label in samples:
        of_class.setdefault(label, []).append(path)
    labels = _evenly(sorted(of_class), classes)
    return [(path, label) for label in labels for path in _evenly(of_class[label], images_per_class)]


def central_crop(image: Image.Image, size: int) -> Tensor:
    """uint8 ``size`` x ``size`` x 3: the shorter side resized to 256/224 of ``size``, then the centre."""
    scale = size * 256 / 224 / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized.crop((left, top, left + size, top + size))))


def finished(pixels: Tensor) -> ViewBatch:
    """Crops, uint8 n x S x S x 3, as a view with nothing left to do."""
    return ViewBatch(pixels, torch.empty(len(pixels), 0, dtype=torch.uint8), torch.empty(len(pixels), 0))


def _samples(folder: str) -> list[tuple[str, int]]:
    if not os.path.isdir(folder):
        raise InputError(f"MONITOR.DATA {folder!r} does not exist. Name a folder of <class>/<image> files.")
    try:
        return torchvision.datasets.ImageFolder(folder).samples
    except FileNotFoundError as error:
        raise InputError(f"MONITOR.DATA {folder!r} is not laid out as <class>/<image>: {error}") from error


def _evenly(items: list, count: int) -> list:
    """At most ``count`` of the ``items``, evenly spaced."""
    if len(items) <= count:
        return items
    return [items[place * len(items) // count] for place in range(count)]
