"""A result.json that the report can compute with: every field that it reads is of the type that it must be."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.configs.run_files import read_result

#: Where it stands, ``*`` for each of a dict's values or a list's items -> what it must be. ``?``: or null. Where its
#: parent is there, a field with ``!`` must be there, too.
FIELDS = {
    "values": "dict",
    "per_class": "dict",
    "per_class.*": "dict",
    "per_class.*.*": "number?",
    "protocol": "text",
    "metric_flavour": "text",
    "engine": "text",
    "stage": "text",
    "seed": "int",
    "trial": "int",
    "wall_seconds": "number?",
    "weights": "dict",
    "weights.file": "text?",
    "weights.sha256": "text?",
    "weights.method": "text?",
    "weights.architecture": "dict?",
    "weights.architecture.depth": "int?",
    "weights.source": "dict?",
    "weights.source.file": "text?",
    "weights.source.sha256": "text?",
    "weights.source.method": "text?",
    "weights.source.network": "text?",
    "weights.source.epoch": "int?",
    "dataset": "dict",
    "dataset.name!": "text",
    "dataset.root": "text?",
    "dataset.fingerprint": "dict?",
    "dataset.fingerprint.images": "int?",
    "dataset.miniature": "dict?",
    "details": "dict",
    "details.features": "text?",
    "details.layer": "text?",
    "details.flavours": "dict",
    "details.flavours.*": "text",
    "details.protocol_check": "dict?",
    "details.protocol_check.nearest!": "text",
    "details.protocol_check.differences": "list?",
    "details.protocol_check.differences.*": "dict",
    "details.protocol_check.differences.*.key!": "text",
    "details.protocol_check.differences.*.value!": "anything",
    "details.protocol_check.differences.*.protocol_value!": "anything",
    "details.best_layer": "text",
    "details.figures_by_layer": "dict",
    "details.figures_by_layer.*": "dict",
    "details.figures_by_layer.*.*": "number?",
    "details.low_shot": "dict",
    "details.low_shot.*": "dict",
    "details.low_shot.*.cross_validated!": "dict",
    "details.low_shot.*.cross_validated.mAP envelope!": "dict",
    "details.low_shot.*.cross_validated.mAP envelope.samples!": "list",
    "details.low_shot.*.cross_validated.mAP envelope.samples.*": "number",
    "details.low_shot.*.oracle_c!": "dict",
    "details.low_shot.*.oracle_c.mAP envelope!": "dict",
    "details.low_shot.*.oracle_c.mAP envelope.samples!": "list",
    "details.low_shot.*.oracle_c.mAP envelope.samples.*": "number",
    "config": "dict",
    "config.FEATURES": "dict?",
    "config.MODEL": "dict?",
    "config.MODEL.RESNETS": "dict?",
    "config.MODEL.RESNETS.DEPTH": "int?",
}

#: What a field must be -> in words, and the Python types.
KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "dict": ("a mapping", (dict,)),
    "list": ("a list", (list,)),
    "text": ("a text", (str,)),
    "int": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "anything": ("there", (object,)),
}
MISSING = object()


def read_checked(path: Path) -> dict[str, Any]:
    """The content of a result.json.

    Raises:
        InputError: damaged, of another schema version, a field of another type, no flavour, a value out of 0..100.
    """
    result = read_result(path)
    for where, kind in FIELDS.items():
        words, types = KINDS[kind.rstrip("?")]
        for place, value in _at(result, where.split(".")):
            if value is None and kind.endswith("?"):
                continue
            if not _is(value, types):
                got = "missing" if value is MISSING else repr(value)
                raise InputError(f"{path}: {place} is {got}, it must be {words}. Run the evaluation again.")
    for name in ("protocol", "metric_flavour", "engine"):
        if not result[name]:
            raise InputError(f"{path}: {name} is empty: its numbers compare with nothing. Run the evaluation again.")
    for name, value in result["values"].items():
        if value is not None and not (_is(value, (int, float)) and 0 <= value <= 100):
            raise InputError(
                f"{path}: {name} is {value!r}, it must be a percentage in 0..100. Run the evaluation again."
            )
    details = result["details"]
    if "figures_by_layer" in details and details.get("best_layer") not in details["figures_by_layer"]:
        raise InputError(
            f"{path}: details.best_layer is {details.get('best_layer')!r}, which is none of those in "
            "details.figures_by_layer. Run the evaluation again."
        )
    if any(not k.isdecimal() for k in details.get("low_shot", {})):
        raise InputError(f"{path}: details.low_shot is not by numbers of images. Run the evaluation again.")
    return result


def _is(value: Any, types: tuple[type, ...]) -> bool:
    """Python's True is a whole number, JSON's is none; NaN and infinity are no numbers to a report."""
    if value is MISSING or (isinstance(value, bool) and object not in types):
        return False
    return isinstance(value, types) and not (isinstance(value, float) and not math.isfinite(value))


def _at(value: Any, parts: list[str], place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, value) of what a path of :data:`FIELDS` names; a parent of another type is named by its own line."""
    if not parts:
        yield place, value
        return
    name, rest = parts[0].rstrip("!"), parts[1:]
    if name == "*":
        found = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    elif isinstance(value, dict) and (name in value or parts[0].endswith("!")):
        found = ((name, value.get(name, MISSING)),)
    else:
        found = ()
    for key, inner in found:
        yield from _at(inner, rest, f"{place}.{key}" if place else str(key))
