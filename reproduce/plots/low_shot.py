"""Class mAP against the number of labelled images of each class, methods overlaid."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..gather import Gathered
from ..measured import Measured
from ..table import Row, Table
from ..trials import sample
from .style import WIDTH, Plot, Theme, add_legend, measured_by, row_styles, themed

#: Of the four average precisions that a low-shot result has.
FLAVOUR = "mAP envelope"

#: How the SVM's cost was chosen -> title, what it means.
CHOICES = {
    "cross_validated": (
        "Low-shot SVM, cost by cross-validation",
        "The cost is chosen within the labelled images alone: what a user would get.",
    ),
    "oracle_c": (
        "Low-shot SVM, cost chosen on the test set",
        "The cost is chosen on the test images, as in published tables: it flatters, most with few images.",
    ),
}


def low_shot_plots(tables: Sequence[Table], gathered: Gathered) -> list[Plot]:
    """A plot for each way to choose the cost, one line a row; the draws of all trials of a row are taken together."""
    plots = []
    for table in tables:
        for choice, (title, meaning) in CHOICES.items():
            draws = {row: samples_by_k(gathered.results(row.sources), choice) for row in table.rows}
            draws = {row: by_k for row, by_k in draws.items() if by_k}
            if not draws:
                continue

            def draw(
                theme: Theme, title: str = title, draws: Mapping[Row, Mapping[int, list[float]]] = draws
            ) -> Figure:
                return _draw(title, draws, theme)

            counts = sorted({len(samples) for by_k in draws.values() for samples in by_k.values()})
            number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            caption = (
                f"{measured_by(table.columns[0])} Mean of {number} draws of the labelled images; bars: their standard "
                f"deviation (n − 1). {meaning}"
            )
            plots.append(Plot(f"low_shot_{choice}_{table.key}", title, caption, draw, table.key))
    return plots


def samples_by_k(results: Sequence[Measured], choice: str) -> dict[int, list[float]]:
    """Images of each class -> the class mAP of each draw, percent, in rising order; empty for another probe."""
    found: dict[int, list[float]] = {}
    for measured in results:
        for k, by_choice in measured.result["details"].get("low_shot", {}).items():
            found.setdefault(int(k), []).extend(by_choice[choice][FLAVOUR]["samples"])
    return dict(sorted(found.items()))


def _draw(title: str, draws: Mapping[Row, Mapping[int, list[float]]], theme: Theme) -> Figure:
    with themed(theme):
        figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
        ax.set_xscale("log", base=2)
        for i, (by_k, style) in enumerate(zip(draws.values(), row_styles(list(draws), theme), strict=True)):
            shift = 2 ** (0.07 * (i - (len(draws) - 1) / 2))  # so that bars do not hide each other
            x = [k * shift for k in by_k]
            drawn = [sample(values) for values in by_k.values()]
            mean, deviation = [of_k.mean for of_k in drawn], [of_k.std or 0 for of_k in drawn]
            ax.errorbar(x, mean, deviation, **style, markersize=6, linewidth=1.5, elinewidth=1.2)
        ks = sorted({k for by_k in draws.values() for k in by_k})
        ax.minorticks_off()
        ax.set_xticks(ks, [str(k) for k in ks])
        ax.set(title=title, xlabel="labelled images of each class", ylabel="class mAP, envelope, %")
        ax.grid(axis="y")
        add_legend(figure)
        return figure
