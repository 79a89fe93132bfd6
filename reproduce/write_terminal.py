"""The report as a table on the terminal."""

import shutil

from .content import Content
from .tables import Table


def terminal_text(content: Content, width: int | None = None) -> str:
    """Tables, findings and what was left out, within ``width`` characters (default: the terminal's)."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    lines = []
    for table in content.tables:
        lines += ["", table.title, *_table_lines(table, width)]
    lines += ["", *(f"- {sentence}" for sentence in content.findings)]
    if content.left_out:
        lines += ["", "Left out:", *(f"- {sentence}" for sentence in content.left_out)]
    return "\n".join(lines)


def _table_lines(table: Table, width: int) -> list[str]:
    name_width = max(len(row.label) for row in table.rows)
    lines = []
    for protocol in dict.fromkeys(column.protocol for column in table.columns):
        mine = [i for i, column in enumerate(table.columns) if column.protocol == protocol]
        flavours = list(dict.fromkeys(table.columns[i].flavour for i in mine))
        flavour = flavours[0] if len(flavours) == 1 else "flavour as each column is named"
        lines.append(f"  {protocol.name} · {flavour} · {protocol.engine} · {protocol.dataset}")
        column_width = 2 + max(len(table.columns[i].label) for i in mine)
        at_once = max(1, (width - name_width - 4) // column_width)
        for start in range(0, len(mine), at_once):
            part = mine[start : start + at_once]
            labels = "".join(table.columns[i].label.rjust(column_width) for i in part)
            lines.append(f"    {'':<{name_width}}{labels}")
            for row in table.rows:
                if any(row.values[i] is not None for i in mine):
                    values = "".join(table.printed(row, i).rjust(column_width) for i in part)
                    lines.append(f"    {row.label:<{name_width}}{values}")
    return lines + [f"  {note}" for note in table.notes]
