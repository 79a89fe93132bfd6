"""The report's tables for a paper: LaTeX, ``booktabs``, one ``table`` a protocol, to be taken in by ``\\input``.

Made for a column of 345 points, the text of ``article`` at 10 points, so that nothing reaches beyond it: numbers stand
alone in their columns, with standard deviations and differences in lines of their own below; a protocol with more
columns than fit goes on in a second block; and where a published number is from stands below the table.
"""

import re
from collections.abc import Iterator, Sequence

from .content import Content, published_source
from .departures import in_words
from .latex_escape import escape
from .ledger import Published
from .methods import look
from .table import Row, Table

HEAD = r"""% Needs in the preamble
%   \usepackage{booktabs}
%   \usepackage{array}
% and a text at least 345 points wide, that of article at 10 points. With two columns, turn table into table*.
% Take in with \input{report.tex}. Percent; standard deviations (n - 1) are over the n pretrainings or trials.
"""

#: Points of the text, and what a column of numbers, a heading's letter and the space between two columns take of them.
TEXT, NUMBER, LETTER, SPACE = 345, 21, 4.7, 6

#: Points of the column of names: between these two, by its longest name.
NARROW, WIDE = 88, 135


def latex_text(content: Content) -> str:
    """A ``table`` for each table of the report."""
    return HEAD + "".join("\n".join(_table(table)) for table in content.tables)


def _table(table: Table) -> Iterator[str]:
    labels = [*(row.label for row in table.rows), *(line.label for line in table.published)]
    names = min(WIDE, max(NARROW, LETTER * max(map(len, labels)) + 2))
    yield from ("", r"\begin{table}", r"\centering\footnotesize", r"\setlength{\tabcolsep}{3pt}")
    yield r"\setlength{\belowcaptionskip}{6pt}\setlength{\emergencystretch}{3em}"
    yield rf"\caption{{{escape(_caption(table))}}}"
    yield rf"\label{{tab:{table.key.replace('_', '-')}}}"
    marks = _marks(table)
    for block in _blocks(table, TEXT - names - NUMBER - 2 * SPACE):
        yield rf"\begin{{tabular}}{{@{{}}>{{\raggedright\arraybackslash}}p{{{names:.0f}pt}}r{'r' * len(block)}@{{}}}}"
        yield r"\toprule"
        yield _line(["", "$n$", *(_heading(table.columns[i].label) for i in block)])
        if _has_flavours(table):
            yield _line(["", "", *(_heading(table.columns[i].flavour) for i in block)])
        yield r"\midrule"
        for row in table.rows:
            yield from _measured(table, row, block)
        if any(line.values[i] is not None for line in table.published for i in block):
            yield r"\midrule"
            yield rf"\multicolumn{{{2 + len(block)}}}{{@{{}}l@{{}}}}{{\emph{{Published, not measured here}}}} \\"
        for line, mark in zip(table.published, marks, strict=True):
            if any(line.values[i] is not None for i in block):
                name = rf"{escape(line.label)}\textsuperscript{{{mark}}}"
                yield _line([name, _text(line.entry.trials), *(_text(line.values[i]) for i in block)])
                if any(line.spreads[i] is not None for i in block):
                    yield _small("standard deviation", [_text(line.spreads[i]) for i in block])
        yield from (r"\bottomrule", r"\end{tabular}", "")
    yield from _sources(table, marks)
    yield from (r"\end{table}", "")


def _measured(table: Table, row: Row, block: Sequence[int]) -> Iterator[str]:
    """A line of means, and where there are any one of standard deviations and one of differences."""
    means = [escape(table.printed(row, i)) for i in block]
    means = [rf"\textbf{{{mean}}}" if table.is_best(row, i) else mean for mean, i in zip(means, block, strict=True)]
    yield _line([escape(row.label), str(row.trials), *means])
    if any(spreads := [table.spread(row, i) for i in block]):
        yield _small("standard deviation", spreads)
    if any(deltas := [table.delta_text(row, i) for i in block]):
        yield _small(f"minus {look(table.baseline).label}", deltas)


def _caption(table: Table) -> str:
    protocol = table.columns[0].protocol
    flavours = list(dict.fromkeys(column.flavour for column in table.columns))
    parts = [f"Protocol {protocol.title}", f"engine {protocol.engine}", protocol.dataset]
    parts += flavours if len(flavours) == 1 else []
    parts += ["rendered miniature world"] if protocol.miniature else []
    said = f"{table.title.split(' · ')[0]}. {', '.join(parts)}, percent."
    return said + (f" Not as published: {in_words(table.departures)}." if table.departures else "")


def _has_flavours(table: Table) -> bool:
    return len({column.flavour for column in table.columns}) > 1


def _blocks(table: Table, points: float) -> list[list[int]]:
    """The columns, as many at once as have room."""
    blocks: list[list[int]] = [[]]
    room = points
    for i, column in enumerate(table.columns):
        words = [*_words(column.label), *(_words(column.flavour) if _has_flavours(table) else ())]
        width = SPACE + max(NUMBER, LETTER * max(map(len, words)))
        if blocks[-1] and width > room:
            blocks.append([])
            room = points
        blocks[-1].append(i)
        room -= width
    return blocks


def _heading(text: str) -> str:
    """Its words below each other, so that a column is not much wider than its numbers."""
    words = _words(text)
    below = r"\\".join(map(escape, words))
    return rf"\shortstack[r]{{{below}}}" if len(words) > 1 else below


def _words(heading: str) -> list[str]:
    return re.sub(r"(?<!AP)_", " ", heading).split()


def _marks(table: Table) -> list[str]:
    """For each published line the letter of its source; lines of the same source share one."""
    sources = list(dict.fromkeys(_source(line.entry) for line in table.published))
    return [_letter(sources.index(_source(line.entry))) for line in table.published]


def _letter(number: int) -> str:
    """a to z, aa, ab, ..."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _source(entry: Published) -> str:
    return f"{entry.status}: {published_source(entry)}"


def _sources(table: Table, marks: Sequence[str]) -> Iterator[str]:
    if not marks:
        return
    yield r"\par\smallskip\begin{minipage}{\linewidth}\raggedright\scriptsize"
    for mark, line in dict(zip(marks, table.published, strict=True)).items():
        yield rf"\textsuperscript{{{mark}}}\,{escape(_source(line.entry))}\par"
    yield r"\end{minipage}"


def _small(name: str, cells: Sequence[str]) -> str:
    return _line([rf"\quad\scriptsize {escape(name)}", "", *(rf"\scriptsize {escape(cell)}" for cell in cells)])


def _text(value: object) -> str:
    return "" if value is None else escape(str(value))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
