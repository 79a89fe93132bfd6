"""Results into tables, AP_S first, one a protocol."""

from collections.abc import Sequence
from dataclasses import replace

from .departures import departures, departures_note
from .gather import Gathered
from .ledger import Published
from .measured import Measured
from .methods import REFERENCE, UNTRAINED, look
from .protocol import Protocol, flavour_of, protocols_of
from .subjects import DETECTION_LABELS, SUBJECTS, Subject
from .table import Column, PublishedRow, Row, Table
from .trials import sample


def build_tables(gathered: Gathered, published: Sequence[Published] = (), baseline: str = REFERENCE) -> list[Table]:
    """The tables of the report, AP_S first, each of one protocol; without any result there is none."""
    protocols = protocols_of(gathered.measured)
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
    said = departures_note(protocol.title, measured)
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
