"""Mean and standard deviation of the values of several results, and the plain table in which a series is printed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Of one value over some trials. ``mean`` is None where a trial has none, ``std`` also where there is one trial."""

    mean: float | None
    std: float | None

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        return f"{self.mean:.2f}" if self.std is None else f"{self.mean:.2f} ± {self.std:.2f}"


def spread(values: Sequence[float | None]) -> Spread:
    """Mean, and the standard deviation of a sample (n - 1 in the denominator). Undefined values leave both undefined:
    the mean of the others would be one of other trials."""
    if not values or any(value is None for value in values):
        return Spread(None, None)
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def spreads(results: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """The spread of each value of some ``result.json``, in the order of the first."""
    return {name: spread([result["values"].get(name) for result in results]) for name in results[0]["values"]}


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def printed(value: float | None) -> str:
    """A percentage, or a dash where it is not defined."""
    return "-" if value is None else f"{value:.2f}"
