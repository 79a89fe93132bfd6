"""Results into tables, one a protocol: in a column one metric flavour; in a row the trials of one method."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .departures import departures
from .gather import Gathered, Measured
from .ledger import Published
from .methods import REFERENCE, UNTRAINED, Kind, look
from .subjects import CLASSIFICATION_FLAVOURS, DETECTION_LABELS, SUBJECTS, Subject
from .trials import Sample, sample


@dataclass(frozen=True)
class Protocol:
    """What two numbers must share to stand in one table (in one column: the metric's flavour, too).

    ``world``: digest of the file list's fingerprint and of the miniature world's own description. ``settings``: digest
    of what the runs did otherwise than the protocol's name says; empty where all runs of that name did the same.
    """

    name: str
    engine: str
    dataset: str
    world: str
    settings: str = ""
    miniature: bool = False
    images: int | None = None

    @staticmethod
    def of(measured: Measured) -> "Protocol":
        data, result = measured.result["dataset"], measured.result
        return Protocol(
            result["protocol"],
            result["engine"],
            data.get("name", ""),
            hashlib.sha256(measured.data.encode()).hexdigest()[:8],
            _settings(measured),
            bool(data.get("miniature")),
            (data.get("fingerprint") or {}).get("images"),
        )

    @property
    def title(self) -> str:
        """The name, with the settings' digest where it takes that to tell two apart."""
        return self.name + (f" (settings {self.settings})" if self.settings else "")


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

    ``weights``: SHA-256 of the different weights (more than one: pretrainings); ``depth``, ``epochs``: of the weights'
    manifests, None where they say nothing or several things; ``sources``: the result files.
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

    @property
    def values(self) -> tuple[float | None, ...]:
        """The means, percent."""
        return tuple(found and found.mean for found in self.samples)

    @property
    def trials(self) -> int:
        return max((found.count for found in self.samples if found), default=0)


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
        """``"0.2"``, the standard deviation over the trials; empty for one trial."""
        found = row.samples[column]
        return "" if found is None or found.std is None else f"{found.std:.{max(self.decimals, 2)}f}"

    def delta(self, row: Row, column: int) -> float | None:
        """Of the printed means to the baseline's: None for the baseline itself, or where it has no one row."""
        base = [r for r in self.rows if r.method == self.baseline]
        if len(base) != 1 or row is base[0] or row.values[column] is None or base[0].values[column] is None:
            return None
        return round(float(self.printed(row, column)) - float(self.printed(base[0], column)), self.decimals)

    def delta_text(self, row: Row, column: int) -> str:
        """``"+1.2"``, with a true minus; empty where there is none."""
        delta = self.delta(row, column)
        return "" if delta is None else f"{delta:+.{self.decimals}f}".replace("-", "−")

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


def build_tables(gathered: Gathered, published: Sequence[Published] = (), baseline: str = REFERENCE) -> list[Table]:
    """The tables of the report, AP_S first, each of one protocol; without any result there is none."""
    protocols = _protocols(gathered.measured)
    tables = []
    for subject in SUBJECTS:
        mine = [(m, p) for m, p in zip(gathered.measured, protocols, strict=True) if subject.takes(m)]
        several = len({p for _, p in mine}) > 1
        for i, protocol in enumerate(dict.fromkeys(p for _, p in mine), 1):
            table = _table(gathered.methods, subject, protocol, [m for m, p in mine if p == protocol], baseline)
            if table.columns and table.rows:
                beside = tuple(_published_rows(table, published))
                title = (
                    f"{table.title} · {protocol.title}, {protocol.engine}, {protocol.dataset}"
                    if several
                    else table.title
                )
                key = table.key if i == 1 else f"{table.key}_{i}"
                tables.append(replace(table, key=key, title=title, published=beside))
    return tables


def _protocols(measured: Sequence[Measured]) -> list[Protocol]:
    """Of each result; the digest of the settings is dropped where a name has one alone."""
    exact = [Protocol.of(m) for m in measured]
    bare = [replace(p, settings="") for p in exact]
    settings: dict[Protocol, set[str]] = {}
    for p, b in zip(exact, bare, strict=True):
        settings.setdefault(b, set()).add(p.settings)
    return [p if len(settings[b]) > 1 else b for p, b in zip(exact, bare, strict=True)]


def _settings(measured: Measured) -> str:
    """A digest of what a protocol's name leaves open; weights and seeds are no part of it."""
    differing = departures(measured)
    found = [f"{d['key']} {d['value']}" for d in differing]
    if measured.stage == "classification" and "custom" in measured.result["protocol"]:
        # the id says that something is otherwise, and not what
        sections = {k: v for k, v in measured.result["config"].items() if k not in ("SEED", "TRIAL", "FEATURES")}
        found.append(json.dumps(sections, sort_keys=True))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:4] if found else ""


