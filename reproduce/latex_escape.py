"""Any text so that LaTeX prints it, with pdfLaTeX's default fonts: nothing in a name or a source can be a command."""

import re
import unicodedata

#: What TeX would read as its own, or its default fonts lack or print as something else (``<`` as an exclamation mark).
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
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "`": "`{}",
    "[": "{[}",  # else the optional argument of the line break above
    "*": "{*}",  # else its star
    "/": r"/\allowbreak{}",
    "²": "$^2$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "τ": r"$\tau$",
    "\u00a0": "~",
    "\u200b": "{}",
}

#: The letters that LaTeX reads as UTF-8 by itself: those of Latin-1 and Latin Extended-A.
LAST_LETTER = 0x17F


def escape(text: str) -> str:
    """``text`` as LaTeX, AP_S with its subscript; a letter that the fonts lack becomes its nearest, or its number.

    Lines may break after ``/``, for paths are long.
    """
    text = re.sub(r"-(?=-)", "-\u200b", text.replace("->", "→"))  # two hyphens would be a dash
    parts = re.split(r"AP_([SML])\b", text)  # text, size, text, size, ..., text
    plain = ["".join(map(_escaped, part)) for part in parts[::2]]
    return plain[0] + "".join(f"AP$_{size}$" + rest for size, rest in zip(parts[1::2], plain[1:], strict=True))


def _escaped(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if character.isascii():
        return character if character.isprintable() else " "
    if ord(character) <= LAST_LETTER and character.isalpha():
        return character
    nearest = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii() and c.isprintable())
    return "".join(map(_escaped, nearest)) or f"{{[}}U+{ord(character):04X}]"
