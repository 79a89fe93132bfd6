"""What the methods are measured against: the reference where it was measured, else the random start and papers.

The reference is MoCo v2. Where a table has none of it and the user named no other baseline, the random start takes its
place, and a published number of MoCo v2 under the same protocol, if there is one, is compared with as what it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .ledger import Published
from .methods import REFERENCE, UNTRAINED, look
from .table import PublishedRow, Row, Table

ABSENT = f"{look(REFERENCE).label} was not measured under this protocol: differences are from {look(UNTRAINED).label}."


@dataclass(frozen=True)
class PublishedSample:
    """A published mean, percent, with the spread and the number of trials that its source gives: if it gives none, one
    trial without a spread."""

    mean: float
    std: float | None = None
    trials: int | None = None

    @property
    def count(self) -> int:
        return self.trials or 1

    @property
    def spread_is_known(self) -> bool:
        return self.count > 1 and bool(self.std)

    @property
    def made_of(self) -> str:
        return f"{self.count} trial{'' if self.count == 1 else 's'}"


def fall_back(tables: Sequence[Table]) -> list[Table]:
    """The tables, those without the reference with the random start for a baseline, if they have it, and a note."""
    found = []
    for table in tables:
        if table.baseline == REFERENCE and not table.row(REFERENCE) and table.row(UNTRAINED):
            table = replace(table, baseline=UNTRAINED, notes=(*table.notes, ABSENT))
        found.append(table)
    return found


def published_reference(table: Table, row: Row) -> PublishedRow | None:
    """The published line of the reference that ``row`` is compared with in the first column; None if there is none.

    Only where the reference was not measured. Of several lines the one of as many epochs as the row's, then the one
    with the most trials, then the first.
    """
    if table.row(REFERENCE):
        return None
    lines = [line for line in table.published if is_reference(line.entry) and line.values[0] is not None]
    as_long = [line for line in lines if row.epochs and line.entry.epochs == row.epochs]
    return max(as_long or lines, key=lambda line: line.entry.trials or 1, default=None)


def is_reference(entry: Published) -> bool:
    return entry.method == look(REFERENCE).label


def published_sample(line: PublishedRow) -> PublishedSample:
    """Of the first column. The spread counts only with the number of trials that it is of."""
    trials = line.entry.trials
    std = float(line.spreads[0]) if trials and line.spreads[0] is not None else None
    return PublishedSample(float(line.values[0]), std, trials)
