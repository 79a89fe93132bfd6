"""A sheet of small objects: in a row one object as it is annotated, then what each detector makes of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from clsa.configs.command import InputError

from ..ap.annotations import GroundTruth
from ..ap.results import Detections
from ..gather import Gathered
from ..methods import look
from ..saved_detections import SavedDetections
from .small_objects import (
    MATCH_IOU,
    PER_IMAGE,
    SMALL_AREA,
    Window,
    choose,
    finders,
    nearest_small,
    overlap,
    small_objects,
    window_around,
)
from .style import Plot, Theme, themed

ROWS = 5

#: Inches.
CELL = 1.9

#: Okabe and Ito again: found, not found, and the object's own frame. On photographs, for both grounds.
FOUND, WRONG, OBJECT = "#00c2a0", "#E69F00", "#ffffff"


@dataclass(frozen=True)
class Shown:
    """A detector's box for an object; ``found``: it is the one that finds it, else the nearest small one."""

    box: np.ndarray
    category: str
    score: float
    overlap: float
    found: bool


@dataclass(frozen=True)
class Row:
    """One object; ``boxes``: one a detector, None where it has no small box near."""

    file: Path
    box: np.ndarray
    area: float
    category: str
    window: Window
    boxes: dict[str, Shown | None]


def detection_plot(gathered: Gathered, saved: SavedDetections) -> Plot | None:
    """The sheet of the COCO results of one protocol; None without any, or without annotations, images or detections.

    Of several runs of a method the first is shown.
    """
    coco = [m for m in gathered.measured if m.stage == "detection" and m.result["metric_flavour"] == "COCO"]
    annotations = saved.annotations_file(coco[0]) if coco else None
    truth = saved.truth(coco[0], "bbox") if annotations else None
    if truth is None:
        return None
    protocol = coco[0].result["protocol"]
    runs = {m.method: m for m in reversed(coco) if m.result["protocol"] == protocol}
    found = {method: saved.detections(runs[method], truth) for method in gathered.methods if method in runs}
    found = {method: detections for method, detections in found.items() if detections is not None}
    if not found:
        return None
    if not small_objects(truth).any():
        gathered.leave_out(f"The sheet of detections: {annotations} has no object under {_area()}.")
        return None
    by = {method: finders(truth, detections) for method, detections in found.items()}
    found_by_any = np.any([finder >= 0 for finder in by.values()], axis=0)
    chosen = choose(truth, found_by_any, ROWS)
    try:
        files = _files(annotations, truth, chosen)
    except InputError as error:
        gathered.leave_out(str(error))
        return None
    rows = [_row(truth, found, by, target, file) for target, file in zip(chosen, files, strict=True)]
    caption = (
        f"{protocol}. {_choice(truth, by, found_by_any, chosen)} White: the object. Green: the box that finds it. "
    )
    caption += "Dashed orange, where none does: the detector's small box nearest to it, of any class."
    if len(runs) < sum(m.result["protocol"] == protocol for m in coco):
        caption += " Of several runs of a method the first is shown."
    return Plot(
        "detections", "Small objects, method beside method", caption, lambda theme: _draw(rows, theme), is_wide=True
    )


def _choice(truth: GroundTruth, by: Mapping[str, np.ndarray], found_by_any: np.ndarray, chosen: Sequence[int]) -> str:
    """What was chosen and how, and how many small objects each detector finds."""
    small = small_objects(truth)
    rule = f"(IoU of at least {MATCH_IOU} and the class right, among an image's {PER_IMAGE} most confident boxes)"
    some = f"{len(chosen)} of the {small.sum()} objects of an annotated area under {_area()}, each of another image, "
    some += "drawn at random"
    nobodys = int((~found_by_any[chosen]).sum())
    if nobodys == len(chosen):
        return f"{some}. No detector finds any of the {small.sum()} {rule}."
    among = f"from the {(small & found_by_any).sum()} that at least one detector finds {rule}"
    among += f", but {nobodys} from those that none finds" if nobodys else ""
    counts = ", ".join(f"{look(method).label} {(small & (finder >= 0)).sum()}" for method, finder in by.items())
    return f"{some} {among}. So many does each find: {counts}."


