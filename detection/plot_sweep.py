"""The picture of a sweep: average precision over the values of one key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from .series_summary import spread

#: What is drawn, where a result has it: label, colour (Okabe and Ito, told apart by colour-blind readers), marker.
CURVES = {
    "bbox/AP50": ("box AP50", "#E69F00", "s"),
    "bbox/AP": ("box AP", "#0072B2", "o"),
    "bbox/AP75": ("box AP75", "#009E73", "^"),
    "bbox/APs": ("box AP_S", "#D55E00", "v"),
    "segm/AP": ("mask AP", "#CC79A7", "D"),
}
#: A logarithmic axis serves positive values that span at least this factor.
LOG_SPAN = 5.0


def write_plot(path: Path, key: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw ``path`` (PNG).

    Args:
        results: value of the key as text -> its ``result.json`` contents, one a trial, none where it failed. With
            trials the mean is drawn with a bar of one standard deviation, and each trial as a dot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    positions, is_numeric = axis_positions(list(results))
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, (label, colour, marker) in CURVES.items():
        points = []  # (position, mean, deviation)
        for position, trials in zip(positions, results.values(), strict=True):
            values = [trial["values"].get(name) for trial in trials]
            found = spread(values)
            if found.mean is not None:
                points.append((position, found.mean, found.std or 0.0))
                if len(values) > 1:
                    axes.plot([position] * len(values), values, ".", color=colour, alpha=0.45, markersize=5)
        if points:
            x, mean, deviation = zip(*sorted(points), strict=True)
            axes.errorbar(x, mean, deviation, color=colour, marker=marker, capsize=3, label=label, linewidth=1.4)
    if is_numeric and min(positions) > 0 and max(positions) / min(positions) >= LOG_SPAN:
        axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(positions, list(results))
    for position, trials in zip(positions, results.values(), strict=True):
        if not trials:
            axes.axvline(position, color="#999999", linestyle=":")
            axes.text(
                position, 0.5, "failed", rotation=90, ha="right", va="center", transform=axes.get_xaxis_transform()
            )
    axes.set_xlabel(key)
    axes.set_ylabel("percent")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(CURVES), loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.2)
    first = next(trial for trials in results.values() for trial in trials)
    counts = {len(trials) for trials in results.values() if trials}
    how = f"mean and standard deviation of {max(counts)} trials" if max(counts) > 1 else "one run each"
    figure.suptitle(f"{first['dataset']['name']}, {first['engine']}, {how}", fontsize=10)
    with matplotlib.rc_context({"savefig.dpi": 150}):
        figure.savefig(path)


def axis_positions(values: Sequence[str]) -> tuple[list[float], bool]:
    """Where the values stand on the axis: at their number if all are numbers, else side by side; and which it was."""
    try:
        return [float(value) for value in values], True
    except ValueError:
        return [float(k) for k in range(len(values))], False
