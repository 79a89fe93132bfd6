"""What the report says, apart from how it is written down: the one object that all its formats are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clsa.configs.run_files import git_commit, versions

from .claims import Claim
from .comparisons import Comparison, compare
from .findings import findings
from .gather import Gathered
from .headline import Headline, headline
from .judging import Judged, judge_all
from .ledger import Published
from .measured import Measured
from .methods import look
from .progress import clock
from .table import PublishedRow, Table

NOT_COMPARABLE = (
    "Numbers from papers and repositories, each with its source. None of them was measured here. One stands beside a "
    "measurement, in the tables above, only where protocol, engine, metric flavour and the full data are the same."
)


@dataclass(frozen=True)
class Duration:
    """Wall time of one stage, minutes and seconds."""

    method: str
    what: str
    seconds: float


@dataclass(frozen=True)
class Content:
    """``facts``: (name, what) pairs on what was measured, with what."""

    title: str
    headline: Headline
    facts: list[tuple[str, str]]
    findings: list[str]
    tables: list[Table]
    comparisons: list[Comparison]
    claims: list[Judged]
    durations: list[Duration]
    published: list[Published]
    left_out: list[str]


def build_content(
    gathered: Gathered, tables: Sequence[Table], published: Sequence[Published], claims: Sequence[Claim]
) -> Content:
    """Put together what the formats share."""
    comparisons = compare(tables)
    judged = judge_all(claims, tables)
    first = gathered.results(tables[0].sources) if tables else []
    return Content(
        title="Does it transfer?",
        headline=headline(tables, comparisons, judged, first, _kind_of_data(first)),
        facts=_facts(gathered),
        findings=findings(tables, gathered),
        tables=list(tables),
        comparisons=comparisons,
        claims=judged,
        durations=_durations(gathered),
        published=list(published),
        left_out=list(gathered.left_out),
    )


def _facts(gathered: Gathered) -> list[tuple[str, str]]:
    facts = [("Methods", ", ".join(look(method).label for method in gathered.methods) or "none")]
    facts.append(("Data", _world(gathered.measured)))
    lengths = [
        f"{look(method).label} {pretraining.lines[-1]['iteration']}"
        for method, pretraining in gathered.pretraining.items()
        if pretraining.lines
    ]
    if lengths:
        facts.append(("Pretraining", f"{_network(gathered)}, iterations: {', '.join(lengths)}"))
    facts.append(("Seeds", ", ".join(str(s) for s in sorted({m.result["seed"] for m in gathered.measured})) or "none"))
    engines = sorted({m.result["engine"] for m in gathered.measured})
    facts.append(("Engines", ", ".join(engines) or "none"))
    found = versions()
    facts.append(("Made with", f"clsa-transfer {found['clsa-transfer']}, torch {found['torch']}, {git_commit() or ''}"))
    return [(name, what.rstrip(", ")) for name, what in facts]


def _kind_of_data(measured: Sequence[Measured]) -> str:
    worlds = {m.result["dataset"].get("miniature") is not None for m in measured}
    return " and ".join("of the rendered miniature world" if mini else "photographs" for mini in sorted(worlds))


def _world(measured: Sequence[Measured]) -> str:
    worlds: dict[str, dict[str, Any]] = {}
    sets = {}
    for m in measured:
        data = m.result["dataset"]
        fingerprint = data.get("fingerprint") or {}
        sets[data.get("name")] = f"{data.get('name')} {fingerprint.get('images')} images"
        world = data.get("miniature")
        worlds[str(world)] = world
    named = [
        "real images" if world is None else f"miniature world, size {world.get('size')}, seed {world.get('seed')}"
        for world in worlds.values()
    ]
    return f"{' and '.join(named) or 'none'}; {', '.join(sets.values())}" if sets else "none"


def _network(gathered: Gathered) -> str:
    """Of the results that name their backbone's depth."""
    depths = sorted({m.depth for m in gathered.measured if m.depth})
    return " and ".join(f"ResNet-{depth}" for depth in depths) or "backbone as its config says"


def _durations(gathered: Gathered) -> list[Duration]:
    rows = [
        Duration(method, "pretraining", pretraining.seconds)
        for method, pretraining in gathered.pretraining.items()
        if pretraining.seconds is not None
    ]
    for m in gathered.measured:
        what = m.result["protocol"] + (", BN re-estimated" if m.reestimated else "")
        rows.append(Duration(m.method, what, float(m.result["wall_seconds"] or 0)))
    return rows


def duration_table(durations: Sequence[Duration]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Columns, and per method a cell each: ``""`` where there is none."""
    columns = list(dict.fromkeys(d.what for d in durations))
    methods = list(dict.fromkeys(d.method for d in durations))
    taken: dict[tuple[str, str], float] = {}
    for d in durations:  # of all trials together
        taken[d.method, d.what] = taken.get((d.method, d.what), 0) + d.seconds
    cells = {key: clock(seconds) for key, seconds in taken.items()}
    return columns, [(look(m).label, [cells.get((m, column), "") for column in columns]) for m in methods]


def published_values(entry: Published) -> str:
    """``"AP50 82.4 ± 0.2, AP 57.0 ± 0.2"``."""
    parts = []
    for name, value in entry.values.items():
        spread = f" ± {entry.spread[name]}" if name in entry.spread else ""
        label = name.replace("bbox/", "box ").replace("segm/", "mask ").replace("APs", "AP_S")
        parts.append(f"{label} {value}{spread}")
    return ", ".join(parts)


def published_method(entry: Published) -> str:
    return entry.method + (f", {entry.epochs} epochs" if entry.epochs else "")


def published_source(entry: Published) -> str:
    trials = f"; {entry.trials} trials" if entry.trials else ""
    return entry.source + trials + (f"; {entry.note}" if entry.note else "")


def published_by_protocol(published: Sequence[Published]) -> dict[str, list[Published]]:
    """The entries under a heading of protocol, flavour and engine, so that no two protocols share a table."""
    groups: dict[str, list[Published]] = {}
    for entry in published:
        engine = f" · {entry.engine}" if entry.engine else ""
        groups.setdefault(f"{entry.protocol} · {entry.metric_flavour}{engine}", []).append(entry)
    return groups


def published_cell(row: PublishedRow, column: int) -> str:
    """``"57.0 ± 0.2"``, as the source prints it; empty where it prints none."""
    value, spread = row.values[column], row.spreads[column]
    return "" if value is None else f"{value}" + ("" if spread is None else f" ± {spread}")


def published_row_label(row: PublishedRow) -> str:
    """Whose number it is, how far verified, and from where."""
    trials = f", {row.entry.trials} trials" if row.entry.trials else ""
    return f"{row.label} (published, {row.entry.status}: {row.entry.source}{trials})"
