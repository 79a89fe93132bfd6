"""The report's tables for a paper: LaTeX, ``booktabs``, one ``table`` a protocol, to be taken in by ``\\input``."""

import re

from .content import Content, published_cell, published_row_label
from .table import Row, Table

HEAD = """\
% Needs \\usepackage{booktabs}. Take in with \\input{report.tex}. Standard deviations are over trials (n in the row).
"""

#: What TeX would read as its own, and what its default fonts lack.
ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "²": r"$^2$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": r"--",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "“": "``",
    "”": "''",
}


def latex_text(content: Content) -> str:
    """A ``table`` for each table of the report."""
    return HEAD + "".join(_table(table) for table in content.tables)


def escape(text: str) -> str:
    """``text`` so that TeX prints it; AP_S with its subscript."""
    parts = re.split(r"AP_([SML])\b", text)  # text, size, text, size, ..., text
    plain = ["".join(ESCAPES.get(c, c) for c in part) for part in parts[::2]]
    return plain[0] + "".join(f"AP$_{size}$" + rest for size, rest in zip(parts[1::2], plain[1:], strict=True))


def _table(table: Table) -> str:
    protocol = table.columns[0].protocol
    flavours = list(dict.fromkeys(column.flavour for column in table.columns))
    caption = f"{table.title}. Protocol {protocol.title}, engine {protocol.engine}, {protocol.dataset}"
    caption += f", {flavours[0]}" if len(flavours) == 1 else ""
    caption += ", rendered miniature world" if protocol.miniature else ""
    lines = [
        "",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}, percent.}}",
        rf"\label{{tab:{table.key.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{l{'r' * (1 + len(table.columns))}}}",
        r"\toprule",
        _line(["", "$n$", *(escape(column.label) for column in table.columns)]),
    ]
    if len(flavours) > 1:
        lines.append(_line(["", "", *(rf"\footnotesize {escape(column.flavour)}" for column in table.columns)]))
    lines.append(r"\midrule")
    for row in table.rows:
        cells = [_cell(table, row, i) for i in range(len(table.columns))]
        lines.append(_line([escape(row.label), str(row.trials), *cells]))
    if table.published:
        lines.append(r"\midrule")
    for published in table.published:
        cells = [escape(published_cell(published, i)) for i in range(len(table.columns))]
        lines.append(_line([escape(published_row_label(published)), str(published.entry.trials or ""), *cells]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(table: Table, row: Row, column: int) -> str:
    printed, spread, delta = table.printed(row, column), table.spread(row, column), table.delta_text(row, column)
    text = escape(printed) + (rf" $\pm$ {spread}" if spread else "")
    text = rf"\textbf{{{text}}}" if table.is_best(row, column) else text
    return text + (rf" {{\footnotesize ({escape(delta)})}}" if delta else "")
