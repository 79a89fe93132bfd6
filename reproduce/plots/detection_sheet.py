"""A sheet of detections: the same images, ground truth first, then method beside method, small objects framed."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from pycocotools.mask import iou

from clsa.configs.command import InputError

from ..ap.annotations import GroundTruth
from ..ap.results import Detections
from ..gather import Gathered
from ..methods import look
from ..saved_detections import SavedDetections
from .style import Plot, Theme, themed

#: COCO's own limit between small and medium, in square pixels of the object's mask.
SMALL_AREA = 32**2
MATCH_IOU = 0.5
IMAGES = 4

#: Okabe and Ito again: found, not found or wrong, and the frame of a small object. On photographs, for both grounds.
FOUND, WRONG, OBJECT = "#00c2a0", "#E69F00", "#ffffff"


@dataclass(frozen=True)
class Truth:
    """Annotations of one image, crowds left out. Boxes (x, y, width, height) in pixels."""

    file: Path
    boxes: np.ndarray
    categories: list[int]
    small: list[bool]


def detection_plot(gathered: Gathered, saved: SavedDetections) -> Plot | None:
    """The sheet of the COCO results of one protocol; None without any, or without annotations, images or detections.

    Of several runs of a method the first is shown.
    """
    coco = [m for m in gathered.measured if m.stage == "detection" and m.result["metric_flavour"] == "COCO"]
    annotations = saved.annotations_file(coco[0]) if coco else None
    ground = saved.truth(coco[0], "bbox") if annotations else None
    if ground is None:
        return None
    protocol = coco[0].result["protocol"]
    try:
        truth = _pick_images(annotations)
    except InputError as error:
        gathered.leave_out(str(error))
        return None
    if absent := [objects.file for objects in truth.values() if not objects.file.is_file()]:
        gathered.leave_out(f"The sheet of detections: there is no image {absent[0]}.")
        return None
    runs = {m.method: m for m in reversed(coco) if m.result["protocol"] == protocol}
    detections = {}
    for method in gathered.methods:
        found = saved.detections(runs[method], ground) if method in runs else None
        if found is not None:
            detections[method] = _most_confident(found, ground, truth)
    if not detections or not truth:
        return None
    return Plot(
        "detections",
        "Detections, method beside method",
        f"{protocol}. The {len(truth)} test images with the most small objects. First column: every object, those "
        "under 32² pixels framed thick. Then each detector's most confident boxes, as many as the image has objects: "
        f"green where box (IoU {MATCH_IOU}) and class are right, dashed orange where not.",
        lambda theme: _draw(truth, detections, theme),
        is_wide=True,
    )


def _pick_images(annotations: Path) -> dict[int, Truth]:
    """The images with the most small objects; equal counts in order of image id, so that the choice is repeatable.

    Raises:
        InputError: one of them has no file name.
    """
    folder = annotations.parents[1] / annotations.stem.removeprefix("instances_")
    content = json.loads(annotations.read_text(encoding="utf-8"))
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd"):
            by_image[annotation["image_id"]].append(annotation)
    small = {image: sum(a["area"] < SMALL_AREA for a in found) for image, found in by_image.items()}
    files = {image["id"]: image.get("file_name") for image in content["images"]}
    chosen = sorted(by_image, key=lambda image: (-small[image], image))[:IMAGES]
    for image in chosen:
        if not isinstance(files[image], str):
            raise InputError(
                f"The sheet of detections: image {image} of {annotations} has the file_name {files[image]!r}, it must "
                "be the name of a file."
            )
    return {
        image: Truth(
            folder / Path(files[image]).name,
            np.array([a["bbox"] for a in by_image[image]], dtype=np.float64),
            [a["category_id"] for a in by_image[image]],
            [a["area"] < SMALL_AREA for a in by_image[image]],
        )
        for image in chosen
    }


def _most_confident(found: Detections, ground: GroundTruth, truth: dict[int, Truth]) -> dict[int, list[dict[str, Any]]]:
    """Of each chosen image as many detections as it has objects."""
    by_image = {}
    for image, objects in truth.items():
        here = np.flatnonzero(found.image == ground.image_ids.index(image))
        best = here[np.argsort(-found.score[here], kind="stable")][: len(objects.categories)]
        by_image[image] = [
            {"bbox": found.shapes[k], "category_id": ground.category_ids[found.category[k]]} for k in best
        ]
    return by_image


def match(truth: Truth, detections: Sequence[dict[str, Any]]) -> list[int | None]:
    """For each detection, in order of confidence, the index of the object that it finds, or None.

    Greedy as in COCO's evaluation: the free object of its class with the highest IoU of at least 0.5.
    """
    found: list[int | None] = []
    boxes = np.array([d["bbox"] for d in detections], dtype=np.float64).reshape(-1, 4)
    overlaps = iou(boxes, truth.boxes, [0] * len(truth.boxes)) if len(boxes) else []
    for detection, row in zip(detections, overlaps, strict=True):
        free = [
            (row[i], i)
            for i, category in enumerate(truth.categories)
            if category == detection["category_id"] and i not in found and row[i] >= MATCH_IOU
        ]
        found.append(max(free)[1] if free else None)
    return found


def _draw(truth: dict[int, Truth], detections: dict[str, dict[int, list[dict[str, Any]]]], theme: Theme) -> Figure:
    columns = 1 + len(detections)
    heights = [1.9 * _aspect(objects.file) for objects in truth.values()]  # inches, for cells 1.9 inches wide
    size = (1.9 * columns, sum(heights) + 0.32 * len(heights) + 0.2)
    with themed(theme):
        figure, grid = plt.subplots(len(truth), columns, figsize=size, squeeze=False, height_ratios=heights)
        for axes, (image, objects) in zip(grid, truth.items(), strict=True):
            with Image.open(objects.file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            for ax in axes:
                ax.imshow(pixels)
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set_visible(False)
            _draw_truth(axes[0], objects)
            for ax, by_image in zip(axes[1:], detections.values(), strict=True):
                _draw_found(ax, objects, by_image[image])
        grid[0][0].set_title("Ground truth", fontsize=9.5)
        for ax, method in zip(grid[0][1:], detections, strict=True):
            ax.set_title(look(method).label, fontsize=9.5)
        return figure


def _aspect(file: Path) -> float:
    with Image.open(file) as picture:
        return picture.height / picture.width


def _draw_truth(ax: Axes, truth: Truth) -> None:
    for box, small in zip(truth.boxes, truth.small, strict=True):
        _rectangle(ax, box, FOUND if small else OBJECT, 1.8 if small else 0.9)
    ax.set_xlabel(f"{len(truth.small)} objects, {sum(truth.small)} small", fontsize=8)


def _draw_found(ax: Axes, truth: Truth, detections: Sequence[dict[str, Any]]) -> None:
    found = match(truth, detections)
    for detection, index in zip(detections, found, strict=True):
        small = index is not None and truth.small[index]
        _rectangle(ax, detection["bbox"], WRONG if index is None else FOUND, 1.8 if small else 1.0, index is None)
    hits = [index for index in found if index is not None]
    ax.set_xlabel(f"{len(hits)} found, {sum(truth.small[i] for i in hits)} small", fontsize=8)


def _rectangle(ax: Axes, box: Sequence[float], edge: str, width: float, dashed: bool = False) -> None:
    x, y, w, h = box
    style = (0, (3, 2)) if dashed else "-"
    ax.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor="black", linewidth=width + 1.0, alpha=0.45))
    ax.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=edge, linewidth=width, linestyle=style))
