"""Pieces of the HTML report that know nothing of its content: text, lists, notes, plain tables."""

from collections.abc import Sequence
from html import escape

from .departures import summary_and_settings


def set_text(text: str) -> str:
    """Escaped, with AP_S as the papers set it."""
    text = escape(text)
    for size in "SML":
        text = text.replace(f"AP_{size}", f"AP<sub>{size}</sub>")
    return text


def css_class(word: str) -> str:
    """``"above-beyond-noise"``: a verdict's word as CSS knows it."""
    return word.replace(",", "").replace(" ", "-")


def sentences(said: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{set_text(sentence)}</li>" for sentence in said) + "</ul>"


def note(text: str) -> str:
    """A list of settings stays folded: it fills a phone's screen."""
    summary, settings = summary_and_settings(text)
    said = f"<p class='note'>{set_text(summary)}</p>"
    if not settings:
        return said
    listed = "".join(f"<li>{escape(setting)}</li>" for setting in settings)
    title = f"The {len(settings)} settings, the protocol's in brackets"
    return f"{said}<details class='note'><summary>{title}</summary><ul>{listed}</ul></details>"


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]], as_cards: bool = False) -> str:
    """``as_cards``: where the page is narrow each row becomes a card, its cells below each other by name."""
    head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in header)
    return (
        f"<div class='scroll'><table{' class=cards' if as_cards else ''}><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(_row(header, row) for row in rows)}</tbody></table></div>"
    )


def _row(header: Sequence[str], row: Sequence[str]) -> str:
    cells = "".join(
        f"<td data-name='{escape(name, quote=True)}'>{_cell(name, cell)}</td>"
        for name, cell in zip(header[1:], row[1:], strict=True)
    )
    return f"<tr><th scope='row'>{set_text(row[0])}</th>{cells}</tr>"


def _cell(name: str, text: str) -> str:
    return f"<span class='verdict {css_class(text)}'>{escape(text)}</span>" if name == "verdict" else set_text(text)
