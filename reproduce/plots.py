"""The report's plots, one idea each, drawn for a light and for a dark ground, apart by colour, marker and line."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .gather import Gathered
from .methods import look
from .tables import Table

DPI = 200


@dataclass(frozen=True)
class Theme:
    name: str
    ground: str
    ink: str
    muted: str
    grid: str


LIGHT = Theme("light", "#ffffff", "#1b1b1b", "#5c5c5c", "#dcdcdc")
DARK = Theme("dark", "#1b1d21", "#ececec", "#a8a8a8", "#3a3d43")
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Plot:
    """``draw(theme)`` makes the figure, in 5.4 inches of width: readable at the width of a phone."""

    name: str
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def all_plots(tables: Sequence[Table], gathered: Gathered) -> list[Plot]:
    """What there is data for: curves of pretraining, headline of each table, AP by object size."""
    return [*curve_plots(gathered), *method_plots(tables), *size_plots(tables)]


#: key of metrics.json -> title, axis, caption.
CURVES = {
    "loss_contrastive": (
        "Contrastive loss of the weak query",
        "loss, nats",
        "Equation 1, the same for every method. Level at log(1 + bank) means that nothing has been learned.",
    ),
    "loss_ddm": (
        "Distributional divergence (DDM)",
        "loss, nats",
        "Equation 4, before its weight beta. Dotted: entropy of the weak query's distribution, its lower bound.",
    ),
    "acc1_batch": (
        "Accuracy among the keys of the batch",
        "top-1, %",
        "The positive against the other keys of the same step: the honest one of the two accuracies.",
    ),
    "acc1_bank": (
        "Accuracy among positive and queue",
        "top-1, %",
        "Can be high early on, when fresh keys are told from stale ones.",
    ),
}


def curve_plots(gathered: Gathered) -> list[Plot]:
    """One plot per quantity of metrics.json that any method has, one line a method."""
    plots = []
    for key, (title, axis, caption) in CURVES.items():
        if any(pretraining.series(key)[0] for pretraining in gathered.pretraining.values()):

            def draw(theme: Theme, key: str = key, title: str = title, axis: str = axis) -> Figure:
                return _draw_curve(gathered, key, title, axis, theme)

            plots.append(Plot(f"curve_{key}", title, caption, draw))
    return plots


def method_plots(tables: Sequence[Table]) -> list[Plot]:
    """The first column of each table as dots, one row a method, chance as a line."""
    plots = []
    for table in tables:
        if all(row.values[0] is None for row in table.rows):  # AP_S of data without small objects
            continue
        column = table.columns[0]
        title = table.subject
        caption = f"{column.protocol.name}, {column.flavour}, {column.protocol.engine}, {column.protocol.dataset}."

        def draw(theme: Theme, table: Table = table, title: str = title) -> Figure:
            return _draw_methods(table, title, theme)

        plots.append(Plot(f"methods_{table.key}", title, caption, draw))
    return plots


#: Tables whose columns include the three object sizes.
BY_SIZE = ("coco_boxes", "coco_masks", "voc_coco_form")


def size_plots(tables: Sequence[Table]) -> list[Plot]:
    """AP of small, medium and large objects, one line a method; boxes and masks apart, one plot a measure."""
    plots = []
    for table in tables:
        measures = dict.fromkeys((column.protocol, column.flavour) for column in table.columns)
        for i, (protocol, flavour) in enumerate(measures if table.key in BY_SIZE else ()):
            by_size = [
                index
                for size in ("AP_S", "AP_M", "AP_L")
                for index, column in enumerate(table.columns)
                if (column.protocol, column.flavour) == (protocol, flavour) and column.label.endswith(size)
            ]
            if len(by_size) < 3:
                continue
            title = re.sub("AP(_S)?", "AP by object size", table.subject)
            caption = f"{protocol.name}, {flavour}, {protocol.engine}, {protocol.dataset}. "
            caption += "Areas below 32², to 96², above."

            def draw(
                theme: Theme, table: Table = table, columns: Sequence[int] = by_size, title: str = title
            ) -> Figure:
                return _draw_sizes(table, columns, title, theme)

            plots.append(Plot(f"sizes_{table.key}{i or ''}", title, caption, draw))
    return plots


def color(method: str, theme: Theme) -> str:
    return look(method).dark if theme.name == "dark" else look(method).light


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """matplotlib's settings for ``theme``."""
    settings = {
        "figure.facecolor": theme.ground,
        "axes.facecolor": theme.ground,
        "savefig.facecolor": theme.ground,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.grid,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "figure.constrained_layout.use": True,
    }
    with matplotlib.rc_context(settings):
        yield


def _draw_curve(gathered: Gathered, key: str, title: str, axis: str, theme: Theme) -> Figure:
    with themed(theme):
        figure, ax = plt.subplots(figsize=(5.4, 3.6))
        for method, pretraining in gathered.pretraining.items():
            x, y = pretraining.series(key)
            if not x:
                continue
            style = look(method)
            drawn = {"color": color(method, theme), "linestyle": style.line, "marker": style.marker}
            ax.plot(x, y, label=style.label, markersize=5, markevery=max(1, len(x) // 8), linewidth=1.6, **drawn)
            if key == "loss_ddm":
                ax.plot(*pretraining.series("ddm_target_entropy"), ":", color=drawn["color"], linewidth=1.4)
        ax.set(title=title, xlabel="iteration", ylabel=axis)
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if axis.endswith("%"):
            ax.set_ylim(0, None)
        ax.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return figure


def _draw_methods(table: Table, title: str, theme: Theme) -> Figure:
    rows = [row for row in table.rows if row.values[0] is not None]
    rows.sort(key=lambda row: row.values[0])
    with themed(theme):
        figure, ax = plt.subplots(figsize=(5.4, 1.25 + 0.36 * len(rows)))
        for y, row in enumerate(rows):
            style = look(row.method)
            if row.method == "chance":
                ax.axvline(row.values[0], color=theme.muted, linestyle=":", linewidth=1.4)
            ax.plot(
                row.values[0],
                y,
                style.marker,
                color=color(row.method, theme),
                markersize=8,
                markeredgewidth=2,
                clip_on=False,
            )
            ax.annotate(table.printed(row, 0), (row.values[0], y), (9, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(rows)), [row.label for row in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_xlim(0, 1.18 * max(1, *(row.values[0] for row in rows)))
        ax.set_xlabel(f"{_set(table.columns[0].label)}, %")
        ax.grid(axis="x")
        figure.suptitle(_set(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
        return figure


def _draw_sizes(table: Table, columns: Sequence[int], title: str, theme: Theme) -> Figure:
    with themed(theme):
        figure, ax = plt.subplots(figsize=(5.4, 3.4))
        for i, row in enumerate(table.rows):
            shift = 0.08 * (i - (len(table.rows) - 1) / 2)  # so that equal values do not hide each other
            points = [(x + shift, row.values[c]) for x, c in enumerate(columns) if row.values[c] is not None]
            style = look(row.method)
            ax.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=color(row.method, theme),
                marker=style.marker,
                linestyle=style.line,
                markersize=7,
                linewidth=1.4,
                label=row.label,
            )
        ax.set_xticks(range(3), ["small", "medium", "large"])
        ax.set(title=title, ylabel="AP, %", xlim=(-0.4, 2.4))
        ax.set_ylim(0, None)
        ax.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return figure


def _set(text: str) -> str:
    """AP_S as the papers set it."""
    return re.sub(r"AP_([SML])", r"AP$_\1$", text)
