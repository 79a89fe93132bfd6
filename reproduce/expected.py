"""How long stages are expected to take, from the config's ``[pattern, time]`` pairs, and what that adds up to."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from clsa.configs.command import InputError

from .stage import Stage

UNITS = {"s": 1, "min": 60, "h": 3600}


def first_fit(pairs: Sequence[Any], name: str, key: str) -> Any:
    """The value of the first ``[pattern, value]`` whose pattern (``*``, ``?``) fits ``name``; None without one.

    Raises:
        InputError: an entry of ``key`` that is no such pair.
    """
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise InputError(f"{key} has {pair!r}, each entry must be [pattern, value]")
    return next((value for pattern, value in pairs if fnmatchcase(name, pattern)), None)


def seconds(text: Any) -> float:
    """``"53 h"``, ``"8 min"``, ``"45 s"`` in seconds; None, which is not known, is 0."""
    if text is None:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", str(text))
    if not found:
        raise InputError(f'EXPECTED has the time {text!r}, it must be like "53 h", "8 min" or "45 s"')
    return float(found[1]) * UNITS[found[2]]


def cost_text(stage: Stage) -> str:
    """``"about 53 h, 8 GPUs"`` of one stage."""
    known = f"about {in_units(stage.expected_seconds)}" if stage.expected_seconds else "time not known"
    return f"{known}, {f'{stage.gpus} GPUs' if stage.gpus > 1 else '1 GPU' if stage.gpus else 'no GPU'}"


def in_units(length: float) -> str:
    """``"53 h"``, ``"0.6 h"``, ``"8 min"``, ``"45 s"``."""
    if length >= 1800:
        return f"{length / 3600:,.0f} h" if length >= 36000 else f"{length / 3600:.1f} h"
    return f"{length / 60:.0f} min" if length >= 120 else f"{length:.0f} s"


def totals(stages: Sequence[Stage]) -> list[str]:
    """A line for each kind of stage, and one for all: how many, how long one after the other, how many GPU hours."""
    kinds = list(dict.fromkeys(stage.kind for stage in stages))
    lines = [_total(kind, [stage for stage in stages if stage.kind == kind]) for kind in kinds]
    return [*lines, _total("in all", stages)]


def _total(name: str, stages: Sequence[Stage]) -> str:
    known = [stage for stage in stages if stage.expected_seconds]
    wall = sum(stage.expected_seconds for stage in known)
    on_gpus = sum(stage.expected_seconds * stage.gpus for stage in known) / 3600
    said = f"{name:<9}{len(stages):>4} {'stage ' if len(stages) == 1 else 'stages'}"
    said += f"{in_units(wall) if known else 'time not known':>15}"
    said += f", {on_gpus:,.0f} GPU hours" if on_gpus >= 0.5 else ""
    unknown = len(stages) - len(known)
    return said + (f", and {unknown} whose time is not known" if known and unknown else "")
