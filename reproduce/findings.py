"""What the numbers say, in sentences computed from them: who is above whom and by how much, and how sure that is."""

from collections.abc import Sequence

from .gather import Gathered
from .methods import look
from .table import Row, Table

#: Percent: below it a detector has not begun to detect, and differences are those of a few lucky boxes.
FLOOR = 1.0


def findings(tables: Sequence[Table], gathered: Gathered) -> list[str]:
    """The count of measures won and lost, a sentence a table, then the caveats."""
    tables = [table for table in tables if any(row.values[0] is not None for row in table.rows)]
    # A probe of every layer is one measure, by its best layer; the others would be counted as measures of their own.
    tables = [table for table in tables if not gathered.are_of_one_layer(table.sources)]
    telling = [table for table in tables if not _says_nothing(table)]
    sentences = [_sentence(table) for table in telling]
    silent = [table.subject for table in tables if table not in telling]
    if silent:
        sentences.append(f"{', '.join(silent)}: every method is below {FLOOR:.0f}, too little to tell them apart.")
    return _count(telling) + [sentence for sentence in sentences if sentence] + caveats(tables, gathered)


def caveats(tables: Sequence[Table], gathered: Gathered) -> list[str]:
    """What limits every sentence: the number of seeds, unequal training lengths, results that were left out."""
    said = []
    seeds = sorted({seed for table in tables for row in table.rows for seed in row.seeds})
    compared = [row for table in tables for row in table.rows if row.kind == "pretrained"]
    if any(row.trials > 1 for row in compared):
        said += _spread_caveats(compared)
    elif len(seeds) == 1:
        said.append(
            f"One seed ({seeds[0]}) of each: how much chance moves these numbers is not known, and a difference of a "
            "point or two may be nothing else."
        )
    elif seeds:
        said.append(f"Seeds {', '.join(map(str, seeds))}, one of each: the noise between seeds was not measured.")
    lengths = {
        method: pretraining.lines[-1]["iteration"]
        for method, pretraining in gathered.pretraining.items()
        if pretraining.lines and look(method).kind == "pretrained"
    }
    if len(set(lengths.values())) > 1:
        by_method = ", ".join(f"{look(method).label} {count}" for method, count in lengths.items())
        said.append(f"The methods were NOT pretrained equally long (last logged iteration: {by_method}).")
    if gathered.left_out:
        said.append(f"{len(gathered.left_out)} file(s) were left out, whole or in part; they are named below.")
    return said


def _spread_caveats(rows: Sequence[Row]) -> list[str]:
    """Of what the spread is one, and who has none."""
    said = []
    single = list(dict.fromkeys(row.label for row in rows if row.trials == 1))
    if single:
        said.append(f"One trial alone, without a spread, in some table: {', '.join(single)}.")
    one = list(dict.fromkeys(row.label for row in rows if row.pretrainings < 2 and row.trials > 1))
    several = [row for row in rows if row.pretrainings > 1]
    if one:
        of = f" of {', '.join(one)}" if several else ""
        said.append(
            f"The spread{of} is that of fine-tuning or of the probe, from one pretraining a method. What another seed "
            "of the pretraining would change is not in it."
        )
    if any(len(row.largest.values) > row.pretrainings for row in several):
        said.append(
            "Where a method has several pretrainings, each counts as one value, the mean of its trials: trials of one "
            "pretraining share its luck and are no draws of the method."
        )
    return said


def _count(tables: Sequence[Table]) -> list[str]:
    """How often each method is above and below its baseline, over the first columns of the tables."""
    points: dict[tuple[str, str], list[float]] = {}
    for table in tables:
        base = table.row(table.baseline)
        for row in {row.method: row for row in reversed(_challengers(table))}.values():
            if base and _both(row, base):
                pair = look(row.method).label, look(table.baseline).label
                points.setdefault(pair, []).append(_points(row.values[0], base.values[0]))
    said = []
    for (method, baseline), found in points.items():
        above, below = sum(p > 0 for p in found), sum(p < 0 for p in found)
        level = f", level with it on {len(found) - above - below}" if above + below < len(found) else ""
        said.append(f"{method} is above {baseline} on {above} of {len(found)} measures, below it on {below}{level}.")
    return said


def _sentence(table: Table) -> str:
    """The methods against the reference, and the best of them against the strongest row without pretraining."""
    reference = table.row(table.baseline)
    parts = [
        f"{row.label} ({row.values[0]:.1f}) is {difference(row.values[0], reference.values[0])} {reference.label} "
        f"({reference.values[0]:.1f})"
        for row in _challengers(table)
        if reference is not None and _both(row, reference)
    ]
    best, floor = _highest(table, ("pretrained",)), _highest(table, ("random", "baseline"))
    if best is not None and floor is not None and floor is not reference:  # beside the reference it is said already
        parts.append(
            f"{best.label}, the best pretrained, is {difference(best.values[0], floor.values[0])} {floor.label} "
            f"({floor.values[0]:.1f}), the strongest without pretraining"
        )
    return f"{table.subject}: {'; '.join(parts)}." if parts else ""


def _says_nothing(table: Table) -> bool:
    return all(row.values[0] is None or row.values[0] < FLOOR for row in table.rows)


def _challengers(table: Table) -> list[Row]:
    return [row for row in table.rows if row.kind == "pretrained" and row.method != table.baseline]


def _both(row: Row, other: Row) -> bool:
    return row.values[0] is not None and other.values[0] is not None


def _highest(table: Table, kinds: Sequence[str]) -> Row | None:
    rows = [row for row in table.rows if row.kind in kinds and row.values[0] is not None]
    return max(rows, key=lambda row: row.values[0], default=None)


def difference(value: float, reference: float) -> str:
    """``"1.2 points below"``, ``"0.4 points above"``, ``"level with"``."""
    points = _points(value, reference)
    if points == 0:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def _points(value: float, reference: float) -> float:
    """Of the unrounded numbers, as the tables' differences and the verdicts' are, with one decimal."""
    return round(value - reference, 1)
