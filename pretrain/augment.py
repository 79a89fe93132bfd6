"""The views of an image: what chance decides (``View.draw``), apart from what it does to the pixels.

A drawn view is a crop and a list of operations with their magnitudes. It is carried out on one crop by Pillow
(:func:`apply`), or on a batch of crops by ``batched_augment``, with the same pixels.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from fvcore.common.config import CfgNode
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from .config import strong_view_count, weak_query_sizes_and_scales
from .seeding import uniform
from .strong_augment import IDENTITY, NOTHING, OPERATIONS, Operation, draw_operations

#: Range of the crop's width over its height, torchvision's default.
ASPECT = (3 / 4, 4 / 3)
_LOG_ASPECT = math.log(ASPECT[0]), math.log(ASPECT[1])

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


def hue(image: Image.Image, turns: float) -> Image.Image:
    return TF.adjust_hue(image, turns)


def gray(image: Image.Image, _: float) -> Image.Image:
    return image.convert("L").convert("RGB")


def blur(image: Image.Image, sigma: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def flip(image: Image.Image, _: float) -> Image.Image:
    return ImageOps.mirror(image)


_STRONG = {operation.name: operation for operation in OPERATIONS}
#: Of the colour jitter, in the order of WEAK.JITTER. Saturation is the strong table's Color.
BRIGHTNESS, CONTRAST, SATURATION = (_STRONG[name] for name in ("Brightness", "Contrast", "Color"))
HUE = Operation("Hue", hue)  # magnitude: turns of the colour circle
GRAY = Operation("Gray", gray)
BLUR = Operation("Blur", blur)  # magnitude: sigma in pixels
FLIP = Operation("Flip", flip)
#: Every operation that a view may hold; its place here is its code in a batch.
VOCABULARY = (IDENTITY, *OPERATIONS, HUE, GRAY, BLUR, FLIP)


class DrawnView(NamedTuple):
    """One view of one image, decided: the crop, then the operations in order, each with its magnitude.

    The number of operations is that of its :class:`View`; Identity stands where nothing is done.
    """

    box: Box
    operations: tuple[tuple[Operation, float], ...]


@dataclass(frozen=True)
class View:
    """The law of one view: a crop of ``scale``'s area at ``size`` pixels, then weak operations, then strong ones.

    ``weak`` and ``strong`` are ``cfg.WEAK`` and ``cfg.STRONG``; None: no such operations. It can be pickled, because
    a loader's workers may have to be started afresh.
    """

    size: int
    scale: tuple[float, float]
    weak: CfgNode | None = None
    strong: CfgNode | None = None

    def draw(self, image_size: tuple[int, int], rng: np.random.Generator) -> DrawnView:
        """A view of an image of ``image_size`` (width, height); all chance comes from ``rng``."""
        box = crop_box(image_size, rng, self.scale)
        operations = [] if self.weak is None else draw_weak_operations(rng, self.weak)
        if self.strong is not None:
            operations += draw_operations(rng, self.strong)
        return DrawnView(box, tuple(operations))


def build_views(cfg: CfgNode) -> list[View]:
    """The views that the method uses and no others: the key's, the weak queries', then the strong ones."""
    count = strong_view_count(cfg)
    weak_first = cfg.WEAK if cfg.STRONG.WEAK_FIRST else None

    def view(strong: bool, size: int, scale: tuple[float, float]) -> View:
        return View(size, scale, weak_first, cfg.STRONG) if strong else View(size, scale, cfg.WEAK)

    return [
        view(cfg.STRONG.AS_KEY, cfg.WEAK.SIZE, cfg.WEAK.SCALE),
        *(view(cfg.STRONG.AS_QUERY, *crop) for crop in weak_query_sizes_and_scales(cfg)),
        *(view(True, *crop) for crop in zip(cfg.STRONG.SIZES[:count], cfg.STRONG.SCALES[:count], strict=True)),
    ]


def crop_box(image_size: tuple[int, int], rng: np.random.Generator, scale: tuple[float, float]) -> Box:
    """A box of ``scale`` (low, high) of the area of an image of ``image_size`` (width, height), inside it.

    The law of torchvision's RandomResizedCrop: ten tries, then the largest centred crop whose aspect is allowed.
    """
    image_width, image_height = image_size
    for _ in range(10):
        area = image_width * image_height * uniform(rng, *scale)
        aspect = math.exp(uniform(rng, *_LOG_ASPECT))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= image_width and 0 < height <= image_height:
            left = int(rng.integers(image_width - width + 1))
            top = int(rng.integers(image_height - height + 1))
            return left, top, left + width, top + height
    width = min(image_width, max(1, round(image_height * ASPECT[1])))
    height = min(image_height, max(1, round(image_width / ASPECT[0])))
    left, top = (image_width - width) // 2, (image_height - height) // 2
    return left, top, left + width, top + height


def draw_weak_operations(rng: np.random.Generator, weak: CfgNode) -> list[tuple[Operation, float]]:
    """Jitter in random order (four operations), gray, blur, flip, with MoCo v2's laws; seven in all."""
    drawn = draw_jitter(rng, weak.JITTER) if rng.random() < weak.JITTER_PROB else [NOTHING] * 4
    drawn.append((GRAY, 0.0) if rng.random() < weak.GRAY_PROB else NOTHING)
    drawn.append((BLUR, uniform(rng, *weak.BLUR_SIGMA)) if rng.random() < weak.BLUR_PROB else NOTHING)
    drawn.append((FLIP, 0.0) if rng.random() < weak.FLIP_PROB else NOTHING)
    return drawn


def draw_jitter(rng: np.random.Generator, strength: tuple[float, float, float, float]) -> list[tuple[Operation, float]]:
    """Brightness, contrast, saturation by factors in [1 - s, 1 + s] and hue by [-s, s] of a turn, in random order."""
    *of_factors, of_hue = strength
    factors = [uniform(rng, max(0.0, 1 - s), 1 + s) for s in of_factors]
    adjustments = list(
        zip((BRIGHTNESS, CONTRAST, SATURATION, HUE), [*factors, uniform(rng, -of_hue, of_hue)], strict=True)
    )
    rng.shuffle(adjustments)
    return adjustments


def apply(image: Image.Image, operations: tuple[tuple[Operation, float], ...]) -> Image.Image:
    """The operations in order, by Pillow; size and mode stay."""
    for operation, magnitude in operations:
        image = operation.apply(image, magnitude)
    return image
