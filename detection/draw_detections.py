"""One picture of an image: ground truth to the left, detections to the right.

Shapes: G objects and D detections of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from pycocotools.mask import decode, iou

MATCH_IOU = 0.5

#: Of Okabe and Ito's colours, told apart by colour-blind readers; right and wrong also differ in the line's style.
RIGHT, WRONG, IGNORED = "#56B4E9", "#E69F00", "#BBBBBB"
PANEL_INCHES, DPI = 5.0, 150
SMALL_LINE, LINE = 3.0, 1.3


@dataclass(frozen=True, eq=False)
class Drawn:
    """An object, or a detection with its score, in pixels of the image."""

    box: np.ndarray  # (4,) float64 x1, y1, x2, y2
    label: str
    is_small: bool
    score: float = 1.0
    ignored: bool = False
    rle: dict[str, Any] | None = None  # the mask, run-length encoded as COCO does


def match(objects: Sequence[Drawn], detections: Sequence[Drawn]) -> list[int | None]:
    """For each detection, best first, the index of the object that it finds, or None: COCO's greedy rule.

    It takes the free object of its class with the highest IoU of at least 0.5; an ignored one only if no other is left,
    and that one is never used up.
    """
    if not objects or not detections:
        return [None] * len(detections)
    crowds = [thing.ignored for thing in objects]
    overlaps = iou(_boxes(detections), _boxes(objects), [0] * len(objects))  # (D, G)
    found: list[int | None] = []
    for detection, row in zip(detections, overlaps, strict=True):
        free = [
            (not crowds[k], row[k], k)
            for k, thing in enumerate(objects)
            if thing.label == detection.label and row[k] >= MATCH_IOU and (crowds[k] or k not in found)
        ]
        found.append(max(free)[2] if free else None)
    return found


def draw_pair(
    path: Path,
    file: Path,
    objects: Sequence[Drawn],
    detections: Sequence[Drawn],
    matches: Sequence[int | None],
    title: str,
) -> None:
    """Write ``path``, PNG. Small objects have thick frames; missed objects and wrong detections dashed orange ones."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(2 * PANEL_INCHES, PANEL_INCHES * height / width + 0.8), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    hits = set(matches) - {None}
    counted = [k for k, thing in enumerate(objects) if not thing.ignored]
    small = [k for k in counted if objects[k].is_small]
    for axes in (left, right):
        axes.imshow(pixels, interpolation="nearest")
        axes.set_axis_off()
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
    for k, thing in enumerate(objects):
        _draw(left, thing, IGNORED if thing.ignored else RIGHT if k in hits else WRONG, k not in hits, thing.label)
    for detection, k in zip(reversed(detections), reversed(matches), strict=True):  # the most confident on top
        label = f"{detection.label} {detection.score:.2f}"
        _draw(right, detection, WRONG if k is None else RIGHT, k is None, label)
    found = f"{len(hits & set(counted))} of {len(counted)} found, {len(hits & set(small))} of {len(small)} small"
    left.set_title(f"Ground truth: {found}", fontsize=10)
    right.set_title(f"Detections: {len(detections)}, {sum(k is None for k in matches)} of them wrong", fontsize=10)
    figure.suptitle(f"{title}    blue: found    dashed orange: missed or wrong    thick: under 32² pixels", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw(axes: Axes, thing: Drawn, colour: str, dashed: bool, label: str) -> None:
    x1, y1, x2, y2 = thing.box
    line = SMALL_LINE if thing.is_small else LINE
    style = (0, (3, 2)) if dashed else "-"
    if thing.rle is not None:
        mask = decode([thing.rle])[:, :, 0].astype(bool)
        layer = np.zeros((*mask.shape, 4))
        layer[mask] = (*(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)), 0.25)
        axes.imshow(layer, interpolation="nearest")
    for edge, width, dashes in (("black", line + 1.4, "-"), (colour, line, style)):
        axes.add_patch(
            Rectangle(
                (x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=width, linestyle=dashes
            )
        )
    axes.annotate(
        label,
        (max(x1, 0), max(y1, 0)),
        xytext=(0, 2 if y1 > 8 else -2),
        textcoords="offset points",
        va="bottom" if y1 > 8 else "top",
        fontsize=7.5,
        color="black",
        bbox={"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none", "alpha": 0.85},
        annotation_clip=False,
    )


def _boxes(things: Sequence[Drawn]) -> np.ndarray:
    corners = np.array([thing.box for thing in things])
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
