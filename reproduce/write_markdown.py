"""The report as Markdown, with the plots as files beside it."""

from collections.abc import Iterable, Sequence

from .content import (
    NOT_COMPARABLE,
    Content,
    duration_table,
    published_by_protocol,
    published_cell,
    published_method,
    published_row_label,
    published_source,
    published_values,
)
from .departures import summary_and_settings
from .plots.style import Plot
from .table import Column, Row, Table
from .verdicts import RULE


def markdown_text(content: Content, plots: Sequence[Plot]) -> str:
    """The whole report; pictures are ``plots/<name>.png``."""
    top = content.headline
    parts = [f"# {content.title}", f"**{top.question}** {top.answer}"]
    parts += [f"**{name}:** {what}" for name, what in (("Measured", top.measured), ("The paper", top.paper)) if what]
    parts.append("\n".join(f"- **{name}:** {what}" for name, what in content.facts))
    for i, table in enumerate(content.tables):
        parts += [f"## {table.title}", table.lead, _table(table)]
        if table.has_deltas:
            parts += [f"In brackets: points above or below {table.baseline_label}, before rounding."]
        parts += [_note(text) for text in table.notes]
        parts += _pictures(plot for plot in plots if plot.section == table.key)
        if i == 0:
            parts += _findings(content)
    if not content.tables:
        parts += _findings(content)
    parts += _verdicts(content)
    if others := _pictures(plot for plot in plots if not plot.section):
        parts += ["## Pictures", *others]
    if content.durations:
        columns, rows = duration_table(content.durations)
        parts += ["## Wall times", _pipe(["", *columns], [[label, *cells] for label, cells in rows])]
    if content.left_out:
        parts += ["## Left out", "\n".join(f"- {sentence}" for sentence in content.left_out)]
    parts += ["## Published numbers, none of them measured here", NOT_COMPARABLE]
    for heading, entries in published_by_protocol(content.published).items():
        rows = [[published_method(e), published_values(e), e.status, published_source(e)] for e in entries]
        parts += [f"### {heading}", _pipe(["method", "value", "status", "source"], rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _note(text: str) -> str:
    """A list of settings stays folded where HTML within Markdown is understood, and is a list elsewhere."""
    summary, settings = summary_and_settings(text)
    if not settings:
        return text
    title = f"<summary>The {len(settings)} settings, the protocol's in brackets</summary>"
    return f"{summary}\n\n<details>{title}\n\n" + "\n".join(f"- `{line}`" for line in settings) + "\n\n</details>"


def _pictures(plots: Iterable[Plot]) -> list[str]:
    return [f"![{plot.title}](plots/{plot.name}.png)\n\n*{plot.caption}*" for plot in plots]


def _findings(content: Content) -> list[str]:
    return ["## What the numbers say", "\n".join(f"- {sentence}" for sentence in content.findings)]


def _verdicts(content: Content) -> list[str]:
    parts = []
    if content.comparisons:
        rows = [
            [f"{c.method} above {c.baseline}, {c.subject}", f"**{c.verdict.word}**", c.measured, c.verdict.reason]
            for c in content.comparisons
        ]
        parts += ["## Verdicts on what was measured here", f"Rule: {RULE}.", _pipe(_VERDICT_HEAD, rows)]
    if content.claims:
        parts.append("## The paper's claims")
        for j in content.claims:
            parts.append(f"### {j.claim.statement}")
            lines = [f"- **{j.verdict.word}:** {j.verdict.reason}"]
            lines += [f"- Measured here: {j.measured}"] if j.measured else []
            lines += [f"- To settle it: {j.claim.to_settle}", f"- Metric flavours: {j.claim.flavours}"]
            parts.append("\n".join(lines))
    return parts


_VERDICT_HEAD = ("claim", "verdict", "measured", "why")


def _table(table: Table) -> str:
    rows = [
        [row.label, str(row.trials), *(_cell(table, row, i) for i in range(len(table.columns)))] for row in table.rows
    ]
    for row in table.published:
        cells = [published_cell(row, i) for i in range(len(table.columns))]
        rows.append([f"*{published_row_label(row)}*", str(row.entry.trials or ""), *cells])
    return _pipe(["", "trials", *map(_heading, table.columns)], rows)


def _cell(table: Table, row: Row, column: int) -> str:
    printed, spread, delta = table.printed(row, column), table.spread(row, column), table.delta_text(row, column)
    text = printed + (f" ± {spread}" if spread else "")
    return (f"**{text}**" if table.is_best(row, column) else text) + (f" ({delta})" if delta else "")


def _heading(column: Column) -> str:
    protocol = column.protocol
    return f"{column.label}<br>{column.flavour}<br>{protocol.title}<br>{protocol.engine}<br>{protocol.dataset}"


def _pipe(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:" for _ in header[1:]]], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
