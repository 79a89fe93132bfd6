"""The report on the terminal: what was measured and whether the claim stands, the tables, the claims."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence

from .content import Content, published_cell, published_row_label
from .departures import summary_and_settings
from .table import Row, Table


def terminal_text(content: Content, plots: Sequence[Mapping[str, str]] = (), width: int | None = None) -> str:
    """Everything but the list of published numbers, in ``width`` characters (default: the terminal's).

    Args:
        plots: for each picture its ``file``, which is named, and the ``section`` (a table's key, or empty) of it.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    top = content.headline
    lines = ["", *_wrapped(top.question, width), *_wrapped(top.answer, width), ""]
    for name, what in (("Measured", top.measured), ("The paper", top.paper)):
        lines += _wrapped(f"{name}: {what}", width) if what else []
    for table in content.tables:
        lines += ["", table.title, *_table_lines(table, width), *_pictures(plots, table.key, width)]
    lines += ["", *_listed(content.findings, width)]
    if content.comparisons:
        lines += ["", "Verdicts on what was measured here:"]
        for c in content.comparisons:
            said = f"{c.verdict.word}: {c.method} above {c.baseline}, {c.subject} ({c.protocol}): {c.verdict.reason}"
            lines += _wrapped(said, width, "- ")
    if content.claims:
        lines += ["", "The paper's claims:"]
        for j in content.claims:
            lines += _wrapped(f"{j.verdict.word}: {j.claim.statement} {j.verdict.reason}", width, "- ")
    if others := _pictures(plots, "", width):
        lines += ["", *others]
    if content.left_out:
        lines += ["", "Left out:", *_listed(content.left_out, width)]
    return "\n".join(lines)


def _pictures(plots: Sequence[Mapping[str, str]], section: str, width: int) -> list[str]:
    files = [plot["file"] for plot in plots if plot["section"] == section]
    return _wrapped(f"pictures: {', '.join(files)}", width, "  ") if files else []


def _listed(sentences: Sequence[str], width: int) -> list[str]:
    return [line for sentence in sentences for line in _wrapped(sentence, width, "- ")]


def _wrapped(text: str, width: int, bullet: str = "") -> list[str]:
    """Lines of at most ``width`` characters; a path that is longer stays whole, to be copied."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _table_lines(table: Table, width: int) -> list[str]:
    protocol = table.columns[0].protocol
    flavours = list(dict.fromkeys(column.flavour for column in table.columns))
    flavour = flavours[0] if len(flavours) == 1 else "flavour as each column is named"
    lines = _wrapped(f"{protocol.title} · {flavour} · {protocol.engine} · {protocol.dataset}", width, "  ")
    rows = [(_label(row), [_cell(table, row, i) for i in range(len(table.columns))]) for row in table.rows]
    name_width = max(len(label) for label, _ in rows)
    column_width = 2 + max(len(text) for text in [*(c.label for c in table.columns), *(c for _, r in rows for c in r)])
    at_once = max(1, (width - name_width - 4) // column_width)
    for start in range(0, len(table.columns), at_once):
        part = slice(start, start + at_once)
        lines.append(f"    {'':<{name_width}}" + "".join(c.label.rjust(column_width) for c in table.columns[part]))
        lines += [
            f"    {label:<{name_width}}" + "".join(c.rjust(column_width) for c in cells[part]) for label, cells in rows
        ]
    for row in table.published:
        values = ", ".join(
            f"{column.label} {published_cell(row, i)}"
            for i, column in enumerate(table.columns)
            if published_cell(row, i)
        )
        lines += _wrapped(f"{published_row_label(row)}: {values}", width, "    ")
    if table.has_deltas:
        lines += _wrapped(f"in brackets: points above or below {table.baseline_label}, before rounding", width, "  ")
    for note in table.notes:
        summary, settings = summary_and_settings(note)
        lines += _wrapped(summary + (" They are listed in report.md." if settings else ""), width, "  ")
    return lines


def _label(row: Row) -> str:
    return f"{row.label} (n = {row.trials})" if row.trials > 1 else row.label


def _cell(table: Table, row: Row, column: int) -> str:
    spread, delta = table.spread(row, column), table.delta_text(row, column)
    return table.printed(row, column) + (f" ± {spread}" if spread else "") + (f" ({delta})" if delta else "")
