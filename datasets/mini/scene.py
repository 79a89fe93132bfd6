"""A picture in the making: a ground, figures one before the other, light over all. ``H``, ``W``: its size."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import random_color
from .figures import FRONTAL, draw_figure, noise

#: A figure is never drawn on a smaller canvas than this; smaller ones are drawn here and reduced.
_SMALLEST_CANVAS = 48


@dataclass(frozen=True)
class Placed:
    """One figure, or one group of figures, in a scene.

    ``number`` marks its pixels in ``Scene.owner``; ``full_area`` is what it would cover, in pixels, with nothing before
    it and no border to cut it off.
    """

    number: int
    class_name: str
    pose: str
    full_area: int


class Scene:
    """``image`` float32[H, W, 3], RGB 0..255; ``owner`` uint8[H, W], the number of the figure seen there or 0."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng = rng
        self.image = _ground(rng, height, width)
        self.owner = np.zeros((height, width), np.uint8)
        self.placed: list[Placed] = []

    def place(
        self,
        class_name: str,
        size: float | None = None,
        area: float | None = None,
        center: tuple[float, float] | None = None,
        tries: int = 1,
        number: int | None = None,
    ) -> Placed:
        """Draw a figure in front of all that is there, turned, stretched, sheared and mirrored at random.

        Args:
            size: side of its square in pixels; or else
            area: pixels that it shall cover, whatever its shape.
            center: (x, y) in pixels; or else the freest of ``tries`` random places.
            number: of the figure that it shall count as one with; a new one if None.
        """
        rng = self.rng
        guess = size if size is not None else math.sqrt(area / 0.35)
        figure = draw_figure(class_name, rng, round(min(400, max(_SMALLEST_CANVAS, 1.2 * guess))))
        side = figure.shape[0]

        mirrored = rng.random() < 0.5
        turn, shear = math.radians(rng.uniform(-18, 18)), rng.uniform(-0.2, 0.2)
        stretch = np.diag([rng.uniform(0.8, 1.25) * (-1 if mirrored else 1), rng.uniform(0.85, 1.15)])
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        matrix = rotation @ np.array([[1, shear], [0, 1]]) @ stretch
        if size is not None:
            matrix *= size / side
        else:
            matrix *= math.sqrt(area / (_outline(figure[..., 3]).sum() * abs(np.linalg.det(matrix))))

        patch = _warp(figure, matrix)
        outline = _outline(patch[..., 3])
        if center is None:
            center = self._free_place(patch.shape[:2], tries)
        if number is None:
            number = len(self.placed) + 1
        self._paste(patch, outline, center, number)

        pose = "Frontal" if class_name in FRONTAL else "Left" if mirrored else "Right"
        placed = Placed(number, class_name, pose, int(outline.sum()))
        if number > len(self.placed):
            self.placed.append(placed)
        return placed

    def visible(self, placed: Placed) -> np.ndarray:
        """``bool[H, W]``: where it is seen. The spaces that it encloses (between spokes) are its own."""
        return self.owner == placed.number

    def occlude(self) -> None:
        """A plain post, or a band along the bottom, in front of everything."""
        rng, (height, width) = self.rng, self.owner.shape
        if rng.random() < 0.5:
            left = int(width * rng.random())
            hidden = np.s_[:, left : left + max(2, int(width * rng.uniform(0.03, 0.09)))]
        else:
            hidden = np.s_[int(height * rng.uniform(0.88, 0.97)) :, :]
        self.image[hidden] = random_color(rng)
        self.owner[hidden] = 0

    def photograph(self) -> np.ndarray:
        """``uint8[H, W, 3]``: uneven light, a colour cast, sometimes out of focus, always some noise."""
        rng, (height, width) = self.rng, self.owner.shape
        across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
        slope_x, slope_y = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
        light = np.float32(rng.uniform(0.75, 1.15)) * (1 + slope_y * down[:, None] + slope_x * across)
        image = self.image * light[..., None] * rng.uniform(0.85, 1.12, 3).astype(np.float32)
        if rng.random() < 0.3:
            image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.4, 1.0))
        image += np.float32(rng.uniform(1, 6)) * rng.standard_normal(image.shape, np.float32)
        return np.clip(image, 0, 255).astype(np.uint8)

    def _free_place(self, patch_shape: tuple[int, int], tries: int) -> tuple[float, float]:
        """Of ``tries`` random centres, the one where the patch would hide the least; figures may leave the picture a
        little."""
        height, width = self.owner.shape
        half_y, half_x = (0.38 * side for side in patch_shape)
        best, least = (width / 2, height / 2), math.inf
        for _ in range(tries):
            x = self.rng.uniform(min(half_x, width / 2 - 1), max(width - half_x, width / 2 + 1))
            y = self.rng.uniform(min(half_y, height / 2 - 1), max(height - half_y, height / 2 + 1))
            rows = slice(max(0, int(y - half_y)), int(y + half_y) + 1)
            columns = slice(max(0, int(x - half_x)), int(x + half_x) + 1)
            hidden = np.count_nonzero(self.owner[rows, columns])
            if hidden < least:
                best, least = (x, y), hidden
        return best

    def _paste(self, patch: np.ndarray, outline: np.ndarray, center: tuple[float, float], number: int) -> None:
        height, width = self.owner.shape
        rows, columns = patch.shape[:2]
        top, left = round(center[1] - rows / 2), round(center[0] - columns / 2)
        seen = np.s_[max(0, -top) : min(rows, height - top), max(0, -left) : min(columns, width - left)]
        patch, outline = patch[seen], outline[seen]
        top, left = max(0, top), max(0, left)
        there = np.s_[top : top + patch.shape[0], left : left + patch.shape[1]]
        self.image[there] = self.image[there] * (1 - patch[..., 3:] / 255) + patch[..., :3]
        self.owner[there][outline] = number


