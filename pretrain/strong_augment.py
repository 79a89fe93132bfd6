"""The strong view's operations S: five times in turn, one of 14 operations, applied with probability 0.5.

Names and shear's range are the paper's; the other ranges are its public code's. That code differs in two points, which
are options: it has Identity in place of Invert (STRONG.POOL), and draws magnitudes of 1 to 9 tenths of the range
(STRONG.MAGNITUDES).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode
from PIL import Image, ImageEnhance, ImageOps

from .seeding import uniform


def shear_x(image: Image.Image, slope: float) -> Image.Image:
    return _affine(image, (1, slope, 0, 0, 1, 0))


def shear_y(image: Image.Image, slope: float) -> Image.Image:
    return _affine(image, (1, 0, 0, slope, 1, 0))


def translate_x(image: Image.Image, share: float) -> Image.Image:
    return _affine(image, (1, 0, int(share * image.width), 0, 1, 0))


def translate_y(image: Image.Image, share: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, int(share * image.height)))


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


def identity(image: Image.Image, _: float) -> Image.Image:
    return image


@dataclass(frozen=True)
class Operation:
    """``apply(image, magnitude)``, with the law of its magnitude.

    Attributes:
        low, high: the magnitude is uniform in [low, high); a whole number of low..high if ``integer``.
        signed: the range is symmetric about 0.
    """

    name: str
    apply: Callable[[Image.Image, float], Image.Image]
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    signed: bool = False

    def draw(self, rng: np.random.Generator, law: str) -> float:
        """A magnitude. ``uniform``: from the whole range. ``tenths``: the public code's law, 1 to 9 tenths of the range
        (from 256 down for Solarize), with a random sign where it is symmetric.
        """
        if law == "uniform":
            return int(rng.integers(self.low, self.high + 1)) if self.integer else uniform(rng, self.low, self.high)
        share = int(rng.integers(1, 10)) / 10
        if self.signed:
            return share * self.high * rng.choice((-1, 1))
        if self.name == "Solarize":
            return 256 - int(share * 256)
        return self.low + (int if self.integer else float)(share * (self.high - self.low))


OPERATIONS = (
    Operation("ShearX", shear_x, -0.3, 0.3, signed=True),
    Operation("ShearY", shear_y, -0.3, 0.3, signed=True),
    Operation("TranslateX", translate_x, -0.3, 0.3, signed=True),  # of the side, in whole pixels
    Operation("TranslateY", translate_y, -0.3, 0.3, signed=True),
    Operation("Rotate", rotate, -30, 30, signed=True),  # degrees
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
IDENTITY = Operation("Identity", identity)
NOTHING = (IDENTITY, 0.0)
#: STRONG.POOL: what is drawn from.
POOLS = {
    "invert": OPERATIONS,
    "identity": tuple(IDENTITY if op.name == "Invert" else op for op in OPERATIONS),
}


def draw_operations(rng: np.random.Generator, strong: CfgNode) -> list[tuple[Operation, float]]:
    """What one strong view undergoes: for each of ``strong.ROUNDS`` rounds, in order, an operation and its magnitude.

    One of the 14 is drawn uniformly, and is applied with ``strong.PROB``. One that is not applied leaves Identity in
    its place, so that the rounds of a batch's views stay side by side.
    """
    pool, probability, law, drawn = POOLS[strong.POOL], strong.PROB, strong.MAGNITUDES, []
    for _ in range(strong.ROUNDS):
        operation = pool[rng.integers(len(pool))]
        applied = rng.random() < probability
        drawn.append((operation, operation.draw(rng, law)) if applied else NOTHING)
    return drawn


def _affine(image: Image.Image, output_to_input: tuple[float, ...]) -> Image.Image:
    """Nearest neighbour, black where the source has nothing: Pillow's defaults, as in the public code."""
    return image.transform(image.size, Image.Transform.AFFINE, output_to_input)