def _table(
    methods: Sequence[str], subject: Subject, protocol: Protocol, measured: Sequence[Measured], baseline: str
) -> Table:
    columns = _columns(measured, subject.keys, protocol)
    rows: list[Row] = []
    notes: list[str] = []
    for method in methods:
        mine = _rows(method, [m for m in measured if m.method == method], columns)
        if method == UNTRAINED and len(mine) > 1:
            mine, said = _stronger(mine)
            notes.append(said)
        rows += mine
    said = departures_note(protocol, measured)
    if subject.says_departures and said:  # once for each detector, which fills several tables
        notes.append(said)
    if sum(row.method == baseline for row in rows) > 1:
        notes.append(
            f"{look(baseline).label} has several rows, so there is no one baseline and no delta. Runs of one method "
            "from several pretrainings are taken together where they are given as NAME=DIR under one name."
        )
    keys = tuple(dict.fromkeys(d["key"] for m in measured for d in departures(m)))
    return Table(
        subject.key,
        subject.title,
        subject.subject,
        subject.lead,
        columns,
        tuple(rows),
        tuple(notes),
        baseline,
        (),
        keys,
    )


def departures_note(protocol: Protocol, measured: Sequence[Measured]) -> str:
    """What the runs did otherwise than the nearest published protocol, a sentence; empty where nothing."""
    for m in measured:
        differing = departures(m)
        if differing:
            return (
                f"{protocol.title} is not {m.result['details']['protocol_check']['nearest']}. "
                f"{len(differing)} settings that move AP differ (there): "
                + "; ".join(f"{d['key']} {d['value']} ({d['protocol_value']})" for d in differing)
            )
    return ""


def _columns(measured: Sequence[Measured], keys: Sequence[str], protocol: Protocol) -> tuple[Column, ...]:
    """In the order of ``keys``; without any, every value that a result holds."""
    wanted = keys or tuple(dict.fromkeys(key for m in measured for key in m.result["values"]))
    found = {
        Column(key, DETECTION_LABELS.get(key, key), flavour_of(m, key), protocol): None
        for key in wanted
        for m in measured
        if key in m.result["values"]
    }
    return tuple(found)


def flavour_of(measured: Measured, key: str) -> str:
    """Of one value; a detector's result may hold several flavours, told apart by the first part of the value's key."""
    by_prefix = measured.result["details"].get("flavours", {})
    first = by_prefix.get(key.split("/")[0], measured.result["metric_flavour"])
    return CLASSIFICATION_FLAVOURS.get(key, first)


def _rows(method: str, measured: Sequence[Measured], columns: Sequence[Column]) -> list[Row]:
    """One for each set of weights (of a method that the user named: one for all), and treatment of BatchNorm."""
    groups: dict[tuple, list[Measured]] = {}
    for m in measured:
        groups.setdefault((None if m.named else m.weights, m.reestimated), []).append(m)
    several = len({weights for weights, _ in groups}) > 1
    rows = []
    for (weights, reestimated), found in groups.items():
        samples = tuple(
            sample([m.result["values"].get(c.key) for m in found if flavour_of(m, c.key) == c.flavour]) for c in columns
        )
        if any(samples):
            label = look(method).label + (f" (weights {weights[:8]})" if several and weights else "")
            rows.append(
                Row(
                    method,
                    label + (" (BN re-estimated)" if reestimated else ""),
                    look(method).kind,
                    samples,
                    tuple(dict.fromkeys(m.result["seed"] for m in found)),
                    tuple(dict.fromkeys(m.weights for m in found if m.weights)),
                    _one([(m.result["weights"].get("architecture") or {}).get("depth") for m in found]),
                    _one([(m.result["weights"].get("source") or {}).get("epoch") for m in found]),
                    tuple(str(m.folder / "result.json") for m in found),
                )
            )
    return rows


def _one(found: Sequence[int | None]) -> int | None:
    return found[0] if len(set(found)) == 1 else None


def _stronger(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Of an untrained backbone's treatments of BatchNorm the better one: it is what pretraining must beat."""

    def first(row: Row) -> float:
        return next((value for value in row.values if value is not None), -1.0)

    ranked = sorted(rows, key=first, reverse=True)
    treatment = ["re-estimated" if "re-estimated" in row.label else "as initialised" for row in ranked]
    said = " and ".join(f"{first(row):.1f} with BN {how}" for row, how in zip(ranked, treatment, strict=True))
    return ranked[:1], f"{look(ranked[0].method).label}: {said}; the stronger of the two is shown."


def _published_rows(table: Table, published: Sequence[Published]) -> list[PublishedRow]:
    """Entries of the same protocol, engine and flavour; beside a miniature world nothing published stands."""
    rows = []
    for entry in published:
        mine = [
            c.key in entry.values
            and not c.protocol.miniature
            and not table.departures
            and (c.protocol.name, c.flavour) == (entry.protocol, entry.metric_flavour)
            and entry.engine in (None, c.protocol.engine)
            for c in table.columns
        ]
        if any(mine):
            values = [entry.values[c.key] if good else None for c, good in zip(table.columns, mine, strict=True)]
            spreads = [entry.spread.get(c.key) if good else None for c, good in zip(table.columns, mine, strict=True)]
            label = entry.method + (f", {entry.epochs} epochs" if entry.epochs else "")
            rows.append(PublishedRow(label, tuple(values), tuple(spreads), entry))
    return rows
