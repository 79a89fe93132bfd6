"""The first lines of every format: what was measured, with what, and whether the claim stands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from .comparisons import Comparison
from .judging import Judged
from .measured import Measured
from .methods import REFERENCE, look
from .setting import in_words
from .table import Table
from .verdicts import Word


@dataclass(frozen=True)
class Headline:
    """``word``: the verdict on AP_S, or on the first thing that was measured; empty where there are several."""

    question: str
    word: str
    answer: str
    measured: str
    paper: str


def headline(
    tables: Sequence[Table],
    comparisons: Sequence[Comparison],
    judged: Sequence[Judged],
    first: Sequence[Measured],
    data: str,
) -> Headline:
    """``first``: the results of the first table; ``data``: ``"photographs"``, or what else was measured on."""
    paper = _paper(judged)
    if not tables:
        return Headline("Nothing was measured.", "", "No result file could be used.", "", paper)
    table = tables[0]
    measured, base = _measured(table, first, data), look(table.baseline).label
    mine = [c for c in comparisons if c.table == table.key]
    if not mine:
        protocol = table.columns[0].protocol.title
        answer = f"Not answered: no pretrained method stands beside {base} under {protocol}."
        return Headline(f"Does it transfer better than {base}?", "", answer, measured, paper)
    methods = " and ".join(dict.fromkeys(c.method for c in mine))
    bases = " and ".join(dict.fromkeys(c.baseline for c in mine))
    question = f"{'Do' if ' and ' in methods else 'Does'} {methods} transfer better than {bases}?"
    said = [f"{c.subject}: {c.measured}. {c.verdict.word.capitalize()}: {c.verdict.reason}." for c in mine]
    if not table.row(REFERENCE) and REFERENCE not in {c.method for c in mine} and table.baseline != REFERENCE:
        said.insert(0, f"{look(REFERENCE).label} was not measured here; the baseline is {base}.")
    others = Counter(c.verdict.word for c in comparisons if c.table != table.key)
    if others:
        said.append(f"The other {sum(others.values())} comparisons: {_counted(others)}.")
    words = list(dict.fromkeys(c.verdict.word for c in mine))
    return Headline(question, words[0] if len(words) == 1 else "", " ".join(said), measured, paper)


def _measured(table: Table, first: Sequence[Measured], data: str) -> str:
    """``"COCO AP_S (boxes) in percent (COCO), protocol …; engine …; detector, backbone, schedule; data …; trials"``."""
    column = table.columns[0]
    parts = [
        f"{table.subject} in percent ({column.flavour}), protocol {column.protocol.title}",
        f"engine {column.protocol.engine}",
        in_words(first),
        f"data: {column.protocol.dataset}, {column.protocol.images} images, {data}",
        _counts(table),
    ]
    return "; ".join(part for part in parts if part)


def _counts(table: Table) -> str:
    """``"3 trials a method"``, ``"1 to 3 trials a method"``, with pretrainings method by method."""
    made_of = list(dict.fromkeys(row.made_of for row in table.rows))
    if len(made_of) == 1:
        return f"{made_of[0]} a method"
    if all(row.pretrainings < 2 for row in table.rows):
        trials = [row.trials for row in table.rows]
        return f"{min(trials)} to {max(trials)} trials a method"
    return ", ".join(f"{row.label} {row.made_of}" for row in table.rows)


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
    return "; ".join(f"{counts[word]} {word}" for word in get_args(Word) if counts[word])
