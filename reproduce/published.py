"""Which published numbers stand beside a table's measurements, and why the others of its protocol do not.

One stands there only if it was measured in the same way: protocol with its layer, flavour of the metric, engine, all
images of the same photographs, depth of the backbone, and no setting of either that departs from the protocol.
"""

from collections.abc import Sequence

from .departures import in_words
from .full_sizes import full_size
from .ledger import Published
from .protocol import Protocol
from .table import PublishedRow, Table


def beside(table: Table, published: Sequence[Published]) -> tuple[tuple[PublishedRow, ...], str]:
    """The rows, and a sentence on the entries of the protocol, or of its kin, that are none; empty without such."""
    protocol = table.columns[0].protocol
    obstacles = _of_the_table(table)
    rows: list[PublishedRow] = []
    refused: dict[str, list[str]] = {}
    for entry in published:
        mine = [c.key in entry.values and c.flavour == entry.metric_flavour for c in table.columns]
        if not any(mine) or not _kin(protocol, entry.protocol):
            continue
        if why := "; ".join([*_of_the_entry(table, entry), *obstacles]):
            refused.setdefault(why, []).append(entry.method + (f" at {entry.epochs} epochs" if entry.epochs else ""))
            continue
        label = entry.method + (f", {entry.epochs} epochs" if entry.epochs else "")
        values = [entry.values[c.key] if good else None for c, good in zip(table.columns, mine, strict=True)]
        spreads = [entry.spread.get(c.key) if good else None for c, good in zip(table.columns, mine, strict=True)]
        rows.append(PublishedRow(label, tuple(values), tuple(spreads), entry))
    if not refused:
        return tuple(rows), ""
    parts = [f"{', '.join(dict.fromkeys(labels))} ({why})" for why, labels in refused.items()]
    return tuple(rows), f"Published, but not measured in the same way, so not placed here: {'; '.join(parts)}."


def _kin(protocol: Protocol, other: str) -> bool:
    """Whether ``other`` is the protocol's id, or (of photographs) one of the two appends what it changes to the other.

    Nobody looks for published numbers beside the miniature world, whose ids are its own.
    """
    short, long = sorted((protocol.name, other), key=len)
    return protocol.name == other or (not protocol.miniature and long.startswith((f"{short}-", f"{short} ")))


def _of_the_table(table: Table) -> list[str]:
    """What keeps every published number from standing here."""
    protocol, said = table.columns[0].protocol, []
    if images := _part_of_the_data(protocol):
        said.append(images)
    if table.departures:
        said.append(f"settings other than the protocol's: {in_words(table.departures)}")
    return said


def _part_of_the_data(protocol: Protocol) -> str:
    if protocol.miniature:
        return "data: the miniature world, not photographs"
    full = full_size(protocol.dataset, protocol.name)
    if full is None:
        return f"data: how many images {protocol.dataset} has in full is not known"
    return "" if protocol.images == full else f"data: {protocol.images} images of {protocol.dataset}, in full {full}"


def _of_the_entry(table: Table, entry: Published) -> list[str]:
    protocol, said = table.columns[0].protocol, []
    if protocol.name != entry.protocol:
        said.append(f"protocol: {entry.protocol}, not {protocol.name}")
    if entry.engine not in (None, protocol.engine):
        said.append(f"engine: {entry.engine}, not {protocol.engine}")
    depths = {row.depth for row in table.rows if row.kind != "baseline"}
    if depths - {entry.depth}:
        here = " and ".join(sorted(f"a ResNet-{depth}" if depth else "one of unknown depth" for depth in depths))
        said.append(f"backbone: a ResNet-{entry.depth}, here {here}")
    if entry.departs:
        said.append(entry.departs)
    return said
