"""The headline of each table as dots, one row a method, the best above."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..table import Table
from .style import WIDTH, Plot, Theme, add_title, measured_by, row_pitch, row_styles, themed, typeset, wrapped


def headline_plots(tables: Sequence[Table]) -> list[Plot]:
    """The first column of each table, chance as a line."""
    plots = []
    for table in tables:
        if all(row.values[0] is None for row in table.rows):  # AP_S of data without small objects
            continue

        def draw(theme: Theme, table: Table = table) -> Figure:
            return _draw(table, theme)

        caption = measured_by(table.columns[0])
        if any(row.samples[0] and row.samples[0].std for row in table.rows):
            caption += " Bars: one standard deviation of the trials."
        plots.append(Plot(f"methods_{table.key}", table.subject, caption, draw, table.key))
    return plots


def _draw(table: Table, theme: Theme) -> Figure:
    rows = [row for row in table.rows if row.values[0] is not None]
    rows.sort(key=lambda row: row.values[0])
    with themed(theme):
        figure, ax = plt.subplots(figsize=(WIDTH, 1.25 + row_pitch([row.label for row in rows]) * len(rows)))
        for y, (row, style) in enumerate(zip(rows, row_styles(rows, theme), strict=True)):
            value, deviation = row.values[0], row.samples[0].std or 0
            if row.method == "chance":
                ax.axvline(value, color=theme.muted, linestyle=":", linewidth=1.4)
            if deviation:
                ax.plot([value - deviation, value + deviation], [y, y], color=style["color"], linewidth=1.6)
            ax.plot(value, y, **{**style, "linestyle": ""}, markersize=8, markeredgewidth=2, clip_on=False)
            place = (value + deviation, y)
            ax.annotate(table.printed(row, 0), place, (9, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(rows)), [wrapped(row.label) for row in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_xlim(0, 1.18 * max(1, *(row.values[0] + (row.samples[0].std or 0) for row in rows)))
        ax.set_xlabel(f"{typeset(table.columns[0].label)}, %")
        ax.grid(axis="x")
        add_title(figure, table.subject)
        return figure
