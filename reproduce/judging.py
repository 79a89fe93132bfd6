"""The claims judged by the tables: like with like, every protocol that bears on one, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from .claims import Claim, Side
from .departures import in_words
from .full_sizes import full_size
from .methods import look
from .subjects import CLASSIFICATION_FLAVOURS
from .table import Column, Row, Table
from .verdicts import Verdict, above, at_most_below


@dataclass(frozen=True)
class Judgement:
    """The verdict of one table; ``measured``: its two sides, in words."""

    protocol: str
    engine: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict; ``measured``: what there is on its two sides, in words (empty where nothing is).

    ``by_table``: what the tables say that bear on the claim; where they do not agree, the verdict is *mixed*.
    """

    claim: Claim
    verdict: Verdict
    measured: str
    by_table: tuple[Judgement, ...] = ()


@dataclass(frozen=True)
class _Pair:
    """Both sides of a claim in one column of a table, and what keeps them from bearing on the claim."""

    table: Table
    column: int
    a: Row
    b: Row
    obstacles: list[str]

    @property
    def place(self) -> tuple[str, str]:
        protocol = self.table.columns[self.column].protocol
        return protocol.title, protocol.engine


def judge_all(claims: Sequence[Claim], tables: Sequence[Table]) -> list[Judged]:
    return [judge(claim, tables) for claim in claims]


def judge(claim: Claim, tables: Sequence[Table]) -> Judged:
    """The verdict on a claim: of every table where both sides stand and nothing keeps them from bearing on it."""
    pairs = _pairs(claim, tables)
    if not pairs:
        return Judged(claim, Verdict("not comparable", _absent(claim, tables)), _alone(claim, tables))
    bearing = [pair for pair in pairs if not pair.obstacles]
    if not bearing:
        pair = min(pairs, key=lambda pair: len(pair.obstacles))
        return Judged(claim, Verdict("not comparable", _nearest(pair, pairs)), _measured(claim, pair))
    found = tuple(Judgement(*pair.place, _measured(claim, pair), _test(claim, pair)) for pair in bearing)
    return Judged(claim, _together(found), "; ".join(one.measured for one in found), found)


def _nearest(pair: _Pair, pairs: Sequence[_Pair]) -> str:
    """The fewest obstacles that there are, and that there is no more to see elsewhere."""
    others = list(dict.fromkeys(", ".join(other.place) for other in pairs if other.place != pair.place))
    said = "; ".join(pair.obstacles)
    return said + (f". Nor does it bear on the claim under {'; '.join(others)}" if others else "")


def _test(claim: Claim, pair: _Pair) -> Verdict:
    test = above if claim.test == "above" else at_most_below
    return test(pair.a.samples[pair.column], pair.b.samples[pair.column], claim.margin)


def _together(found: Sequence[Judgement]) -> Verdict:
    """One table's own; of several all of them, under one word only where they agree."""
    if len(found) == 1:
        return found[0].verdict
    words = {one.verdict.word for one in found}
    alike = len(words) == 1
    said = [
        f"{one.protocol}, {one.engine}: {'' if alike else f'{one.verdict.word}, '}{one.verdict.reason}" for one in found
    ]
    return Verdict(words.pop() if alike else "mixed", "; ".join(said))


def _pairs(claim: Claim, tables: Sequence[Table]) -> list[_Pair]:
    """One for each column, though AP_S stands in two tables."""
    found: dict[Column, _Pair] = {}
    for table in tables:
        for i, column in enumerate(table.columns):
            if (column.key, column.flavour) == (claim.key, claim.flavour) and column not in found:
                a, b = _side(table, claim.a, i), _side(table, claim.b, i)
                if a and b:
                    found[column] = _Pair(table, i, a, b, _obstacles(claim, table, column, a, b))
    return list(found.values())


def _side(table: Table, side: Side, column: int) -> Row | None:
    rows = [row for method in side.methods for row in table.rows if row.method == method and row.samples[column]]
    return rows[0] if rows else None


