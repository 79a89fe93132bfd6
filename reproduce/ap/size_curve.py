"""The picture of average precision by object size: methods overlaid with their intervals, and how many objects."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clsa.configs.command import InputError

from .table import TASKS

#: Colours after Okabe and Ito; with a marker and a line each, so that a grey print tells the files apart as well.
LOOKS = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "^", "-."),
    ("#009E73", "D", (0, (5, 1))),
    ("#000000", "s", "--"),
    ("#CC79A7", "v", ":"),
    ("#8a6d00", "*", (0, (3, 1, 1, 1))),
)

#: A bin with fewer objects is counted, but its average precision would stretch the axis and say nothing.
FEWEST_OBJECTS = 10

#: COCO's bounds of small and medium objects, pixels.
BOUNDS = (32, 96)


@dataclass(frozen=True)
class SizeLine:
    """Of one file or method: for each bin of sizes the average precision and its interval, percent, or None."""

    values: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None]
    look: dict[str, Any]  # what ``Axes.plot`` takes, with a label


def write_size_curve(path: Path, found: dict[str, Any]) -> None:
    """Draw what :func:`~clsa.reproduce.ap.measure.measure` returns; the file's ending says in which format.

    Raises:
        InputError: more files than can be told apart, too few objects in every bin, or a format that matplotlib lacks.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    files, sizes = found["files"], found["sizes"]
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.lstrip(".") not in formats:
        raise InputError(f"--plot {path}: name a file that ends in one of .{', .'.join(sorted(formats))}")
    if len(files) > len(LOOKS):
        raise InputError(f"--plot tells at most {len(LOOKS)} files apart, got {len(files)}. Leave some of them out.")
    if not drawn_bins(sizes):
        raise InputError(f"--plot: {found['annotations']} has {FEWEST_OBJECTS} objects of no size, too few to draw")

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    lines = [
        SizeLine(
            [size["AP"] for size in file["by_size"]],
            [size["interval"] and (size["interval"]["low"], size["interval"]["high"]) for size in file["by_size"]],
            {"color": color, "marker": marker, "linestyle": line, "label": file["name"]},
        )
        for file, (color, marker, line) in zip(files, LOOKS, strict=False)
    ]
    draw_size_curve(figure, sizes, lines)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, handlelength=3.2)
    figure.supxlabel(_caption(found), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"savefig.dpi": 200}):
        figure.savefig(path)


def drawn_bins(sizes: Sequence[dict[str, Any]]) -> list[int]:
    """The bins whose average precision is drawn."""
    return [k for k, size in enumerate(sizes) if size["objects"] >= FEWEST_OBJECTS]


def hides_bins(sizes: Sequence[dict[str, Any]]) -> bool:
    """Whether some bins have objects, but too few."""
    return any(0 < size["objects"] < FEWEST_OBJECTS for size in sizes)


def draw_size_curve(figure: Figure, sizes: Sequence[dict[str, Any]], lines: Sequence[SizeLine]) -> None:
    """The curves with their intervals, and below them how many objects there are, in matplotlib's current style.

    Args:
        sizes: of each bin its ``area`` and ``objects``, as :func:`~clsa.reproduce.ap.measure.describe_sizes` has them;
            :func:`drawn_bins` must find one.
    """
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    drawn, edges = drawn_bins(sizes), _edges(sizes)
    for k, line in enumerate(lines):
        shift = 2 ** (0.07 * (k - (len(lines) - 1) / 2))  # so that intervals do not hide each other
        points = [
            (shift * math.sqrt(edges[i] * edges[i + 1]), line.values[i], line.intervals[i])
            for i in drawn
            if line.values[i] is not None
        ]
        above.plot(
            [x for x, _, _ in points],
            [y for _, y, _ in points],
            **line.look,
            linewidth=1.5,
            markersize=6,
            clip_on=False,
        )
        for x, _, interval in points:
            if interval:
                above.plot([x, x], interval, color=line.look["color"], linewidth=1.2, alpha=0.8)
    _draw_counts(below, edges, [size["objects"] for size in sizes])

    shown = [k for k, size in enumerate(sizes) if size["objects"]]
    visible = [edges[shown[0]], edges[shown[-1] + 1]]
    for axes in (above, below):
        for bound in BOUNDS:
            if visible[0] < bound < visible[1]:
                axes.axvline(
                    bound, color=matplotlib.rcParams["ytick.color"], linewidth=0.9, linestyle=(0, (1, 2)), zorder=0
                )
        axes.spines[["top", "right"]].set_visible(False)
    _name_ranges(above, visible)
    above.set_ylabel("AP, %")
    above.set_ylim(bottom=0)
    above.grid(axis="y", alpha=0.6)
    below.set_xscale("log", base=2)
    below.set_xlim(visible)
    below.minorticks_off()
    ticks = sorted({2**k for k in range(2, 11)} | {96})
    ticks = [tick for tick in ticks if visible[0] * 0.99 <= tick <= visible[1] * 1.01]
    below.set_xticks(ticks, [str(tick) for tick in ticks])
    below.set_xlabel("side of the object (square root of its area), pixels")
    below.set_ylabel("objects")


def _caption(found: dict[str, Any]) -> str:
    resamples = found["bootstrap"]["resamples"]
    notes = [f"bars: 95 % interval of {resamples} bootstrap resamples of the images"] if resamples else []
    if hides_bins(found["sizes"]):
        notes.append(f"no AP of fewer than {FEWEST_OBJECTS} objects")
    lines = [f"{found['flavour']}, {TASKS[found['iou_type']]}, {found['images']} images", "; ".join(notes)]
    return "\n".join(filter(None, lines))


def _edges(sizes: Sequence[dict[str, Any]]) -> list[float]:
    """Of the bins, in pixels; the outermost two, 0 and endless, are put half an octave beyond their neighbours."""
    inner = [math.sqrt(size["area"][0]) for size in sizes[1:]]
    return [inner[0] / math.sqrt(2), *inner, inner[-1] * math.sqrt(2)]


def _draw_counts(axes: Axes, edges: Sequence[float], counts: Sequence[int]) -> None:
    style = matplotlib.rcParams
    widths = [high - low for low, high in pairwise(edges)]
    axes.bar(
        edges[:-1],
        counts,
        widths,
        align="edge",
        color=style["grid.color"],
        edgecolor=style["axes.facecolor"],
        linewidth=0.8,
    )
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        if count:
            axes.annotate(
                f"{count}",
                (math.sqrt(low * high), count),
                (0, 1),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=7.5,
            )
    axes.set_ylim(0, 1.3 * max(counts))
    axes.set_yticks([])


def _name_ranges(axes: Axes, visible: Sequence[float]) -> None:
    """small, medium, large, along the upper edge, where there is room for the word."""
    for name, low, high in (("small", 0, BOUNDS[0]), ("medium", *BOUNDS), ("large", BOUNDS[1], math.inf)):
        low, high = max(low, visible[0]), min(high, visible[1])
        if high > 1.3 * low:
            place = math.sqrt(low * high)
            axes.text(place, 1.0, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=8)
