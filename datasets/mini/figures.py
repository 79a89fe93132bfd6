"""A figure of any of the 20 classes, shaded and textured, cut out on a transparent ground."""

from collections.abc import Callable

import cv2
import numpy as np

from . import animals, household, vehicles
from .canvas import Canvas

#: VOC class name -> how it is drawn.
DRAWINGS: dict[str, Callable[[Canvas], None]] = {
    "aeroplane": vehicles.aeroplane,
    "bicycle": vehicles.bicycle,
    "bird": animals.bird,
    "boat": vehicles.boat,
    "bottle": household.bottle,
    "bus": vehicles.bus,
    "car": vehicles.car,
    "cat": animals.cat,
    "chair": household.chair,
    "cow": animals.cow,
    "diningtable": household.diningtable,
    "dog": animals.dog,
    "horse": animals.horse,
    "motorbike": vehicles.motorbike,
    "person": animals.person,
    "pottedplant": household.pottedplant,
    "sheep": animals.sheep,
    "sofa": household.sofa,
    "train": vehicles.train,
    "tvmonitor": household.tvmonitor,
}

#: Classes that are drawn looking at us; the others look to the right, or to the left once mirrored.
FRONTAL = frozenset({"bottle", "cat", "diningtable", "person", "pottedplant", "sofa", "tvmonitor"})


def draw_figure(class_name: str, rng: np.random.Generator, side: int) -> np.ndarray:
    """``float32[side, side, 4]``, 0..255, RGB premultiplied by alpha."""
    canvas = Canvas(rng, side)
    DRAWINGS[class_name](canvas)
    figure = canvas.pixels.astype(np.float32)

    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    light = 1 + rng.uniform(-0.3, 0.3) * ramp[:, None] + rng.uniform(-0.25, 0.25) * ramp
    light += rng.uniform(0, 0.35) * (noise(rng, side, side, int(rng.choice([4, 8, 16, 32]))) - 0.5)
    figure[..., :3] *= light[..., None]
    np.minimum(figure[..., :3], figure[..., 3:], out=figure[..., :3])
    return figure


def noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth value noise, ``float32[height, width]``, about 0..1, with ``cells`` random values a side."""
    grid = rng.random((cells, cells), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