def _area() -> str:
    return f"{SMALL_AREA**0.5:.0f}² square pixels"


def _files(annotations: Path, truth: GroundTruth, chosen: Sequence[int]) -> list[Path]:
    """The images of the chosen objects.

    Raises:
        InputError: one has no file name, or is not there.
    """
    folder = annotations.parents[1] / annotations.stem.removeprefix("instances_")
    images = json.loads(annotations.read_text(encoding="utf-8"))["images"]
    names = {image["id"]: image.get("file_name") for image in images}
    files = []
    for key in (truth.image_ids[truth.image[target]] for target in chosen):
        if not isinstance(names[key], str):
            raise InputError(
                f"The sheet of detections: image {key} of {annotations} has the file_name {names[key]!r}, it must be "
                "the name of a file."
            )
        files.append(folder / Path(names[key]).name)
        if not files[-1].is_file():
            raise InputError(f"The sheet of detections: there is no image {files[-1]}.")
    return files


def _row(
    truth: GroundTruth, found: Mapping[str, Detections], by: Mapping[str, np.ndarray], target: int, file: Path
) -> Row:
    with Image.open(file) as picture:
        window = window_around(truth.shapes[target], *picture.size)
    boxes = {}
    for method, detections in found.items():
        is_found = by[method][target] >= 0
        k = by[method][target] if is_found else nearest_small(truth, detections, target, window)
        boxes[method] = (
            None
            if k is None
            else Shown(
                detections.shapes[k],
                truth.category_names[detections.category[k]],
                float(detections.score[k]),
                overlap(truth, detections, target, k),
                bool(is_found),
            )
        )
    category = truth.category_names[truth.category[target]]
    return Row(file, truth.shapes[target], float(truth.area[target]), category, window, boxes)


def _draw(rows: Sequence[Row], theme: Theme) -> Figure:
    methods = list(rows[0].boxes)
    windows = [row.window for row in rows]
    heights = [CELL * (w.bottom - w.top) / (w.right - w.left) for w in windows]
    size = (CELL * (1 + len(methods)), sum(heights) + 0.32 * len(heights) + 0.2)
    with themed(theme):
        figure, grid = plt.subplots(len(rows), 1 + len(methods), figsize=size, squeeze=False, height_ratios=heights)
        for axes, row in zip(grid, rows, strict=True):
            with Image.open(row.file) as picture:
                w = row.window
                pixels = np.asarray(picture.convert("RGB").crop((w.left, w.top, w.right, w.bottom)))
            for ax in axes:
                ax.imshow(pixels, extent=(w.left, w.right, w.bottom, w.top))
                ax.set_autoscale_on(False)
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set_visible(False)
                _frame(ax, row.box, OBJECT, 1.2)
            axes[0].set_xlabel(f"{row.category}, area {row.area**0.5:.0f}² px", fontsize=8)
            for ax, shown in zip(axes[1:], row.boxes.values(), strict=True):
                _draw_shown(ax, shown)
        grid[0][0].set_title("Ground truth", fontsize=9.5)
        for ax, method in zip(grid[0][1:], methods, strict=True):
            ax.set_title(look(method).label, fontsize=9.5)
        return figure


def _draw_shown(ax: Axes, shown: Shown | None) -> None:
    if shown is None:
        ax.set_xlabel("no small box near", fontsize=8)
        return
    _frame(ax, shown.box, FOUND if shown.found else WRONG, 1.8, dashed=not shown.found)
    ax.set_xlabel(f"{shown.category} {shown.score:.2f}, IoU {shown.overlap:.2f}", fontsize=8)


def _frame(ax: Axes, box: Sequence[float], edge: str, width: float, dashed: bool = False) -> None:
    x, y, w, h = box
    style = (0, (3, 2)) if dashed else "-"
    ax.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor="black", linewidth=width + 1.2, alpha=0.55))
    ax.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=edge, linewidth=width, linestyle=style))
