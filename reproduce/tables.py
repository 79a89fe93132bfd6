"""Results into tables, AP_S first, one a protocol."""

from collections.abc import Sequence
from dataclasses import replace

from .departures import departures, departures_note
from .gather import Gathered
from .ledger import Published
from .measured import Measured
from .methods import REFERENCE, UNTRAINED, look
from .protocol import Protocol, flavour_of, protocols_of
from .published import beside
from .rows import pretrainings_note, rows_of, stronger
from .subjects import DETECTION_LABELS, SUBJECTS, Subject
from .table import Column, Row, Table


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
                placed, said = beside(table, published)
                title = (
                    f"{table.title} · {protocol.title}, {protocol.engine}, {protocol.dataset}"
                    if several
                    else table.title
                )
                key = table.key if i == 1 else f"{table.key}_{i}"
                notes = (*table.notes, said) if said else table.notes
                tables.append(replace(table, key=key, title=title, published=placed, notes=notes))
    return tables


def _table(
    methods: Sequence[str], subject: Subject, protocol: Protocol, measured: Sequence[Measured], baseline: str
) -> Table:
    columns = _columns(measured, subject.keys, protocol)
    rows: list[Row] = []
    notes: list[str] = []
    for method in methods:
        mine = rows_of(method, [m for m in measured if m.method == method], columns)
        if method == UNTRAINED and len(mine) > 1:
            mine, said = stronger(mine)
            notes.append(said)
        rows += mine
    notes.append(pretrainings_note(rows))
    said = departures_note(protocol.title, measured)
    if subject.says_departures and said:  # once for each detector, which fills several tables
        notes.append(said)
    if sum(row.method == baseline for row in rows) > 1:
        notes.append(
            f"{look(baseline).label} has several rows, so there is no one baseline and no delta. Pretrainings of one "
            "method are taken together where their configs, beside their checkpoints, differ in SEED alone, or where "
            "they are given as NAME=DIR under one name."
        )
    keys = tuple(dict.fromkeys(d["key"] for m in measured for d in departures(m)))
    return Table(
        subject.key,
        subject.title,
        subject.subject,
        subject.lead,
        columns,
        tuple(rows),
        tuple(filter(None, notes)),
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
