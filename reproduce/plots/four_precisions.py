"""The four average precisions of the same scores side by side: what papers print, one or another, as "VOC07"."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..subjects import CLASSIFICATION_FLAVOURS
from ..table import Table
from .style import WIDTH, Plot, Theme, add_legend, add_title, measured_by, themed, wrapped

#: value key -> colour on a light and on a dark ground (Okabe and Ito), marker. Not a method's look.
LOOKS = {
    "mAP envelope": ("#0072B2", "#56B4E9", "o"),
    "mAP step": ("#8a6d00", "#F0E442", "s"),
    "mAP 11-point": ("#009E73", "#3ddbae", "^"),
    "per-image AP": ("#CC79A7", "#CC79A7", "D"),
}

WHY = (
    "They may not stand in one column. The first three are means over the classes of the area under a class's "
    "precision-recall curve, taken in three ways; the last is a mean over the images of the average precision among an "
    "image's classes. CLSA's published VOC07 number (93.6, linear) is a per-image AP, those of the field, SwAV's 88.9 "
    "beside it, are class mAPs."
)


def four_precision_plots(tables: Sequence[Table]) -> list[Plot]:
    """One plot for each probe whose results hold more than one of the four, one row a method."""
    plots = []
    for table in tables:
        columns = [i for i, column in enumerate(table.columns) if column.key in CLASSIFICATION_FLAVOURS]
        if len(columns) < 2:
            continue
        title = f"{table.title.split(' · ')[0]}: four average precisions"

        def draw(theme: Theme, table: Table = table, columns: Sequence[int] = columns, title: str = title) -> Figure:
            return _draw(table, columns, title, theme)

        caption = f"{measured_by(table.columns[0]).replace(f', {table.columns[0].flavour}', '')} {WHY}"
        plots.append(Plot(f"four_precisions_{table.key}", title, caption, draw, table.key))
    return plots


def _draw(table: Table, columns: Sequence[int], title: str, theme: Theme) -> Figure:
    rows = [row for row in table.rows if any(row.values[c] is not None for c in columns)]
    rows.sort(key=lambda row: next(row.values[c] for c in columns if row.values[c] is not None))
    with themed(theme):
        figure, ax = plt.subplots(figsize=(WIDTH, 1.35 + 0.85 * len(rows)))
        for place, c in enumerate(columns):
            light, dark, marker = LOOKS[table.columns[c].key]
            color = dark if theme.name == "dark" else light
            below = 0.8 * ((place + 0.5) / len(columns) - 0.5)  # a line for each of the four within the row
            points = [(row.values[c], y - below, row) for y, row in enumerate(rows) if row.values[c] is not None]
            label = table.columns[c].flavour
            ax.plot([x for x, _, _ in points], [y for _, y, _ in points], marker, color=color, label=label)
            for x, y, row in points:
                text = table.printed(row, c)
                ax.annotate(text, (x, y), (7, 0), textcoords="offset points", va="center", fontsize=8)
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color=theme.grid, linewidth=0.8)
        ax.set_yticks(range(len(rows)), [wrapped(row.label) for row in rows])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.5, len(rows) - 0.5)
        ax.set_xlim(0, 1.12 * max(row.values[c] or 0 for row in rows for c in columns) or 1)
        ax.set_xlabel("average precision, %")
        ax.grid(axis="x")
        add_title(figure, title)
        add_legend(figure)
        return figure
