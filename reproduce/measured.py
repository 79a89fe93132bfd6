"""One evaluation as the report uses it: a result.json that was checked, and whose it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.configs.run_files import read_result

from .stages import REESTIMATED

#: Fields of a result that the report computes with.
RESULT_FIELDS = {
    "values": dict,
    "protocol": str,
    "metric_flavour": str,
    "engine": str,
    "dataset": dict,
    "stage": str,
    "weights": dict,
    "details": dict,
    "config": dict,
    "seed": int,
    "trial": int,
}


@dataclass(frozen=True)
class Measured:
    """One evaluation. ``named``: the user said which method it is, so several weights are pretrainings of one."""

    method: str
    folder: Path
    result: dict[str, Any]
    named: bool = False

    @property
    def stage(self) -> str:
        """``"detection"`` or ``"classification"``."""
        return self.result["stage"]

    @property
    def reestimated(self) -> bool:
        """Whether BatchNorm's statistics were re-estimated for a probe."""
        configured = (self.result["config"].get("FEATURES") or {}).get("REESTIMATE_BN", False)
        return bool(configured) or self.folder.name.endswith(REESTIMATED)

    @property
    def weights(self) -> str | None:
        """SHA-256 of the weights' file; None for a random start and for features without weights."""
        return self.result["weights"].get("sha256")

    @property
    def pretraining(self) -> str | None:
        """Equal for what was evaluated from one pretraining, whichever form its weights were converted to."""
        source = self.result["weights"].get("source") or {}
        if source.get("sha256"):
            return f"{source['sha256']} {source.get('network')}"
        return self.weights

    @property
    def depth(self) -> int | None:
        """Of the ResNet: as its weights' manifest says, or as a detector's config does."""
        stated = (self.result["weights"].get("architecture") or {}).get("depth")
        if stated is None and self.stage == "detection":
            resnets = (self.result["config"].get("MODEL") or {}).get("RESNETS") or {}
            stated = resnets.get("DEPTH")
        return stated

    @property
    def data(self) -> str:
        """What identifies the images: two miniature worlds of other seeds have the same file names."""
        data = self.result["dataset"]
        return json.dumps([data.get("fingerprint"), data.get("miniature")], sort_keys=True)


def method_of(result: dict[str, Any]) -> str | None:
    """The method that a result's weights, or its features, name; None where nothing does."""
    weights = result["weights"]
    named = weights.get("method") or (weights.get("source") or {}).get("method")
    if named:
        return named
    features = result["details"].get("features")
    if features and features != "backbone":
        return features
    return None if weights.get("file") else "random_init"


def read_checked(path: Path) -> dict[str, Any]:
    """A result.json that the report can compute with.

    Raises:
        InputError: damaged, of another schema version, a field of another type, no flavour, a value out of 0..100.
    """
    result = read_result(path)
    for name, kind in RESULT_FIELDS.items():
        if not isinstance(result[name], kind):
            raise InputError(
                f"{path}: {name} is {result[name]!r}, it must be a {kind.__name__}. Run the evaluation again."
            )
    for name in ("protocol", "metric_flavour", "engine"):
        if not result[name]:
            raise InputError(f"{path}: {name} is empty: its numbers compare with nothing. Run the evaluation again.")
    for name, value in result["values"].items():
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 100):
            raise InputError(
                f"{path}: {name} is {value!r}, it must be a percentage in 0..100. Run the evaluation again."
            )
    return result
