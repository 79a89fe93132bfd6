"""The weak view T: random crop, colour jitter, grayscale, blur, flip, as in MoCo v2.

A view is called with (image, generator): PIL image in, square PIL image out, all chance from the generator. Views can
be pickled, because a loader's workers may have to be started afresh. The crop is resampled straight to the view's size,
so that everything after it touches few pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from .config import strong_view_count, weak_query_sizes_and_scales
from .strong_augment import strong_operations

View = Callable[[Image.Image, np.random.Generator], Image.Image]

#: Range of the crop's width over its height, torchvision's default.
ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class WeakView:
    """T: a crop of ``size`` pixels and ``scale``'s area, and the weak operations of ``cfg.WEAK``."""

    size: int
    scale: tuple[float, float]
    weak: CfgNode

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        image = random_crop(image, rng, self.size, self.scale)
        return weak_operations(image, rng, self.weak)


@dataclass(frozen=True)
class StrongView:
    """S: a crop and the strong operations of ``cfg.STRONG``; with WEAK_FIRST the weak ones in between."""

    size: int
    scale: tuple[float, float]
    strong: CfgNode
    weak: CfgNode

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        image = random_crop(image, rng, self.size, self.scale)
        if self.strong.WEAK_FIRST:
            image = weak_operations(image, rng, self.weak)
        return strong_operations(image, rng, self.strong)


def build_views(cfg: CfgNode) -> list[View]:
    """The views that the method uses and no others: the key's, the weak queries', then the strong ones."""
    count = strong_view_count(cfg)
    strong = zip(cfg.STRONG.SIZES[:count], cfg.STRONG.SCALES[:count], strict=True)
    return [
        _weak_or_ablated(cfg, cfg.STRONG.AS_KEY, cfg.WEAK.SIZE, cfg.WEAK.SCALE),
        *(_weak_or_ablated(cfg, cfg.STRONG.AS_QUERY, *crop) for crop in weak_query_sizes_and_scales(cfg)),
        *(StrongView(size, scale, cfg.STRONG, cfg.WEAK) for size, scale in strong),
    ]


def _weak_or_ablated(cfg: CfgNode, strong: bool, size: int, scale: tuple[float, float]) -> View:
    return StrongView(size, scale, cfg.STRONG, cfg.WEAK) if strong else WeakView(size, scale, cfg.WEAK)


def random_crop(image: Image.Image, rng: np.random.Generator, size: int, scale: tuple[float, float]) -> Image.Image:
    """A crop of ``scale`` (low, high) of the image's area, resampled (bilinear, antialiased) to ``size`` x ``size``.

    The law of torchvision's RandomResizedCrop: ten tries, then the largest centred crop whose aspect is allowed.
    """
    return image.resize((size, size), Image.Resampling.BILINEAR, box=crop_box(image.size, rng, scale))


def crop_box(
    image_size: tuple[int, int], rng: np.random.Generator, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in pixels, inside an image of ``image_size`` (width, height)."""
    image_width, image_height = image_size
    for _ in range(10):
        area = image_width * image_height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= image_width and 0 < height <= image_height:
            left = int(rng.integers(image_width - width + 1))
            top = int(rng.integers(image_height - height + 1))
            return left, top, left + width, top + height
    width = min(image_width, max(1, round(image_height * ASPECT[1])))
    height = min(image_height, max(1, round(image_width / ASPECT[0])))
    left, top = (image_width - width) // 2, (image_height - height) // 2
    return left, top, left + width, top + height


def weak_operations(image: Image.Image, rng: np.random.Generator, weak: CfgNode) -> Image.Image:
    """Jitter, grayscale, blur and flip with the probabilities and strengths of ``cfg.WEAK``."""
    if rng.random() < weak.JITTER_PROB:
        image = color_jitter(image, rng, weak.JITTER)
    if rng.random() < weak.GRAY_PROB:
        image = image.convert("L").convert("RGB")
    if rng.random() < weak.BLUR_PROB:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*weak.BLUR_SIGMA)))
    if rng.random() < weak.FLIP_PROB:
        image = ImageOps.mirror(image)
    return image


def color_jitter(
    image: Image.Image, rng: np.random.Generator, strength: tuple[float, float, float, float]
) -> Image.Image:
    """Brightness, contrast, saturation by factors in [1 - s, 1 + s] and hue by [-s, s] of a turn, in random order."""
    brightness, contrast, saturation, hue = strength
    factor = {
        TF.adjust_brightness: rng.uniform(max(0.0, 1 - brightness), 1 + brightness),
        TF.adjust_contrast: rng.uniform(max(0.0, 1 - contrast), 1 + contrast),
        TF.adjust_saturation: rng.uniform(max(0.0, 1 - saturation), 1 + saturation),
        TF.adjust_hue: rng.uniform(-hue, hue),
    }
    adjustments = list(factor)
    for position in rng.permutation(len(adjustments)):
        adjust = adjustments[position]
        image = adjust(image, factor[adjust])
    return image
