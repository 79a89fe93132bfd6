"""What a table of the report is: in a column one metric flavour, in a row the pretrainings and trials of one method."""

from dataclasses import dataclass

from .ledger import Published
from .methods import REFERENCE, Kind
from .protocol import Protocol
from .trials import Sample


@dataclass(frozen=True)
class Column:
    """``key`` is the value's name in result.json."""

    key: str
    label: str
    flavour: str
    protocol: Protocol


@dataclass(frozen=True)
class Row:
    """``samples``: one a column, None where it was not measured or is not defined.

    ``weights``: SHA-256 of the weights, one a pretraining; ``depth``, ``epochs``: of the weights' manifests, None where
    they say nothing or several things; ``sources``: the result files; ``reestimated``: whether BatchNorm's statistics
    were re-estimated for a probe.
    """

    method: str
    label: str
    kind: Kind
    samples: tuple[Sample | None, ...]
    seeds: tuple[int, ...]
    weights: tuple[str, ...] = ()
    depth: int | None = None
    epochs: int | None = None
    sources: tuple[str, ...] = ()
    reestimated: bool = False

    @property
    def values(self) -> tuple[float | None, ...]:
        """The means, percent."""
        return tuple(found and found.mean for found in self.samples)

    @property
    def largest(self) -> Sample | None:
        """The sample with the most values: what the row was made of."""
        return max((found for found in self.samples if found), key=lambda found: len(found.values), default=None)

    @property
    def trials(self) -> int:
        """The n of means and standard deviations: of pretrainings where there are several, else of trials."""
        return max((found.count for found in self.samples if found), default=0)

    @property
    def pretrainings(self) -> int:
        """How many; 1 where all trials are of one, or where nothing was pretrained."""
        return len(self.largest.groups) if self.largest else 0

    @property
    def made_of(self) -> str:
        """``"3 pretrainings x 5 trials"``."""
        return self.largest.made_of if self.largest else ""


@dataclass(frozen=True)
class PublishedRow:
    """A published entry beside measurements of the same protocol; ``values``: one a column."""

    label: str
    values: tuple[float | None, ...]
    spreads: tuple[float | None, ...]
    entry: Published


@dataclass(frozen=True)
class Table:
    """The first column is the headline, ``subject`` its name in a sentence; ``baseline``: the method of the deltas."""

    key: str
    title: str
    subject: str
    lead: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    baseline: str = REFERENCE
    published: tuple[PublishedRow, ...] = ()
    departures: tuple[str, ...] = ()

    @property
    def decimals(self) -> int:
        """One, as the papers print; two where a headline below 1 would leave nothing to read."""
        return 1 if max((row.values[0] or 0 for row in self.rows), default=0) >= 1 else 2

    def printed(self, row: Row, column: int) -> str:
        """A mean as every format prints it; a dash where it was not measured or is not defined."""
        value = row.values[column]
        return "–" if value is None else f"{value:.{self.decimals}f}"

    def spread(self, row: Row, column: int) -> str:
        """``"0.2"``, the standard deviation over pretrainings, or over the trials of one; empty for one value."""
        found = row.samples[column]
        return "" if found is None or found.std is None else f"{found.std:.{max(self.decimals, 2)}f}"

    def delta(self, row: Row, column: int) -> float | None:
        """To the baseline, of the unrounded means, as a verdict does; None for itself, or where it has no one row."""
        base = [r for r in self.rows if r.method == self.baseline]
        if len(base) != 1 or row is base[0] or row.values[column] is None or base[0].values[column] is None:
            return None
        return row.values[column] - base[0].values[column]

    def delta_text(self, row: Row, column: int) -> str:
        """``"+1.2"``, with a true minus; empty where there is none."""
        delta = self.delta(row, column)
        if delta is None:
            return ""
        return f"{round(delta, self.decimals) + 0.0:+.{self.decimals}f}".replace("-", "−")  # + 0.0: no minus before 0

    @property
    def has_deltas(self) -> bool:
        return any(self.delta(row, i) is not None for row in self.rows for i in range(len(self.columns)))

    @property
    def baseline_label(self) -> str:
        return next((row.label for row in self.rows if row.method == self.baseline), "")

    def is_best(self, row: Row, column: int) -> bool:
        """Whether the row has the highest value of a column, as printed, and not all rows have it."""
        printed = [round(r.values[column], self.decimals) for r in self.rows if r.values[column] is not None]
        value = row.values[column]
        return value is not None and round(value, self.decimals) == max(printed) > min(printed)

    @property
    def sources(self) -> list[str]:
        """The result files behind all rows."""
        return [source for row in self.rows for source in row.sources]

    def row(self, method: str) -> Row | None:
        return next((row for row in self.rows if row.method == method), None)
