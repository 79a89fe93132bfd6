"""What the report says, apart from how it is written down: the one object that all its formats are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.run_files import git_commit, versions

from .findings import findings
from .gather import Gathered, Measured
from .ledger import Published
from .methods import look
from .progress import clock
from .tables import Table

NOT_COMPARABLE = (
    "Published with full ImageNet, VOC and COCO, and a ResNet-50. Nothing below compares with the miniature world's "
    "numbers above: another world, another scale. They stand here to show what the real protocols give, and where each "
    "number comes from."
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
    facts: list[tuple[str, str]]
    findings: list[str]
    tables: list[Table]
    durations: list[Duration]
    published: list[Published]
    left_out: list[str]


def build_content(cfg: CfgNode, gathered: Gathered, tables: Sequence[Table], published: Sequence[Published]) -> Content:
    """Put together what the formats share."""
    return Content(
        title="Does it transfer?",
        facts=_facts(cfg, gathered),
        findings=findings(tables, gathered),
        tables=list(tables),
        durations=_durations(gathered),
        published=list(published),
        left_out=list(gathered.left_out),
    )


def _facts(cfg: CfgNode, gathered: Gathered) -> list[tuple[str, str]]:
    facts = [("Methods", ", ".join(look(method).label for method in cfg.METHODS))]
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
    """Of the first result whose manifest names an architecture."""
    for m in gathered.measured:
        source = m.result["weights"].get("architecture") or {}
        if isinstance(source, dict) and source.get("depth"):
            return f"ResNet-{source['depth']}"
    return "backbone as its config says"


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
    taken = {(d.method, d.what): clock(d.seconds) for d in durations}
    return columns, [(look(m).label, [taken.get((m, column), "") for column in columns]) for m in methods]


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
