"""Average precision as a function of object size, finer than COCO's three, from the detections that the runs left.

A line is a method; of several trials the mean. Its bars are the bootstrap's 95 % interval over the test images, each
trial on the same resamples, for which a run's detections are matched once.

Shapes: R resamples, A area ranges.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..ap.annotations import GroundTruth
from ..ap.bootstrap import bootstrap, draw_images
from ..ap.matching import count_objects, match
from ..ap.measure import describe_sizes, interval
from ..ap.results import Detections
from ..ap.size_curve import FEWEST_OBJECTS, SizeLine, draw_size_curve, drawn_bins, hides_bins
from ..ap.sizes import COCO_RANGES, size_bins
from ..gather import Gathered
from ..protocol import flavour_of
from ..saved_detections import SavedDetections
from ..table import Column, Row, Table
from .style import WIDTH, Plot, Theme, add_legend, add_title, measured_by, row_styles, themed

RESAMPLES = 500
SEED = 0

#: First column of the tables that have such a plot -> boxes or masks, the result's AP of all sizes, title.
MEASURES = {
    "bbox/APs": ("bbox", "bbox/AP", "COCO AP as a function of object size (boxes)"),
    "segm/AP": ("segm", "segm/AP", "COCO AP as a function of object size (masks)"),
    "bbox_coco_form/APs": ("bbox", "bbox_coco_form/AP", "VOC AP as a function of object size (COCO form)"),
}

#: Percent, between the AP that a result states and that of the detections beside it: the same to rounding error, unless
#: one of them is of another run.
TOLERANCE = 0.01

RANGES = (COCO_RANGES[0], *size_bins())


@dataclass(frozen=True)
class Curve:
    """Of each bin the average precision, percent, and its interval; None without objects."""

    row: Row
    values: list[float | None]
    bars: list[tuple[float, float] | None]


def fine_size_plots(
    tables: Sequence[Table], gathered: Gathered, saved: SavedDetections, resamples: int = RESAMPLES
) -> list[Plot]:
    """One plot for boxes, masks and VOC's COCO form of each protocol; why a line is missing goes to ``left_out``."""
    plots = []
    for table in tables:
        first = table.columns[0].key
        columns = [column for column in table.columns if first in MEASURES and column.key == first]
        for i, column in enumerate(columns):
            sizes, curves = _curves(table, column, gathered, saved, resamples)
            if not curves:
                continue
            title = MEASURES[first][2]

            def draw(theme: Theme, title: str = title, sizes: list = sizes, curves: list[Curve] = curves) -> Figure:
                return _draw(title, sizes, curves, theme)

            name = f"fine_sizes_{table.key}" + (f"_flavour{i + 1}" if i else "")
            plots.append(Plot(name, title, _caption(column, sizes, curves, resamples), draw, table.key))
    return plots


def precision_by_size(truth: GroundTruth, found: Detections, resamples: int, name: str | None = None) -> np.ndarray:
    """(1 + R, A) percent: in all :data:`RANGES`, on the images as they are, then on each resample; nan without objects.

    Args:
        name: labels the progress bar; None shows none.
    """
    images = len(truth.image_ids)
    drawn = np.concatenate([np.ones((1, images), np.int16), draw_images(images, resamples, SEED)])
    matches = match(truth, found, RANGES, name)
    return 100 * bootstrap([matches], count_objects(truth, RANGES), drawn, name is not None)[:, 0]


def _curves(
    table: Table, column: Column, gathered: Gathered, saved: SavedDetections, resamples: int
) -> tuple[list[dict[str, Any]], list[Curve]]:
    """The bins with their counts, and a curve for each of the table's rows that has detections."""
    iou_type, overall, _ = MEASURES[column.key]
    sizes: list[dict[str, Any]] = []
    curves: list[Curve] = []
    lacking: dict[str, list[str]] = {}
    for row in table.rows:
        trials = []
        for measured in gathered.results(row.sources):
            if flavour_of(measured, column.key) != column.flavour:
                continue
            lack = saved.lack(measured)
            if lack:
                lacking.setdefault(lack, []).append(row.label)
                continue
            truth = saved.truth(measured, iou_type)
            found = saved.detections(measured, truth) if truth else None
            if found is None:
                continue
            sizes = sizes or describe_sizes(RANGES[1:], count_objects(truth, RANGES[1:]))
            if not drawn_bins(sizes):
                gathered.leave_out(
                    f"AP by object size, {column.protocol.title}: not drawn, for {truth.source} has "
                    f"{FEWEST_OBJECTS} objects of no size."
                )
                return sizes, []
            values = precision_by_size(truth, found, resamples, row.label if sys.stderr.isatty() else None)
            stated = measured.result["values"].get(overall)
            if stated is None or abs(stated - values[0, 0]) > TOLERANCE:
                gathered.leave_out(
                    f"{found.source}: left out of AP by object size. With {truth.source} these detections have AP "
                    f"{values[0, 0]:.2f}, the result beside them says {stated}: one of the three is of another run."
                )
                continue
            trials.append(values[:, 1:])
        if trials:
            curves.append(_curve(row, np.mean(trials, axis=0)))
    for lack, labels in lacking.items():
        gathered.leave_out(
            f"AP by object size, {column.protocol.title}: nothing of {', '.join(dict.fromkeys(labels))}, since {lack}."
        )
    return sizes, curves


def _curve(row: Row, values: np.ndarray) -> Curve:
    """Of (1 + R, A) precision: as it is, and its interval."""
    observed = [None if np.isnan(value) else float(value) for value in values[0]]
    bars = [interval(value, resampled) for value, resampled in zip(observed, values[1:].T, strict=True)]
    return Curve(row, observed, [bar and (bar["low"], bar["high"]) for bar in bars])


def _caption(column: Column, sizes: Sequence[dict[str, Any]], curves: Sequence[Curve], resamples: int) -> str:
    trials = max(curve.row.trials for curve in curves)
    notes = [
        measured_by(column),
        f"Bars: 95 % interval of {resamples} bootstrap resamples of the test images"
        + (", of the mean over the trials." if trials > 1 else "."),
        "Below: how many objects there are of each size.",
    ]
    if hides_bins(sizes):
        notes.append(f"No AP of fewer than {FEWEST_OBJECTS} objects.")
    return " ".join(notes)


def _draw(title: str, sizes: Sequence[dict[str, Any]], curves: Sequence[Curve], theme: Theme) -> Figure:
    with themed(theme):
        figure = plt.figure(figsize=(WIDTH, 4.6))
        styles = row_styles([curve.row for curve in curves], theme)
        lines = [SizeLine(curve.values, curve.bars, style) for curve, style in zip(curves, styles, strict=True)]
        draw_size_curve(figure, sizes, lines)
        add_title(figure, title)
        add_legend(figure)
        return figure
