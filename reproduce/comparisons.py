"""The report's own question, table by table: does a method stand above the baseline, both measured here, alike?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .baseline import published_reference, published_sample
from .findings import FLOOR
from .judging import cell
from .table import Row, Table
from .verdicts import Summary, Verdict
from .verdicts import compare as verdict_on


@dataclass(frozen=True)
class Comparison:
    """Where ``method`` stands beside the baseline in the first column of a table.

    ``published``: the baseline is a published number of the same protocol, and was not measured here.
    """

    table: str
    subject: str
    protocol: str
    engine: str
    method: str
    baseline: str
    measured: str
    verdict: Verdict
    published: bool = False


def compare(tables: Sequence[Table]) -> list[Comparison]:
    """Every pretrained method against the baseline, in the first column of each table that has both.

    Where MoCo v2 was not measured, also against its published number, if one stands beside.
    """
    found = []
    for table in tables:
        bases = [row for row in table.rows if row.method == table.baseline and row.samples[0]]
        for row in table.rows:
            if row.kind == "pretrained" and row.method != table.baseline and row.samples[0]:
                if len(bases) == 1:
                    found.append(_with_measured(table, row, bases[0]))
                found += _with_published(table, row)
    return found


def _with_measured(table: Table, row: Row, base: Row) -> Comparison:
    measured = f"{row.label} {cell(table, row, 0)}, {base.label} {cell(table, base, 0)}"
    return Comparison(*_where(table), row.label, base.label, measured, _verdict(row.samples[0], base.samples[0]))


def _with_published(table: Table, row: Row) -> list[Comparison]:
    line = published_reference(table, row)
    if line is None:
        return []
    base, entry = published_sample(line), line.entry
    spread = f" ± {line.spreads[0]}" if line.spreads[0] is not None else ""
    source = f"published, not measured here: {entry.source}, {base.made_of}" + ("" if entry.trials else " assumed")
    measured = f"{row.label} {cell(table, row, 0)}, {line.label} {line.values[0]}{spread} ({source})"
    verdict = _verdict(row.samples[0], base)
    return [Comparison(*_where(table), row.label, f"{line.label} (published)", measured, verdict, published=True)]


def _where(table: Table) -> tuple[str, str, str, str]:
    protocol = table.columns[0].protocol
    return table.key, table.subject, protocol.title, protocol.engine


def _verdict(a: Summary, b: Summary) -> Verdict:
    verdict = verdict_on(a, b)
    if verdict.interval is None and max(a.mean, b.mean) < FLOOR:
        return replace(verdict, reason=f"{verdict.reason}; both are below {FLOOR:.0f} of 100: almost nothing found")
    return verdict
