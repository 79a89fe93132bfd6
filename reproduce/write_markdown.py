"""The report as Markdown, with the plots as files beside it."""

from collections.abc import Sequence

from .content import (
    NOT_COMPARABLE,
    Content,
    duration_table,
    published_by_protocol,
    published_method,
    published_source,
    published_values,
)
from .plots import Plot
from .tables import Column, Table


def markdown_text(content: Content, plots: Sequence[Plot]) -> str:
    """The whole report; pictures are ``plots/<name>.png``."""
    parts = [f"# {content.title}", "\n".join(f"- **{name}:** {what}" for name, what in content.facts)]
    parts += ["## What the numbers say", "\n".join(f"- {sentence}" for sentence in content.findings)]
    for table in content.tables:
        parts += [f"## {table.title}", table.lead, _table(table)]
        parts += table.notes
    if plots:
        parts.append("## Pictures")
        parts += [f"![{plot.title}](plots/{plot.name}.png)\n\n*{plot.caption}*" for plot in plots]
    if content.durations:
        columns, rows = duration_table(content.durations)
        parts += ["## Wall times", _pipe(["", *columns], [[label, *cells] for label, cells in rows])]
    if content.left_out:
        parts += ["## Left out", "\n".join(f"- {sentence}" for sentence in content.left_out)]
    parts += ["## Published numbers: not comparable with the above", NOT_COMPARABLE]
    for heading, entries in published_by_protocol(content.published).items():
        rows = [[published_method(e), published_values(e), e.status, published_source(e)] for e in entries]
        parts += [f"### {heading}", _pipe(["method", "value", "status", "source"], rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> str:
    rows = []
    for row in table.rows:
        cells = []
        for i in range(len(table.columns)):
            printed = table.printed(row, i)
            cells.append(f"**{printed}**" if table.is_best(row, i) else printed)
        rows.append([row.label, *cells])
    return _pipe(["", *map(_heading, table.columns)], rows)


def _heading(column: Column) -> str:
    protocol = column.protocol
    return f"{column.label}<br>{column.flavour}<br>{protocol.name}<br>{protocol.engine}<br>{protocol.dataset}"


def _pipe(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:" for _ in header[1:]]], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
