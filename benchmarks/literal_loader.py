"""The views of an image as the paper's public code makes them, for comparison; a plain reading of its way of working.

torchvision's transforms on the whole image for each view; weak operations before the strong ones; float32, normalised
in the worker. CLSA-Single gets five views (key 224, weak 224 and 96, strong 224 and 96), of which training uses three;
CLSA-Multi eleven (key, five weak, five strong).
"""

import random

import numpy as np
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from clsa.pretrain.data import PIXEL_MEAN, PIXEL_STD
from clsa.pretrain.strong_augment import POOLS

FINISH = transforms.Compose(
    [
        transforms.ToTensor(),
        transforms.Normalize([mean / 255 for mean in PIXEL_MEAN], [std / 255 for std in PIXEL_STD]),
    ]
)
#: Sizes and areas of the weak and of the strong crops.
CROPS = {
    "clsa_single": [(224, (0.2, 1.0)), (96, (0.086, 0.429))],
    "clsa_multi": [
        *((224, (0.2, 1.0)), (192, (0.172, 0.86)), (160, (0.143, 0.715))),
        *((128, (0.114, 0.571)), (96, (0.086, 0.429))),
    ],
}
#: Of an image's views those that training uses: the key's, the weak queries', the strong ones.
USED = {"clsa_single": [0, 1, 4], "clsa_multi": list(range(11))}


class PillowBlur:
    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class TenthsOfFourteen:
    """Five rounds of one of 14 operations with probability 0.5, magnitudes in tenths."""

    def __call__(self, image: Image.Image) -> Image.Image:
        for operation in random.choices(POOLS["identity"], k=5):
            if random.random() < 0.5:
                image = operation.apply(image, operation.draw(self.chance, "tenths"))
        return image

    chance = np.random.default_rng(0)


def scaled(size: int, scale: float) -> int:
    """A view's side for a smaller benchmark; 32 pixels at least, where a ResNet ends with a single position."""
    return size if scale == 1 else max(32, round(size * scale))


def literal_views(method: str, scale: float = 1.0) -> list[transforms.Compose]:
    """The transforms of one image; its views' sides times ``scale``."""

    def view(size: int, area: tuple[float, float], strong: bool) -> transforms.Compose:
        return transforms.Compose(
            [
                transforms.RandomResizedCrop(scaled(size, scale), area),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
                transforms.RandomGrayscale(0.2),
                transforms.RandomApply([PillowBlur()], 0.5),
                transforms.RandomHorizontalFlip(),
                *([TenthsOfFourteen()] if strong else []),
                FINISH,
            ]
        )

    crops = CROPS[method]
    return [
        view(224, (0.2, 1.0), False),
        *(view(*crop, False) for crop in crops),
        *(view(*crop, True) for crop in crops),
    ]


class LiteralDataset(Dataset):
    """Item ``index``: all views of that image, each float32 3 x S x S."""

    def __init__(self, paths: list[str], method: str, scale: float = 1.0) -> None:
        self.paths, self.views = paths, literal_views(method, scale)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        with open(self.paths[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        return [view(image) for view in self.views]
