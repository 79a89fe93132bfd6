"""One evaluation as the report uses it: a result.json, and whose it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .stages import REESTIMATED


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