def _warp(figure: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The figure under the linear map, ``float32[h, w, 4]``, in the upright rectangle that holds its square."""
    side = figure.shape[0]
    scale = math.sqrt(abs(np.linalg.det(matrix)))
    if scale < 0.6:  # bilinear sampling would skip lines: average them first
        reduced = max(8, round(side * scale * 1.25))
        figure = cv2.resize(figure, (reduced, reduced), interpolation=cv2.INTER_AREA)
        matrix = matrix * (side / reduced)
        side = reduced
    width, height = (math.ceil(extent) + 2 for extent in np.abs(matrix).sum(axis=1) * side)
    shift = np.array([width - 1, height - 1]) / 2 - matrix @ np.full(2, (side - 1) / 2)
    affine = np.column_stack([matrix, shift]).astype(np.float32)
    return cv2.warpAffine(figure, affine, (width, height), flags=cv2.INTER_LINEAR)


def _outline(alpha: np.ndarray) -> np.ndarray:
    """``bool[h, w]``: what the figure covers by more than a third, and what it encloses, as annotators outline things.

    At a half, the thin limbs of small figures would fall apart.
    """
    opaque = (alpha > 255 / 3).astype(np.uint8)
    contours, _ = cv2.findContours(opaque, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(opaque, contours, -1, 1, cv2.FILLED)
    return opaque.astype(bool)


def _ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two smooth, dull surfaces that meet at a horizon, and a few plain blobs: ``float32[height, width, 3]``."""
    horizon = int(height * rng.uniform(0.45, 0.8))
    image = np.concatenate([_surface(rng, horizon, width), _surface(rng, height - horizon, width)])
    unit = min(height, width)
    for _ in range(int(rng.poisson(1.5))):
        color = random_color(rng, None, (0.05, 0.6))
        x, y, radius = int(rng.integers(width)), int(rng.integers(height)), max(1, int(unit * rng.uniform(0.02, 0.08)))
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), radius, color, cv2.FILLED)
        else:
            corner = (x + radius, y + int(radius * rng.uniform(0.5, 2)))
            cv2.rectangle(image, (x, y), corner, color, cv2.FILLED)
    return image


def _surface(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    color = np.array(random_color(rng, None, (0.05, 0.6)), np.float32)
    other = np.clip(color * rng.uniform(0.6, 1.3) + rng.uniform(-25, 25, 3), 0, 255).astype(np.float32)
    mix = np.clip(noise(rng, height, width, int(rng.choice([2, 4, 8]))), 0, 1) * np.float32(rng.uniform(0.3, 1))
    return color + mix[..., None] * (other - color)
