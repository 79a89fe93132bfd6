"""AP_S of each category as dots, methods overlaid, the category with the highest mean of the methods first."""

from collections.abc import Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..gather import Gathered
from ..protocol import flavour_of
from ..table import Column, Row, Table
from ..trials import sample
from .style import WIDTH, Plot, Theme, add_legend, add_title, measured_by, row_styles, themed

#: Column -> title. Where a table begins with it, this is where a reader looks for the categories.
TITLES = {"bbox/APs": "COCO AP_S by category (boxes)", "bbox_coco_form/APs": "VOC AP_S by category (COCO form)"}

#: With more categories than this the plot has two panels side by side.
ONE_PANEL = 40

#: Inches for a category.
PITCH = 0.19


def category_plots(tables: Sequence[Table], gathered: Gathered) -> list[Plot]:
    """One plot for boxes and for VOC's COCO form of each protocol, from the results' own values of each class."""
    plots = []
    for table in tables:
        first = table.columns[0].key
        for i, column in enumerate(c for c in table.columns if first in TITLES and c.key == first):
            values = _values(table, column, gathered)
            categories = sorted_categories(values)
            if not categories:
                continue

            def draw(
                theme: Theme,
                title: str = TITLES[first],
                categories: list[str] = categories,
                values: list[tuple[Row, dict[str, float]]] = values,
            ) -> Figure:
                return _draw(title, categories, values, theme)

            caption = f"{measured_by(column)} Sorted by the mean of the methods."
            if any(row.trials > 1 for row, _ in values):
                caption += " Means of the trials."
            name = f"categories_{table.key}" + (f"_flavour{i + 1}" if i else "")
            is_wide = len(categories) > ONE_PANEL
            plots.append(Plot(name, TITLES[first], caption, draw, table.key, is_wide))
    return plots


def sorted_categories(values: Sequence[tuple[Row, dict[str, float]]]) -> list[str]:
    """Those that any row has a value of; the highest mean of the rows first, equal ones in the results' order."""
    names = dict.fromkeys(name for _, of_row in values for name in of_row)
    by_name = {name: [of_row[name] for _, of_row in values if name in of_row] for name in names}
    return sorted(names, key=lambda name: -sum(by_name[name]) / len(by_name[name]))


def _values(table: Table, column: Column, gathered: Gathered) -> list[tuple[Row, dict[str, float]]]:
    """Of each row the categories that are defined (have small objects), percent."""
    found = []
    lacking = []
    for row in table.rows:
        results = [m.result for m in gathered.results(row.sources) if flavour_of(m, column.key) == column.flavour]
        trials = [result["per_class"][column.key] for result in results if column.key in result["per_class"]]
        if results and not trials:
            lacking.append(row.label)
        samples = {name: sample([trial.get(name) for trial in trials]) for trial in trials for name in trial}
        defined = {name: of_trials.mean for name, of_trials in samples.items() if of_trials}
        if defined:
            found.append((row, defined))
    if lacking:
        gathered.leave_out(
            f"AP_S by category, {column.protocol.title}: nothing of {', '.join(lacking)}, since per_class of the "
            f"result has no {column.key}."
        )
    return found


def _draw(
    title: str, categories: Sequence[str], values: Sequence[tuple[Row, dict[str, float]]], theme: Theme
) -> Figure:
    panels = 1 if len(categories) <= ONE_PANEL else 2
    in_panel = -(-len(categories) // panels)
    with themed(theme):
        figure, grid = plt.subplots(
            1, panels, figsize=(WIDTH * panels, 1.3 + PITCH * in_panel), sharex=True, squeeze=False
        )
        shown = [*range(0, len(categories), in_panel), len(categories)]
        for ax, (begin, end) in zip(grid[0], pairwise(shown), strict=True):
            _draw_panel(ax, categories[begin:end], in_panel, values, theme)
        add_title(figure, title)
        add_legend(figure)
        return figure


def _draw_panel(
    ax: Axes, categories: Sequence[str], length: int, values: Sequence[tuple[Row, dict[str, float]]], theme: Theme
) -> None:
    styles = row_styles([row for row, _ in values], theme)
    for i, ((_, of_row), style) in enumerate(zip(values, styles, strict=True)):
        shift = 0.5 * ((i + 0.5) / len(values) - 0.5)  # so that equal values do not hide each other
        points = [(of_row[name], y + shift) for y, name in enumerate(categories) if name in of_row]
        style = {**style, "linestyle": ""}
        ax.plot(*zip(*points, strict=True), **style, markersize=5, clip_on=False) if points else None
    ax.set_yticks(range(len(categories)), categories, fontsize=8.5)
    ax.set_ylim(length - 0.4, -0.6)
    ax.set_xlim(0, None)
    ax.tick_params(axis="y", length=0, pad=7)
    ax.set_xlabel("AP$_S$, %")
    ax.grid(axis="both")
