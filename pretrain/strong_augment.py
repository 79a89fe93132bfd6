"""The strong view's operations S: five times in turn, one of 14 operations, applied with probability 0.5.

Names and shear's range are the paper's; the other ranges are its public code's. Two differences from that code:
magnitudes are drawn from the whole range (there: nine steps of a tenth), and Invert is in the pool as the paper's table
says (there: Identity in its place).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps


def shear_x(image: Image.Image, slope: float) -> Image.Image:
    return _affine(image, (1, slope, 0, 0, 1, 0))


def shear_y(image: Image.Image, slope: float) -> Image.Image:
    return _affine(image, (1, 0, 0, slope, 1, 0))


def translate_x(image: Image.Image, share: float) -> Image.Image:
    return _affine(image, (1, 0, share * image.width, 0, 1, 0))


def translate_y(image: Image.Image, share: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, share * image.height))


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees)


def auto_contrast(image: Image.Image, _: float) -> Image.Image:
    return ImageOps.autocontrast(image)


def invert(image: Image.Image, _: float) -> Image.Image:
    return ImageOps.invert(image)


def equalize(image: Image.Image, _: float) -> Image.Image:
    return ImageOps.equalize(image)


def solarize(image: Image.Image, threshold: float) -> Image.Image:
    return ImageOps.solarize(image, threshold)


def posterize(image: Image.Image, bits: float) -> Image.Image:
    return ImageOps.posterize(image, int(bits))


def contrast(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def color(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Color(image).enhance(factor)


def brightness(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def sharpness(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(factor)


@dataclass(frozen=True)
class Operation:
    """``apply(image, magnitude)`` with the magnitude uniform in [low, high); whole numbers low..high if ``integer``."""

    name: str
    apply: Callable[[Image.Image, float], Image.Image]
    low: float = 0.0
    high: float = 0.0
    integer: bool = False

    def draw_magnitude(self, rng: np.random.Generator) -> float:
        return int(rng.integers(self.low, self.high + 1)) if self.integer else rng.uniform(self.low, self.high)


OPERATIONS = (
    Operation("ShearX", shear_x, -0.3, 0.3),
    Operation("ShearY", shear_y, -0.3, 0.3),
    Operation("TranslateX", translate_x, -0.3, 0.3),  # of the side
    Operation("TranslateY", translate_y, -0.3, 0.3),
    Operation("Rotate", rotate, -30, 30),  # degrees
    Operation("AutoContrast", auto_contrast),
    Operation("Invert", invert),
    Operation("Equalize", equalize),
    Operation("Solarize", solarize, 0, 256),  # values from the threshold up are inverted
    Operation("Posterize", posterize, 4, 8, integer=True),  # bits kept
    Operation("Contrast", contrast, 0.05, 0.95),  # 1 would leave the image as it is, 0 make it flat
    Operation("Color", color, 0.05, 0.95),
    Operation("Brightness", brightness, 0.05, 0.95),
    Operation("Sharpness", sharpness, 0.05, 0.95),
)


def strong_operations(image: Image.Image, rng: np.random.Generator, rounds: int, probability: float) -> Image.Image:
    """``rounds`` times: draw one of the 14 operations uniformly, apply it with ``probability``. Size and mode stay."""
    for _ in range(rounds):
        operation = OPERATIONS[rng.integers(len(OPERATIONS))]
        if rng.random() < probability:
            image = operation.apply(image, operation.draw_magnitude(rng))
    return image


def _affine(image: Image.Image, output_to_input: tuple[float, ...]) -> Image.Image:
    """Nearest neighbour, black where the source has nothing: Pillow's defaults, as in the public code."""
    return image.transform(image.size, Image.Transform.AFFINE, output_to_input)
