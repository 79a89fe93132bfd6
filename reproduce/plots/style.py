"""What all plots share: the two grounds, type and grid, and how a method looks: apart by colour, marker and line."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from ..methods import look
from ..table import Column, Row

DPI = 200

#: Inches. At the width of a phone a figure is shrunk to 3.7, and its smallest type to what can just be read.
WIDTH = 5.4

#: Characters.
LONG_LABEL = 18


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
    """``draw(theme)`` makes the figure.

    ``section``: key of the table beside which a reader looks for it; empty: after all of them. ``is_wide``: too wide
    for a column of text, so it takes the page's width and can be scrolled by itself.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Theme], Figure]
    section: str = ""
    is_wide: bool = False


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


def color(method: str, theme: Theme) -> str:
    return look(method).dark if theme.name == "dark" else look(method).light


def row_styles(rows: Sequence[Row], theme: Theme) -> list[dict[str, Any]]:
    """For each row what ``Axes.plot`` takes: its method's look, hollow where the method has had a row already."""
    styles, seen = [], set()
    for row in rows:
        style = look(row.method)
        drawn = {"color": color(row.method, theme), "marker": style.marker, "linestyle": style.line, "label": row.label}
        if row.method in seen:
            drawn["markerfacecolor"] = theme.ground
        seen.add(row.method)
        styles.append(drawn)
    return styles


def add_title(figure: Figure, title: str) -> None:
    """At the figure's left edge: an axes' own title begins behind the labels of its rows."""
    figure.suptitle(typeset(title), x=0.01, ha="left", fontsize=11, fontweight="bold")


def add_legend(figure: Figure) -> None:
    """Below the plot, in as many columns as have room."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    inches = 0.65 + 0.08 * max(map(len, labels), default=0)
    columns = max(1, int(figure.get_figwidth() / inches))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.6)


def wrapped(label: str) -> str:
    """A row's label, if it is long with brackets on a line of their own: it takes its room from the plot."""
    return label.replace(" (", "\n(") if len(label) > LONG_LABEL else label


def row_pitch(labels: Sequence[str]) -> float:
    """Inches for each of the rows with these labels."""
    return max(0.36, *(0.18 * (1 + wrapped(label).count("\n")) for label in labels))


def measured_by(column: Column) -> str:
    """Protocol, metric flavour, engine and data: the beginning of a caption."""
    protocol = column.protocol
    return f"{protocol.title}, {column.flavour}, {protocol.engine}, {protocol.dataset}."


def typeset(text: str) -> str:
    """AP_S as the papers set it."""
    return re.sub(r"AP_([SML])", r"AP$_\1$", text)
