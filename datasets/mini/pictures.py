"""What the pictures of the three data sets show. One generator in, one picture out: nothing else decides."""

import math
from dataclasses import dataclass

import numpy as np

from ..categories import VOC_CLASSES
from .scene import Placed, Scene

#: COCO's size classes, in pixels of area: small below the first, large above the second.
SMALL_AREA, LARGE_AREA = 32**2, 96**2

_HERDS = ("bird", "cow", "horse", "person", "sheep")


@dataclass(frozen=True)
class Shown:
    """One annotated thing: ``mask`` bool[H, W] where it is seen; ``seen`` the share of it that is, 0..1."""

    class_name: str
    pose: str
    mask: np.ndarray
    seen: float
    crowd: bool = False


@dataclass(frozen=True)
class Picture:
    """``image`` uint8[H, W, 3] RGB and what is annotated in it, from back to front."""

    image: np.ndarray
    shown: tuple[Shown, ...]


def imagenet_picture(rng: np.random.Generator, class_name: str, side: int) -> np.ndarray:
    """One dominant object near the middle: ``uint8[side, side, 3]``."""
    scene = Scene(rng, side, side)
    center = side * rng.uniform(0.4, 0.6), side * rng.uniform(0.42, 0.58)
    scene.place(class_name, size=side * rng.uniform(0.75, 1.15), center=center)
    if rng.random() < 0.3:
        scene.occlude()
    return scene.photograph()


def voc_picture(rng: np.random.Generator, class_name: str, side: int) -> Picture:
    """One to three objects, the first of ``class_name`` and well visible; the longer side measures ``side`` pixels."""
    height, width = _frame(rng, side, short=(0.66, 1.0))
    unit = min(height, width)
    while True:
        scene = Scene(rng, height, width)
        others = min(int(rng.geometric(0.5)) - 1, 2)
        if others:
            sizes = sorted((unit * _log_uniform(rng, 0.3, 0.9) for _ in range(others + 1)), reverse=True)
        else:
            sizes = [unit * rng.uniform(0.5, 1.05)]
        first = scene.place(class_name, size=sizes[0], tries=2)
        for size in sizes[1:]:
            scene.place(class_name if rng.random() < 0.4 else _any_class(rng), size=size, tries=3)
        if rng.random() < 0.3:
            scene.occlude()
        if _share_seen(scene, first) > 0.5:
            return Picture(scene.photograph(), _annotate(scene, least_area=12, least_share=0))


def coco_picture(rng: np.random.Generator, side: int) -> Picture:
    """Many objects, most of them small: sizes are drawn by area. Now and then a herd, annotated as one crowd."""
    height, width = _frame(rng, side, short=(0.75, 1.0))
    scene = Scene(rng, height, width)
    if rng.random() < 0.9:
        area = _log_uniform(rng, 1.3 * LARGE_AREA, max(1.6 * LARGE_AREA, 0.5 * height * width))
        center = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.45, 0.55)
        scene.place(_any_class(rng), area=area, center=center)
    _scatter(scene, rng.integers(1, 4), 1.25 * SMALL_AREA, 0.45 * LARGE_AREA)
    herd = _herd(scene) if rng.random() < 0.12 else None
    _scatter(scene, rng.integers(1, 5), 70, 0.9 * SMALL_AREA)
    if rng.random() < 0.15:
        scene.occlude()
    return Picture(scene.photograph(), _annotate(scene, least_area=16, least_share=0.2, crowd=herd))


def _scatter(scene: Scene, count: int, least_area: float, most_area: float) -> None:
    """Figures of any class, the largest first, so that it stands behind."""
    areas = sorted((_log_uniform(scene.rng, least_area, most_area) for _ in range(count)), reverse=True)
    for area in areas:
        scene.place(_any_class(scene.rng), area=area, tries=8)


def _herd(scene: Scene) -> Placed:
    """Six to twelve small ones of a kind, close together, that count as one."""
    rng, (height, width) = scene.rng, scene.owner.shape
    class_name = str(rng.choice(_HERDS))
    area = _log_uniform(rng, 90, 350)
    spread = 1.6 * math.sqrt(area)
    middle = rng.uniform(2 * spread, width - 2 * spread), rng.uniform(height / 2, height - spread)
    first = None
    for _ in range(rng.integers(6, 13)):
        center = middle[0] + spread * rng.uniform(-2, 2), middle[1] + spread * rng.uniform(-1, 1)
        member = scene.place(class_name, area=area, center=center, number=first.number if first else None)
        first = first or member
    return first


def _annotate(scene: Scene, least_area: int, least_share: float, crowd: Placed | None = None) -> tuple[Shown, ...]:
    """Everything of which at least ``least_area`` pixels and ``least_share`` of it are still to be seen."""
    shown = []
    for placed in scene.placed:
        mask, seen = scene.visible(placed), _share_seen(scene, placed)
        if np.count_nonzero(mask) >= least_area and seen >= least_share:
            shown.append(Shown(placed.class_name, placed.pose, mask, seen, crowd=placed is crowd))
    return tuple(shown)


def _share_seen(scene: Scene, placed: Placed) -> float:
    return min(1.0, np.count_nonzero(scene.visible(placed)) / max(1, placed.full_area))


def _frame(rng: np.random.Generator, side: int, short: tuple[float, float]) -> tuple[int, int]:
    """Height and width: landscape twice as often as portrait, the shorter side a share of the longer."""
    shorter = round(side * rng.uniform(*short))
    return (shorter, side) if rng.random() < 2 / 3 else (side, shorter)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _any_class(rng: np.random.Generator) -> str:
    return VOC_CLASSES[rng.integers(len(VOC_CLASSES))]