def _obstacles(claim: Claim, table: Table, column: Column, a: Row, b: Row) -> list[str]:
    """Why the two rows, though they compare with each other, do not bear on the claim."""
    protocol, said = column.protocol, []
    if claim.flavour_b and claim.flavour_b != claim.flavour:
        said.append(f"metric flavour: the claim sets {claim.flavour} beside {claim.flavour_b}")
    in_full = full_size(protocol.dataset, protocol.name)
    if protocol.miniature:
        said.append("data: the miniature world, not photographs")
    elif in_full is None and not any(fnmatch(protocol.dataset, pattern) for pattern in claim.datasets):
        said.append(f"data: {protocol.dataset or 'data without a name'} is none that is known to be the claim's")
    elif in_full is not None and protocol.images != in_full:
        said.append(f"data: {protocol.images} images of {protocol.dataset}, in full {in_full}")
    if claim.engine and protocol.engine != claim.engine:
        said.append(f"engine: {protocol.engine}, the claim's is {claim.engine}")
    if not any(fnmatch(protocol.name, pattern) for pattern in claim.protocols):
        said.append(f"protocol: {protocol.name} is none of {', '.join(claim.protocols)}")
    if table.departures:
        said.append(f"settings other than the published protocol's: {in_words(table.departures)}")
    rows = (a, b) if a.depth != b.depth else (a,)
    for row in rows:
        if claim.depth and row.depth != claim.depth:
            depth = f"ResNet-{row.depth}" if row.depth else "of a depth that the result does not name"
            who = f"{row.label} is" if len(rows) > 1 else "both are"
            said.append(f"backbone: {who} {depth}, not ResNet-{claim.depth}")
    for row in (a, b):
        if claim.epochs and row.epochs not in (None, claim.epochs):
            said.append(f"pretraining: {row.label} has {row.epochs} epochs, not {claim.epochs}")
    for row in (a, b):
        same = [r for r in table.rows if r.method == row.method]
        if len(same) > 1:
            said.append(f"{look(row.method).label} has {len(same)} rows here: report the one that is meant by itself")
    return said


def _measured(claim: Claim, pair: _Pair) -> str:
    table, column, a, b = pair.table, pair.column, pair.a, pair.b
    said = f"{a.label} {cell(table, a, column)}, {b.label} {cell(table, b, column)} ({', '.join(pair.place)})"
    return said + _four(claim, table, a, b)


def _four(claim: Claim, table: Table, a: Row, b: Row) -> str:
    """The average precisions of the same scores, where the claim mixes them and they are at hand."""
    if claim.flavour not in CLASSIFICATION_FLAVOURS.values():
        return ""
    columns = [i for i, column in enumerate(table.columns) if column.key in CLASSIFICATION_FLAVOURS]
    parts = [
        f"{row.label} " + ", ".join(f"{table.columns[i].label} {table.printed(row, i)}" for i in columns)
        for row in dict.fromkeys((a, b))
    ]
    return f". The four average precisions of the same scores: {'; '.join(parts)}"


def _absent(claim: Claim, tables: Sequence[Table]) -> str:
    """Which side has no result, or why the two that there are do not stand in one column."""
    found = [
        {
            (c.protocol.title, c.protocol.engine)
            for table in tables
            for i, c in enumerate(table.columns)
            if (c.key, c.flavour) == wanted and _side(table, side, i)
        }
        for side, wanted in (
            (claim.a, (claim.key, claim.flavour)),
            (claim.b, (claim.key_b or claim.key, claim.flavour_b or claim.flavour)),
        )
    ]
    said = []
    if claim.flavour_b and claim.flavour_b != claim.flavour:
        said.append(f"metric flavour: the claim sets {claim.flavour} beside {claim.flavour_b}")
    missing = [side for side, where in zip((claim.a, claim.b), found, strict=True) if not where]
    if missing:
        names = " and of ".join(" or ".join(look(m).label for m in side.methods) for side in missing)
        said.append(f"no result of {names} in {claim.flavour}")
    if tables and all(c.protocol.miniature for table in tables for c in table.columns):
        said.append("data: the miniature world, not photographs")
    if not said:
        places = [" and ".join(f"{name}, {engine}" for name, engine in sorted(where)) for where in found]
        said.append(f"measured otherwise: one side under {places[0]}, the other under {places[1]}")
    return "; ".join(said)


def _alone(claim: Claim, tables: Sequence[Table]) -> str:
    """What there is of one side alone, with its four average precisions where the claim is about flavours."""
    # the claim's own protocol first: of a linear layer, not of an SVM
    ranked = sorted(tables, key=lambda t: not any(fnmatch(t.columns[0].protocol.name, p) for p in claim.protocols))
    for side in (claim.a, claim.b):
        for table in ranked:
            for i, column in enumerate(table.columns):
                row = _side(table, side, i) if column.key == claim.key and column.flavour == claim.flavour else None
                if row:
                    said = f"{row.label} {cell(table, row, i)} ({column.protocol.title}, {column.protocol.engine})"
                    return said + _four(claim, table, row, row)
    return ""


def cell(table: Table, row: Row, column: int) -> str:
    """``"57.0 ± 0.20 (n = 5)"``, ``"57.0 ± 0.20 (3 pretrainings x 5 trials)"``; the value alone for one trial."""
    spread, found = table.spread(row, column), row.samples[column]
    if not spread:
        return table.printed(row, column)
    n = found.made_of if found.unit == "pretrainings" else f"n = {found.count}"
    return f"{table.printed(row, column)} ± {spread} ({n})"
