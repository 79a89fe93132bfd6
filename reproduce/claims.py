"""The claims of ``configs/reproduce/claims.yaml``, and a user's own: their schema. :mod:`.judging` judges them."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

PAPER = "configs/reproduce/claims.yaml"
TESTS = ("above", "at_most_below")


@dataclass(frozen=True)
class Side:
    """``methods``: the first one that has a result stands. ``printed``: the paper's number, None where it has none."""

    methods: tuple[str, ...]
    printed: float | None = None


@dataclass(frozen=True)
class Claim:
    """One entry of the file.

    ``key_b`` and ``flavour_b``: where B's number was measured by another definition. ``datasets``: patterns of names of
    data that only the user knows; of COCO, VOC07 and ImageNet the full size is asked for, without being named.
    """

    id: str
    statement: str
    test: Literal["above", "at_most_below"]
    a: Side
    b: Side
    key: str
    flavour: str
    protocols: tuple[str, ...]
    to_settle: str
    flavours: str
    margin: float = 0.0
    engine: str | None = None
    key_b: str | None = None
    flavour_b: str | None = None
    depth: int | None = None
    epochs: int | None = None
    datasets: tuple[str, ...] = ()


def read_claims(file: str | Path = PAPER) -> list[Claim]:
    """The claims of a YAML file.

    Raises:
        InputError: the file, the claim and the field that break the schema.
    """
    path = find_config(str(file))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    listed = content.get("claims") if isinstance(content, dict) else None
    if not isinstance(listed, list) or set(content) != {"claims"}:
        raise InputError(f"{path} must hold one key, claims, with a list")
    return [check_claim(entry, f"{path.name}, claim {i}") for i, entry in enumerate(listed, 1)]


def check_claim(entry: Any, where: str) -> Claim:
    """The entry as a :class:`Claim`; an ``InputError`` names the field."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {entry!r}, it must be a mapping")
    known = {f.name: f.default is MISSING for f in fields(Claim)}
    for name in entry:
        if name not in known:
            raise InputError(f"{where}: unknown field {name!r}, known are {', '.join(known)}")
    for name, required in known.items():
        if required and not entry.get(name):
            raise InputError(f"{where}: {name} is missing")
    if entry["test"] not in TESTS:
        raise InputError(f"{where}: test is {entry['test']!r}, it must be one of {', '.join(TESTS)}")
    sides = {}
    for name in ("a", "b"):
        side = entry[name]
        if (
            not isinstance(side, dict)
            or not isinstance(side.get("methods"), list)
            or set(side) - {"methods", "printed"}
        ):
            raise InputError(f"{where}: {name} is {side!r}, it must hold methods (a list), and printed if there is one")
        sides[name] = Side(tuple(side["methods"]), side.get("printed"))
    for name in ("protocols", "datasets"):
        if not isinstance(entry.get(name, []), list):
            raise InputError(f"{where}: {name} is {entry[name]!r}, it must be a list")
    return Claim(**{**entry, **sides, **{name: tuple(entry.get(name, ())) for name in ("protocols", "datasets")}})
