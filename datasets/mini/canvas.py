"""A small square canvas with a palette of its own, on which one figure is drawn.

Coordinates run from 0 to 1, x to the right and y down. Colours come from the canvas, never from a class: every figure
gets random hues, and which of its two neutral tones is the dark one is a coin flip, so that a class cannot be told by
its colours.
"""

import colorsys
import contextlib
import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

Color = tuple[int, int, int]
Point = tuple[float, float]

#: Share of the canvas kept free on each side, for limbs that swing out of the unit square.
MARGIN = 0.06

# cv2 takes fixed-point coordinates: four fractional bits place a stroke to a sixteenth of a pixel.
_FRACTION_BITS = 4


def random_color(
    rng: np.random.Generator,
    hue: float | None = None,
    saturation: tuple[float, float] = (0.25, 0.95),
    value: tuple[float, float] = (0.35, 0.95),
) -> Color:
    """An RGB colour, 0..255; ``hue`` in turns (any if None), saturation and value uniform in their ranges."""
    hue = rng.random() if hue is None else hue % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))
    return int(255 * red), int(255 * green), int(255 * blue)


def shade(color: Color, factor: float) -> Color:
    """``color`` darkened (factor < 1) or lightened (> 1)."""
    red, green, blue = (int(min(255, max(0, channel * factor))) for channel in color)
    return red, green, blue


class Canvas:
    """Strokes, anti-aliased, on a transparent ground.

    Attributes:
        pixels: ``uint8[side, side, 4]``, RGB premultiplied by alpha.
        body, second, accent: saturated colours; ``bright`` and ``dim``: neutral tones; ``glass``: for panes.
    """

    def __init__(self, rng: np.random.Generator, side: int):
        self.rng = rng
        self.side = side
        self.pixels = np.zeros((side, side, 4), np.uint8)
        hue = rng.random()
        self.body = random_color(rng, hue)
        self.second = random_color(rng, hue + rng.uniform(0.2, 0.8))
        self.accent = random_color(rng)
        tones = [
            random_color(rng, None, (0.0, 0.35), (0.06, 0.25)),
            random_color(rng, None, (0.0, 0.35), (0.78, 1.0)),
        ]
        self.dim, self.bright = tones if rng.random() < 0.5 else tones[::-1]
        self.glass = random_color(rng, None, (0.05, 0.4), (0.1, 0.35) if rng.random() < 0.5 else (0.75, 1.0))

    def vary(self, low: float, high: float) -> float:
        """A random proportion."""
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """A random number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        corners = np.array([self._fixed(point) for point in points], np.int32)
        cv2.fillPoly(self.pixels, [corners], (*color, 255), cv2.LINE_AA, _FRACTION_BITS)

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def ellipse(self, center: Point, radii: Point, color: Color, angle: float = 0) -> None:
        """A filled ellipse, turned clockwise by ``angle`` degrees."""
        self._ellipse(center, radii, color, angle, cv2.FILLED)

    def ring(self, center: Point, radius: float, color: Color, thickness: float) -> None:
        self._ellipse(center, (radius, radius), color, 0, self._thickness(thickness))

    def line(self, start: Point, end: Point, color: Color, thickness: float) -> None:
        """A stroke with round ends."""
        ends = self._fixed(start), self._fixed(end)
        cv2.line(self.pixels, *ends, (*color, 255), self._thickness(thickness), cv2.LINE_AA, _FRACTION_BITS)

    def stroke(self, points: Sequence[Point], color: Color, thickness: float) -> None:
        """Lines from point to point: a limb with its joints, a tail, a frame."""
        for start, end in itertools.pairwise(points):
            self.line(start, end, color, thickness)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What is drawn in the block shows only where something was drawn before: stripes, spots, planks."""
        ground = self.pixels
        self.pixels = np.zeros_like(ground)
        yield
        layer, ground = self.pixels.astype(np.uint16), ground.astype(np.uint16)
        mixed = layer * ground[..., 3:] + ground * (255 - layer[..., 3:])
        self.pixels = ((mixed + 127) // 255).astype(np.uint8)

    def _ellipse(self, center: Point, radii: Point, color: Color, angle: float, thickness: int) -> None:
        scale = self._scale * (1 << _FRACTION_BITS)
        axes = round(radii[0] * scale), round(radii[1] * scale)
        where = self._fixed(center)
        cv2.ellipse(self.pixels, where, axes, angle, 0, 360, (*color, 255), thickness, cv2.LINE_AA, _FRACTION_BITS)

    @property
    def _scale(self) -> float:
        return self.side * (1 - 2 * MARGIN)

    def _thickness(self, share: float) -> int:
        return max(1, round(share * self._scale))

    def _fixed(self, point: Point) -> tuple[int, int]:
        """Fixed-point pixel coordinates; a pixel's centre is at a whole number, hence the half."""
        x, y = (self.side * MARGIN + coordinate * self._scale - 0.5 for coordinate in point)
        return round(x * (1 << _FRACTION_BITS)), round(y * (1 << _FRACTION_BITS))
