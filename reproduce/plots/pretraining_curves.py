"""Losses and accuracies of pretraining, methods overlaid."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..gather import Gathered
from ..methods import look
from .style import WIDTH, Plot, Theme, add_legend, color, themed

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
                return _draw(gathered, key, title, axis, theme)

            plots.append(Plot(f"curve_{key}", title, caption, draw))
    return plots


def _draw(gathered: Gathered, key: str, title: str, axis: str, theme: Theme) -> Figure:
    with themed(theme):
        figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
        for method in gathered.methods:
            pretraining = gathered.pretraining.get(method)
            x, y = pretraining.series(key) if pretraining else ([], [])
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
        add_legend(figure)
        return figure
