"""What a checkpoint says of its training: how far it got, with which options. None of it is needed to convert."""

from collections.abc import Mapping
from typing import Any

from .stand_ins import StandIn

#: What is recorded -> where the repositories keep it, the first that is there.
_PLACES = {
    "method": ("method",),
    "arch": ("arch",),
    "epoch": ("epoch", "meta/epoch", "phase_idx"),
    "iteration": ("iteration", "global_step", "meta/iter"),
}
_OPTIONS = ("args", "opt", "config", "cfg", "hyper_parameters", "meta")
_LONGEST = 200  # characters of an option that is text


def progress(content: Any, manifest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``method``, ``arch``, ``epoch``, ``iteration`` as far as they are stored, else None.

    Args:
        content: what the checkpoint holds.
        manifest: of a file that was itself converted: what it says of its source is passed on.
    """
    known = manifest.get("source", {}) if manifest else content
    return {name: _first_scalar(known, (name, *places)) for name, places in _PLACES.items()}


def options(content: Any) -> dict[str, Any]:
    """The hyper-parameters that the checkpoint stores: dotted name -> text, number or truth value."""
    found: dict[str, Any] = {}
    if isinstance(content, Mapping):
        for place in _OPTIONS:
            _collect("", content.get(place), found, depth=4)
    return found


def _first_scalar(known: Any, places: tuple[str, ...]) -> str | int | None:
    for place in places:
        value = known
        for key in place.split("/"):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return value
    return None


def _collect(name: str, value: Any, found: dict[str, Any], depth: int) -> None:
    if isinstance(value, StandIn):
        value = value.state
    if isinstance(value, Mapping) and depth:
        for key, inner in value.items():
            _collect(f"{name}.{key}" if name else str(key), inner, found, depth - 1)
    elif isinstance(value, (str, int, float, bool)) and name and len(found) < 1000:
        found[name] = value[:_LONGEST] if isinstance(value, str) else value
    elif isinstance(value, (list, tuple)) and name and all(isinstance(item, (int, float, str)) for item in value[:20]):
        found[name] = list(value[:20])
