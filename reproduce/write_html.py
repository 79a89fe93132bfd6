"""The report as one self-contained HTML file: style and pictures inside, nothing loaded from anywhere, no script."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

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
from .html_parts import css_class, note, plain_table, sentences, set_text
from .plots.style import Plot
from .table import Row, Table
from .verdicts import RULE

OF_A_SOURCE = ("method", "value", "status", "source")
STYLE = Path(__file__).parent / "report.css"


def html_text(content: Content, plots: Sequence[Plot], pictures: Mapping[tuple[str, str], bytes]) -> str:
    """The page. ``pictures``: (plot's name, ``"light"`` or ``"dark"``) -> PNG bytes."""
    sections = [
        _section(table, [plot for plot in plots if plot.section == table.key], pictures) for table in content.tables
    ]
    body = [
        f"<header>{_headline(content)}",
        "<dl>" + "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(w)}</dd></div>" for n, w in content.facts) + "</dl>",
        "</header>",
        *sections[:1],
        f"<section class='findings'><h2>What the numbers say</h2>{sentences(content.findings)}</section>",
        *sections[1:],
        _comparisons(content),
        _claims(content),
        _other_pictures([plot for plot in plots if not plot.section], pictures),
        _durations(content),
        _left_out(content),
        _published(content),
    ]
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<meta name='color-scheme' content='light dark'>\n"
        f"<title>{escape(content.title)}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(part for part in body if part) + "\n</main>\n</body>\n</html>\n"
    )


def _headline(content: Content) -> str:
    """What was measured, with what, and whether the claim stands: the first screen, also of a phone."""
    top = content.headline
    word = f"<p class='verdict {css_class(top.word)}'>{escape(top.word)}</p>" if top.word else ""
    lines = "".join(
        f"<p><b>{name}:</b> {set_text(what)}</p>"
        for name, what in (("Measured", top.measured), ("The paper", top.paper))
        if what
    )
    return (
        f"<p class='title'>{escape(content.title)}</p><h1>{set_text(top.question)}</h1>{word}"
        f"<p class='answer'>{set_text(top.answer)}</p>{lines}"
    )


def _comparisons(content: Content) -> str:
    if not content.comparisons:
        return ""
    rows = [
        [f"{c.method} above {c.baseline}, {c.subject}", c.verdict.word, c.measured, c.protocol, c.verdict.reason]
        for c in content.comparisons
    ]
    table = plain_table(["claim", "verdict", "measured", "protocol", "why"], rows, as_cards=True)
    return f"<section class='judged'><h2>Verdicts on what was measured here</h2><p>Rule: {RULE}.</p>{table}</section>"


def _claims(content: Content) -> str:
    if not content.claims:
        return ""
    parts = []
    for j in content.claims:
        facts = [("Why", j.verdict.reason), ("Measured here", j.measured)]
        facts += [("To settle it", j.claim.to_settle), ("Metric flavours", j.claim.flavours)]
        lines = "".join(f"<dt>{name}</dt><dd>{set_text(what)}</dd>" for name, what in facts if what)
        word = f"<span class='verdict {css_class(j.verdict.word)}'>{escape(j.verdict.word)}</span>"
        parts.append(f"<article><h3>{word} {set_text(j.claim.statement)}</h3><dl>{lines}</dl></article>")
    return f"<section class='claims'><h2>The paper's claims</h2>{''.join(parts)}</section>"


def _section(table: Table, plots: Sequence[Plot], pictures: Mapping[tuple[str, str], bytes]) -> str:
    """The first picture stands beside the table, the others below."""
    beside = "".join(_figure(plot, pictures) for plot in plots[:1])
    notes = "".join(map(note, table.notes))
    if table.has_deltas:
        notes = note(f"Small, below a mean: points above or below {table.baseline_label}, before rounding.") + notes
    return (
        f"<section id='{table.key}'><h2>{set_text(table.title)}</h2><p>{set_text(table.lead)}</p>"
        f"<div class='beside'><div class='data'>{_table(table)}{notes}</div>{beside}</div>"
        f"{_gallery(plots[1:], pictures)}</section>"
    )


