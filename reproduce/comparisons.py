"""The report's own question, table by table: does a method stand above the baseline, both measured here, alike?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .claims import Judged, cell
from .findings import FLOOR
from .methods import look
from .table import Row, Table
from .verdicts import Verdict, above

WORDS = ("reproduced", "within noise", "not reproduced", "not comparable")


@dataclass(frozen=True)
class Comparison:
    """The verdict on "``method`` is above the baseline" in the first column of a table."""

    table: str
    subject: str
    protocol: str
    engine: str
    method: str
    baseline: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True)
class Headline:
    """The first lines of every format. ``word``: the verdict on AP_S, or on the first thing that was measured."""

    question: str
    word: str
    answer: str
    measured: str
    paper: str


def compare(tables: Sequence[Table]) -> list[Comparison]:
    """Every pretrained method against the baseline, in the first column of each table that has both."""
    found = []
    for table in tables:
        bases = [row for row in table.rows if row.method == table.baseline and row.samples[0]]
        if len(bases) != 1:
            continue
        base, protocol = bases[0], table.columns[0].protocol
        for row in table.rows:
            if row.kind == "pretrained" and row.method != table.baseline and row.samples[0]:
                measured = f"{row.label} {cell(table, row, 0)}, {base.label} {cell(table, base, 0)}"
                verdict = _verdict(row, base)
                words = (table.key, table.subject, protocol.title, protocol.engine, row.label, base.label)
                found.append(Comparison(*words, measured, verdict))
    return found


def _verdict(row: Row, base: Row) -> Verdict:
    verdict = above(row.samples[0], base.samples[0])
    if verdict.interval is None and max(row.samples[0].mean, base.samples[0].mean) < FLOOR:
        return replace(verdict, reason=f"{verdict.reason}; both are below {FLOOR:.0f} of 100: almost nothing found")
    return verdict


def headline(
    tables: Sequence[Table], comparisons: Sequence[Comparison], judged: Sequence[Judged], data: str
) -> Headline:
    """What was measured, with what, and whether the claim stands."""
    paper = _paper(judged)
    if not tables:
        return Headline("Nothing was measured.", "", "No result file could be used.", "", paper)
    first = [c for c in comparisons if c.table == tables[0].key]
    if not first:
        base = look(tables[0].baseline).label
        question = f"Does it transfer better than {base}?"
        answer = f"Not answered: no pretrained method stands beside {base} under {tables[0].columns[0].protocol.title}."
        return Headline(question, "", answer, _measured(tables[0], data), paper)
    methods = " and ".join(dict.fromkeys(c.method for c in first))
    question = f"{'Do' if ' and ' in methods else 'Does'} {methods} transfer better than {first[0].baseline}?"
    words = list(dict.fromkeys(c.verdict.word for c in first))
    answer = " ".join(f"{c.subject}: {c.measured}. {c.verdict.word.capitalize()}: {c.verdict.reason}." for c in first)
    others = Counter(c.verdict.word for c in comparisons if c.table != tables[0].key)
    if others:
        answer += f" The other {sum(others.values())} comparisons: {_counted(others)}."
    return Headline(question, words[0] if len(words) == 1 else "", answer, _measured(tables[0], data), paper)


def _measured(table: Table, data: str) -> str:
    """``"COCO AP_S (boxes) in percent, protocol …, engine …; data …; backbone …; trials …"``."""
    column = table.columns[0]
    depths = sorted({row.depth for row in table.rows if row.depth})
    trials = {row.trials for row in table.rows}
    counts = f"{min(trials)}" if len(trials) == 1 else f"{min(trials)} to {max(trials)}"
    parts = [f"{table.subject} in percent ({column.flavour}), protocol {column.protocol.title}"]
    parts.append(f"engine {column.protocol.engine}")
    parts.append(f"backbone {' and '.join(f'ResNet-{d}' for d in depths)}" if depths else "")
    parts.append(f"data: {column.protocol.dataset}, {column.protocol.images} images, {data}")
    parts.append(f"{counts} trial{'' if trials == {1} else 's'} a method")
    return "; ".join(part for part in parts if part)


def _paper(judged: Sequence[Judged]) -> str:
    if not judged:
        return ""
    counts = Counter(j.verdict.word for j in judged)
    first = judged[0]
    return (
        f"Of {len(judged)} claims, {_counted(counts)}. First of them, {first.claim.statement.rstrip('.')}: "
        f"{first.verdict.word} ({first.verdict.reason})."
    )


def _counted(counts: Counter) -> str:
    return ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
