"""Class mAP of a probe on each layer of the backbone, methods overlaid."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..gather import Gathered
from ..measured import Measured
from ..table import Row, Table
from ..trials import Sample, sample
from .style import WIDTH, Plot, Theme, add_legend, row_styles, themed

FLAVOUR = "mAP envelope"


@dataclass(frozen=True)
class _Line:
    """Of a table's row: the figure of each layer, percent, and the layers that its trials' training images chose."""

    row: Row
    by_layer: dict[str, Sample]
    chosen: set[str]


@dataclass
class _Group:
    """Probes of the same layers in the same way. ``protocol`` is without the chosen layer, in which they may differ."""

    table: Table
    protocol: str
    layers: tuple[str, ...]
    lines: list[_Line] = field(default_factory=list)


def layer_plots(tables: Sequence[Table], gathered: Gathered) -> list[Plot]:
    """One plot for each probe and list of layers, one line a row; of several trials the mean."""
    groups: dict[tuple, _Group] = {}
    for table in tables:
        for row in table.rows:
            results = [m for m in gathered.results(row.sources) if "figures_by_layer" in m.result["details"]]
            if not results:
                continue
            details, measured_as = results[0].result["details"], table.columns[0].protocol
            layers, protocol = tuple(details["figures_by_layer"]), protocol_of_all_layers(results[0].result)
            key = (protocol, layers, measured_as.engine, measured_as.dataset, measured_as.world, measured_as.settings)
            chosen = {m.result["details"]["best_layer"] for m in results}
            group = groups.setdefault(key, _Group(table, protocol, layers))
            group.lines.append(_Line(row, by_layer(results), chosen))
    for group in groups.values():
        group.lines.sort(key=lambda line: gathered.methods.index(line.row.method))
    return [_plot(group) for group in groups.values()]


def protocol_of_all_layers(result: dict[str, Any]) -> str:
    """A result's protocol without the layer that was found best: ``avgpool`` is named by no word, another by its own.

    ``voc07-svm-fair26-res4-best-of-res3+res4`` and ``voc07-svm-fair26-res3-best-of-res3+res4`` are both
    ``voc07-svm-fair26``.
    """
    own = result["protocol"].partition("-best-of-")[0]
    return own.replace(f"-{result['details']['best_layer']}", "", 1)


def by_layer(results: Sequence[Measured]) -> dict[str, Sample]:
    """Layer -> its class mAP in each trial; layers without one are left out."""
    figures = [m.result["details"]["figures_by_layer"] for m in results]
    found = {layer: sample([of_trial.get(layer, {}).get(FLAVOUR) for of_trial in figures]) for layer in figures[0]}
    return {layer: of_layer for layer, of_layer in found.items() if of_layer}


def _plot(group: _Group) -> Plot:
    protocol = group.table.columns[0].protocol
    caption = (
        f"{group.protocol}, class mAP, envelope, {protocol.engine}, {protocol.dataset}. Ringed: the layer that the "
        "training images choose, which the table has."
    )
    if any(of_layer.std for line in group.lines for of_layer in line.by_layer.values()):
        caption += " Bars: one standard deviation of the trials."
    title = f"{group.table.title.split(' · ')[0]} on each layer"
    return Plot(f"layers_{group.table.key}", title, caption, lambda theme: _draw(title, group, theme), group.table.key)


def _draw(title: str, group: _Group, theme: Theme) -> Figure:
    with themed(theme):
        figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
        styles = row_styles([line.row for line in group.lines], theme)
        for i, (line, style) in enumerate(zip(group.lines, styles, strict=True)):
            shift = 0.06 * (i - (len(styles) - 1) / 2)  # so that bars do not hide each other
            x = {layer: group.layers.index(layer) + shift for layer in line.by_layer}
            mean = [of_layer.mean for of_layer in line.by_layer.values()]
            ax.plot(list(x.values()), mean, **style, markersize=6, linewidth=1.5)
            for layer, of_layer in line.by_layer.items():
                if of_layer.std:
                    bar = [of_layer.mean - of_layer.std, of_layer.mean + of_layer.std]
                    ax.plot([x[layer]] * 2, bar, color=style["color"], linewidth=1.2)
            for layer in line.chosen & set(x):
                place = (x[layer], line.by_layer[layer].mean)
                ax.plot(*place, "o", color=style["color"], markerfacecolor="none", markersize=12, markeredgewidth=1.2)
        ax.set_xticks(range(len(group.layers)), group.layers)
        ax.set(title=title, xlabel="layer, from the image to the last", ylabel="class mAP, envelope, %")
        ax.grid(axis="y")
        add_legend(figure)
        return figure
