"""The probes that a config asks for: a command of ``clsa-classify`` with its config and options."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

#: Command of clsa-classify -> the folder of the data that it probes on.
DATA = {
    "svm": "VOC2007",
    "linear": "VOC2007",
    "lowshot": "VOC2007",
    "logistic": "VOC2007",
    "imagenet": "imagenet",
    "knn": "imagenet",
}

#: Its training has epochs, GPUs and checkpoints of its own.
TRAINED_ON_IMAGES = "imagenet"


@dataclass(frozen=True)
class Probe:
    """``name``: of the folder, the config's without ``.yaml``; ``options``: of the command line, such as ``--mode``."""

    name: str
    command: str
    config: Path
    options: tuple[str, ...] = ()

    @property
    def data(self) -> str:
        """``"VOC2007"`` or ``"imagenet"``."""
        return DATA[self.command]

    @property
    def resumable(self) -> bool:
        return self.command == TRAINED_ON_IMAGES

    @property
    def on_all_gpus(self) -> bool:
        return self.command == TRAINED_ON_IMAGES and "--cached-features" not in self.options

    @property
    def reads_frozen_statistics(self) -> bool:
        """Whether BatchNorm's statistics may be re-estimated before it (FEATURES.REESTIMATE_BN)."""
        return self.data == "VOC2007" and "public_code" not in self.options


def probes(cfg: CfgNode) -> list[Probe]:
    """CLASSIFY.PROBES, read and checked.

    Raises:
        InputError: an entry that is no probe, a config that does not exist, two probes of one name, baselines without
            an SVM.
    """
    found: dict[str, Probe] = {}
    for entry in cfg.CLASSIFY.PROBES:
        probe = _probe(entry)
        if probe.name in found:
            raise InputError(
                f"CLASSIFY.PROBES has two probes of the name {probe.name}, which is their folder's. Copy the config "
                "under another name."
            )
        found[probe.name] = probe
    if cfg.CLASSIFY.BASELINES and not baseline_probes(list(found.values())):
        raise InputError(
            "CLASSIFY.BASELINES go through the SVM, and CLASSIFY.PROBES has none. Add one, or [] for none."
        )
    return list(found.values())


def baseline_probes(chosen: Sequence[Probe]) -> list[Probe]:
    """The probes that features without weights go through, too."""
    return [probe for probe in chosen if probe.command == "svm"]


def _probe(entry: Any) -> Probe:
    if not isinstance(entry, (list, tuple)) or len(entry) < 2 or not all(isinstance(word, str) for word in entry):
        raise InputError(f"CLASSIFY.PROBES has {entry!r}, each entry must be [command, config, options ...]")
    command, config, *options = entry
    if command not in DATA:
        raise InputError(f"CLASSIFY.PROBES has the command {command!r}, it must be one of {', '.join(DATA)}")
    path = find_config(config).absolute()
    return Probe(path.stem, command, path, tuple(options))
