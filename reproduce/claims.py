"""The claims of ``configs/reproduce/claims.yaml``, each judged by the tables: like with like, or not at all."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import yaml

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

from .departures import in_words
from .methods import look
from .subjects import CLASSIFICATION_FLAVOURS
from .table import Column, Row, Table
from .verdicts import Verdict, above, at_most_below

PAPER = "configs/reproduce/claims.yaml"
TESTS = ("above", "at_most_below")

#: Images of the full test data, by what a result calls them; the last: trainval and test.
FULL_SIZES = {"coco_2017_val": 5000, "voc_2007_test": 4952, "VOC2007 trainval -> test": 9963}


@dataclass(frozen=True)
class Side:
    """``methods``: the first one that has a result stands. ``printed``: the paper's number, None where it has none."""

    methods: tuple[str, ...]
    printed: float | None = None


@dataclass(frozen=True)
class Claim:
    """One entry of the file. ``key_b`` and ``flavour_b``: where B's number was measured by another definition."""

    id: str
    statement: str
    test: Literal["above", "at_most_below"]
    a: Side
    b: Side
    key: str
    flavour: str
    protocols: tuple[str, ...]
    to_settle: str
    flavours: str
    margin: float = 0.0
    engine: str | None = None
    key_b: str | None = None
    flavour_b: str | None = None
    depth: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict; ``measured``: what there is on its two sides, in words (empty where nothing is)."""

    claim: Claim
    verdict: Verdict
    measured: str


def read_claims(file: str | Path = PAPER) -> list[Claim]:
    """The claims of a YAML file.

    Raises:
        InputError: the file, the claim and the field that break the schema.
    """
    path = find_config(str(file))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    listed = content.get("claims") if isinstance(content, dict) else None
    if not isinstance(listed, list) or set(content) != {"claims"}:
        raise InputError(f"{path} must hold one key, claims, with a list")
    return [check_claim(entry, f"{path.name}, claim {i}") for i, entry in enumerate(listed, 1)]


def check_claim(entry: Any, where: str) -> Claim:
    """The entry as a :class:`Claim`; an ``InputError`` names the field."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {entry!r}, it must be a mapping")
    known = {f.name: f.default is MISSING for f in fields(Claim)}
    for name in entry:
        if name not in known:
            raise InputError(f"{where}: unknown field {name!r}, known are {', '.join(known)}")
    for name, required in known.items():
        if required and not entry.get(name):
            raise InputError(f"{where}: {name} is missing")
    if entry["test"] not in TESTS:
        raise InputError(f"{where}: test is {entry['test']!r}, it must be one of {', '.join(TESTS)}")
    sides = {}
    for name in ("a", "b"):
        side = entry[name]
        if (
            not isinstance(side, dict)
            or not isinstance(side.get("methods"), list)
            or set(side) - {"methods", "printed"}
        ):
            raise InputError(f"{where}: {name} is {side!r}, it must hold methods (a list), and printed if there is one")
        sides[name] = Side(tuple(side["methods"]), side.get("printed"))
    return Claim(**{**entry, **sides, "protocols": tuple(entry["protocols"])})


def judge_all(claims: Sequence[Claim], tables: Sequence[Table]) -> list[Judged]:
    return [judge(claim, tables) for claim in claims]


def judge(claim: Claim, tables: Sequence[Table]) -> Judged:
    """The verdict on a claim: of the tables where both sides stand, the one with the fewest obstacles."""
    candidates = []
    for table in tables:
        for i, column in enumerate(table.columns):
            if (column.key, column.flavour) == (claim.key, claim.flavour):
                a, b = _side(table, claim.a, i), _side(table, claim.b, i)
                if a and b:
                    candidates.append((_obstacles(claim, table, column, a, b), table, i, a, b))
    if not candidates:
        return Judged(claim, Verdict("not comparable", _absent(claim, tables)), _alone(claim, tables))
    obstacles, table, i, a, b = min(candidates, key=lambda found: len(found[0]))
    measured = _measured(claim, table, i, a, b)
    if obstacles:
        return Judged(claim, Verdict("not comparable", "; ".join(obstacles)), measured)
    test = above if claim.test == "above" else at_most_below
    return Judged(claim, test(a.samples[i], b.samples[i], claim.margin), measured)


def _side(table: Table, side: Side, column: int) -> Row | None:
    rows = [row for method in side.methods for row in table.rows if row.method == method and row.samples[column]]
    return rows[0] if rows else None


def _obstacles(claim: Claim, table: Table, column: Column, a: Row, b: Row) -> list[str]:
    """Why the two rows, though they compare with each other, do not bear on the claim."""
    protocol, said = column.protocol, []
    if claim.flavour_b and claim.flavour_b != claim.flavour:
        said.append(f"metric flavour: the claim sets {claim.flavour} beside {claim.flavour_b}")
    if protocol.miniature:
        said.append("data: the miniature world, not photographs")
    elif protocol.dataset in FULL_SIZES and protocol.images != FULL_SIZES[protocol.dataset]:
        said.append(f"data: {protocol.images} images of {protocol.dataset}, in full {FULL_SIZES[protocol.dataset]}")
    if claim.engine and protocol.engine != claim.engine:
        said.append(f"engine: {protocol.engine}, the claim's is {claim.engine}")
    if not any(fnmatch(protocol.name, pattern) for pattern in claim.protocols):
        said.append(f"protocol: {protocol.name} is none of {', '.join(claim.protocols)}")
    if table.departures:
        said.append(f"settings other than the published protocol's: {in_words(table.departures)}")
    for row in (a, b):
        if claim.depth and row.depth not in (None, claim.depth):
            said.append(f"backbone: {row.label} is a ResNet-{row.depth}, not a ResNet-{claim.depth}")
    for row in (a, b):
        if claim.epochs and row.epochs not in (None, claim.epochs):
            said.append(f"pretraining: {row.label} has {row.epochs} epochs, not {claim.epochs}")
    for row in (a, b):
        same = [r for r in table.rows if r.method == row.method]
        if len(same) > 1:
            said.append(f"{look(row.method).label} has {len(same)} rows here: report the one that is meant by itself")
    return said


def _measured(claim: Claim, table: Table, column: int, a: Row, b: Row) -> str:
    where = f"{table.columns[column].protocol.title}, {table.columns[column].protocol.engine}"
    said = f"{a.label} {cell(table, a, column)}, {b.label} {cell(table, b, column)} ({where})"
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
    """``"57.0 ± 0.20 (n = 5)"``; without spread and count for one trial."""
    spread, found = table.spread(row, column), row.samples[column]
    return table.printed(row, column) + (f" ± {spread} (n = {found.count})" if spread else "")