def _table(table: Table) -> str:
    """Three rows of heading: protocol with engine and data over its columns, metric, flavour over its columns."""
    columns = table.columns
    protocols = "".join(
        f"<th colspan='{count}' class='protocol'>{escape(p.title)}<br><small>{escape(p.engine)} · {escape(p.dataset)}"
        "</small></th>"
        for p, count in _runs(column.protocol for column in columns)
    )
    metrics = "".join(f"<th scope='col'>{set_text(column.label)}</th>" for column in columns)
    flavours = "".join(
        f"<th colspan='{count}' class='flavour{' several' if count > 1 else ''}'><small>{escape(flavour)}</small></th>"
        for (_, flavour), count in _runs((column.protocol, column.flavour) for column in columns)
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f"<td{' class=best' if table.is_best(row, i) else ''}>{_cell(table, row, i)}</td>"
            for i in range(len(columns))
        )
        rows.append(f"<tr class='{row.kind}'><th scope='row'>{escape(_row_label(row))}</th>{cells}</tr>")
    for line in table.published:
        cells = "".join(f"<td>{escape(published_cell(line, i))}</td>" for i in range(len(columns)))
        rows.append(f"<tr class='quoted'><th scope='row'>{escape(published_row_label(line))}</th>{cells}</tr>")
    return (
        "<div class='scroll'><table class='numbers'><thead>"
        f"<tr><td></td>{protocols}</tr><tr><td></td>{metrics}</tr><tr><td></td>{flavours}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(table: Table, row: Row, column: int) -> str:
    spread, delta = table.spread(row, column), table.delta_text(row, column)
    text = table.printed(row, column) + (f" <small>± {spread}</small>" if spread else "")
    return text + (f"<br><small class='delta'>{delta}</small>" if delta else "")


def _row_label(row: Row) -> str:
    n = row.made_of if row.pretrainings > 1 else f"n = {row.trials}"
    return f"{row.label} ({n})" if row.trials > 1 else row.label


def _runs(items: Iterable) -> list[tuple]:
    return [(key, len(list(run))) for key, run in groupby(items)]


def _other_pictures(plots: Sequence[Plot], pictures: Mapping[tuple[str, str], bytes]) -> str:
    return f"<section><h2>Pictures</h2>{_gallery(plots, pictures)}</section>" if plots else ""


def _gallery(plots: Sequence[Plot], pictures: Mapping[tuple[str, str], bytes]) -> str:
    return f"<div class='gallery'>{''.join(_figure(plot, pictures) for plot in plots)}</div>" if plots else ""


def _figure(plot: Plot, pictures: Mapping[tuple[str, str], bytes]) -> str:
    light, dark = (_data_uri(pictures[plot.name, theme]) for theme in ("light", "dark"))
    return (
        f"<figure class='{'wide' if plot.is_wide else 'plot'}'><div class='scroll'><picture>"
        f"<source media='(prefers-color-scheme: dark)' srcset='{dark}'>"
        f"<img src='{light}' alt='{escape(plot.title, quote=True)}'></picture></div>"
        f"<figcaption>{set_text(plot.caption)}</figcaption></figure>"
    )


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _durations(content: Content) -> str:
    if not content.durations:
        return ""
    columns, rows = duration_table(content.durations)
    table = plain_table(["", *columns], [[label, *cells] for label, cells in rows])
    return f"<section><h2>Wall times</h2>{table}</section>"


def _left_out(content: Content) -> str:
    if not content.left_out:
        return ""
    return f"<section class='warning'><h2>Left out</h2>{sentences(content.left_out)}</section>"


def _published(content: Content) -> str:
    parts = []
    for heading, entries in published_by_protocol(content.published).items():
        rows = [[published_method(e), published_values(e), e.status, published_source(e)] for e in entries]
        parts.append(f"<h3>{escape(heading)}</h3>{plain_table(OF_A_SOURCE, rows, as_cards=True)}")
    return (
        "<section class='published'><h2>Published numbers, none of them measured here</h2>"
        f"<p>{escape(NOT_COMPARABLE)}</p>{''.join(parts)}</section>"
    )
