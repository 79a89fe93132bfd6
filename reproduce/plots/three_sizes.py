"""Average precision of COCO's three object sizes, methods overlaid."""

import re
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..table import Table
from .style import WIDTH, Plot, Theme, add_legend, measured_by, row_styles, themed

#: COCO's three sizes.
AREAS = "Area of an object: small below 32² square pixels, medium from 32² to 96², large above."


def three_size_plots(tables: Sequence[Table]) -> list[Plot]:
    """One plot for each measure of which a table has small, medium and large objects, one line a row."""
    plots = []
    for table in tables:
        measures = dict.fromkeys((column.protocol, column.flavour) for column in table.columns)
        for i, (protocol, flavour) in enumerate(measures):
            by_size = [
                index
                for size in ("AP_S", "AP_M", "AP_L")
                for index, column in enumerate(table.columns)
                if (column.protocol, column.flavour) == (protocol, flavour) and column.label.endswith(size)
            ]
            if [table.columns[c].label[-4:] for c in by_size] != ["AP_S", "AP_M", "AP_L"]:
                continue
            title = re.sub("AP(_S)?", "AP by object size", table.subject)
            caption = f"{measured_by(table.columns[by_size[0]])} {AREAS}"

            def draw(
                theme: Theme, table: Table = table, columns: Sequence[int] = by_size, title: str = title
            ) -> Figure:
                return _draw(table, columns, title, theme)

            plots.append(Plot(f"sizes_{table.key}{f'_flavour{i + 1}' if i else ''}", title, caption, draw, table.key))
    return plots


def _draw(table: Table, columns: Sequence[int], title: str, theme: Theme) -> Figure:
    rows = [row for row in table.rows if any(row.values[c] is not None for c in columns)]
    with themed(theme):
        figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
        for i, (row, style) in enumerate(zip(rows, row_styles(rows, theme), strict=True)):
            shift = 0.08 * (i - (len(rows) - 1) / 2)  # so that equal values do not hide each other
            points = [(x + shift, row.values[c]) for x, c in enumerate(columns) if row.values[c] is not None]
            ax.plot([x for x, _ in points], [y for _, y in points], **style, markersize=7, linewidth=1.4)
        ax.set_xticks(range(3), ["small", "medium", "large"])
        ax.set(title=title, ylabel="AP, %", xlim=(-0.4, 2.4))
        ax.set_ylim(0, None)
        ax.grid(axis="y")
        add_legend(figure)
        return figure
