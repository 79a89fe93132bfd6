"""What two numbers must share to stand in one table, and what more to stand in one column."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .departures import departures
from .measured import Measured
from .subjects import CLASSIFICATION_FLAVOURS


@dataclass(frozen=True)
class Protocol:
    """What two numbers must share to stand in one table (in one column: the metric's flavour, too).

    ``world``: digest of the file list's fingerprint and of the miniature world's own description. ``settings``: digest
    of what the runs did otherwise than the protocol's name says; empty where all runs of that name did the same.
    """

    name: str
    engine: str
    dataset: str
    world: str
    settings: str = ""
    miniature: bool = False
    images: int | None = None

    @staticmethod
    def of(measured: Measured) -> "Protocol":
        data, result = measured.result["dataset"], measured.result
        return Protocol(
            result["protocol"],
            result["engine"],
            data.get("name", ""),
            hashlib.sha256(measured.data.encode()).hexdigest()[:8],
            settings_of(measured),
            bool(data.get("miniature")),
            (data.get("fingerprint") or {}).get("images"),
        )

    @property
    def title(self) -> str:
        """The name, with the settings' digest where it takes that to tell two apart."""
        return self.name + (f" (settings {self.settings})" if self.settings else "")


def protocols_of(measured: Sequence[Measured]) -> list[Protocol]:
    """Of each result; the digest of the settings is dropped where a name has one alone."""
    exact = [Protocol.of(m) for m in measured]
    bare = [replace(p, settings="") for p in exact]
    settings: dict[Protocol, set[str]] = {}
    for p, b in zip(exact, bare, strict=True):
        settings.setdefault(b, set()).add(p.settings)
    return [p if len(settings[b]) > 1 else b for p, b in zip(exact, bare, strict=True)]


def flavour_of(measured: Measured, key: str) -> str:
    """Of one value; a detector's result may hold several flavours, told apart by the first part of the value's key."""
    by_prefix = measured.result["details"].get("flavours", {})
    first = by_prefix.get(key.split("/")[0], measured.result["metric_flavour"])
    return CLASSIFICATION_FLAVOURS.get(key, first)


def settings_of(measured: Measured) -> str:
    """A digest of what a protocol's name leaves open; weights and seeds are no part of it."""
    differing = departures(measured)
    found = [f"{d['key']} {d['value']}" for d in differing]
    if measured.stage == "classification" and "custom" in measured.result["protocol"]:
        # the id says that something is otherwise, and not what
        sections = {k: v for k, v in measured.result["config"].items() if k not in ("SEED", "TRIAL", "FEATURES")}
        found.append(json.dumps(sections, sort_keys=True))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:4] if found else ""
