"""The ledger of published numbers, ``ledger/*.yaml``: each with its protocol, its source, and how far it is verified.

An entry::

    method: MoCo v2
    epochs: 200                          # of pretraining; left out where there are none, or the source does not say
    protocol: voc-r50-c4-24k
    engine: detectron2                   # left out where the source does not say
    head: c4                             # of a detector: c4, moco-2fc, infomin-4conv1fc, or "not stated"
    schedule: 24k                        # of a detector: 24k, 1x, 2x, or "not stated"; both as the protocol's id says
    depth: 50                            # of the ResNet; left out: 50
    metric_flavour: VOC 11-point, IoU .50:.95
    values: {bbox/AP50: 82.4}            # named as in result.json
    spread: {bbox/AP50: 0.2}             # standard deviation over trials, if the source gives one
    trials: 5
    source: detection/README of facebookresearch/moco
    status: verified                     # or second-hand (quoted by somebody else), or unverified
    departs: MAX_SIZE_TRAIN 1200         # what was done otherwise than the protocol, so that it compares with nothing
    note: free text
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from clsa.configs.command import InputError

from .as_printed import read_yaml

NOT_STATED = "not stated"
FOLDER = Path(__file__).parent / "ledger"
STATUSES = ("verified", "second-hand", "unverified")
FLAVOURS = (
    "COCO",
    "VOC 11-point, IoU .50:.95",
    "VOC area, IoU .50:.95",
    "class mAP, envelope",
    "class mAP, step",
    "class mAP, 11-point",
    "per-image AP",
    "top-1 accuracy",
    "wall time",
)


@dataclass(frozen=True)
class Published:
    """One published set of numbers; ``values`` in percent, or hours. ``head``, ``schedule``: None but of a detector."""

    method: str
    protocol: str
    metric_flavour: str
    values: dict[str, float]
    source: str
    status: str
    epochs: int | None = None
    engine: str | None = None
    spread: dict[str, float] = field(default_factory=dict)
    trials: int | None = None
    note: str = ""
    head: str | None = None
    schedule: str | None = None
    depth: int = 50
    departs: str = ""


def read_ledger(folder: Path = FOLDER, own: Sequence[Path] = ()) -> list[Published]:
    """Every entry of the ledger's files, in order of file name, then those of a user's ``own`` files.

    Raises:
        InputError: an entry that breaks the schema, named by file, position and field.
    """
    entries = []
    for path in [*sorted(folder.glob("*.yaml")), *own]:
        if not path.is_file():
            raise InputError(f"{path} is not a file. Give a ledger of your own as a YAML file; see {__name__}.")
        try:
            content = read_yaml(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {error}") from error
        listed = content.get("entries") if isinstance(content, dict) else None
        if not isinstance(listed, list) or set(content) != {"entries"}:
            raise InputError(f"{path} must hold one key, entries, with a list")
        entries += [check_entry(entry, f"{path.name}, entry {i}") for i, entry in enumerate(listed, 1)]
    return entries


def check_entry(entry: Any, where: str) -> Published:
    """The entry as a :class:`Published`; an ``InputError`` names the field that breaks the schema."""
    if not isinstance(entry, dict):
        raise InputError(f"ledger {where} is {entry!r}, it must be a mapping")
    known = [f.name for f in fields(Published)]
    for name in entry:
        if name not in known:
            raise InputError(f"ledger {where}: unknown field {name!r}, known are {', '.join(known)}")
    for name in ("method", "protocol", "metric_flavour", "source", "status"):
        _require(isinstance(entry.get(name), str) and entry[name], where, name, entry, "a text")
    _require(entry["status"] in STATUSES, where, "status", entry, f"one of {', '.join(STATUSES)}")
    _require(entry["metric_flavour"] in FLAVOURS, where, "metric_flavour", entry, f"one of {'; '.join(FLAVOURS)}")
    for name in ("values", "spread"):
        numbers = entry.get(name, {})
        good = isinstance(numbers, dict) and all(
            isinstance(key, str)
            and isinstance(value, (int, float))
            and type(value) is not bool
            and 0 <= value <= (1000 if key == "hours" else 100)
            for key, value in numbers.items()
        )
        _require(good, where, name, entry, "names with numbers, percent in 0..100 or hours")
    _require(bool(entry.get("values")), where, "values", entry, "at least one number")
    _require(
        set(entry.get("spread", {})) <= set(entry["values"]), where, "spread", entry, "of the same names as values"
    )
    for name, stated in zip(("head", "schedule"), detector_of(entry["protocol"]) or (None, None), strict=True):
        needed = f"{stated}, as the protocol's id says" if stated else "left out: the protocol is none of a detector"
        _require(entry.get(name, stated) == stated, where, name, entry, needed)
        entry = {**entry, name: stated}
    for name in ("note", "departs"):
        _require(isinstance(entry.get(name, ""), str), where, name, entry, "a text")
    for name in ("epochs", "trials", "depth"):
        _require(name not in entry or (type(entry[name]) is int and entry[name] > 0), where, name, entry, "a count")
    return Published(**entry)


def detector_of(protocol: str) -> tuple[str, str] | None:
    """Head and schedule of a detector's protocol, ``("moco-2fc", "1x")`` of ``coco-r50-fpn-1x-moco-2fc``; else None.

    A C4 detector has one head, which its id does not repeat. An id that names neither is of a detector not stated.
    """
    if not protocol.startswith(("voc-", "coco-")):
        return None
    named = re.fullmatch(r"(?:voc|coco)-r\d+-(?:(c4)-(24k|1x|2x)|fpn-(24k|1x|2x)-(.+))", protocol)
    if named is None:
        return NOT_STATED, NOT_STATED
    c4, of_c4, of_fpn, head = named.groups()
    return c4 or head, of_c4 or of_fpn


def _require(good: Any, where: str, name: str, entry: dict, needed: str) -> None:
    if not good:
        raise InputError(f"ledger {where}: {name} is {entry.get(name)!r}, it must be {needed}")
