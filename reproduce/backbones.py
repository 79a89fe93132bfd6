"""The backbones that are compared: pretrained here, or converted from checkpoints that are there already."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

Target = Literal["detectron2", "torchvision"]

#: The file of each target of clsa-convert.
FILES: dict[Target, str] = {"detectron2": "backbone_detectron2.pkl", "torchvision": "backbone_torchvision.pth"}

#: Folders of the output that are not a method's.
RESERVED = ("data", "plots")


@dataclass(frozen=True)
class Backbone:
    """A row of the tables, ``name``, and where its weights come from.

    Attributes:
        config: of clsa-pretrain, where it is pretrained; else None.
        checkpoint: where it is given; else None.
        untrained: pretraining only writes the untrained network.
    """

    name: str
    config: Path | None = None
    checkpoint: Path | None = None
    untrained: bool = False

    def stage_name(self, target: Target) -> str:
        """The stage that leaves the weights for ``target``. Pretraining converts for both as its last act."""
        return f"{self.name}/convert/{target}" if self.checkpoint else f"{self.name}/pretrain"

    def weights(self, output: Path, target: Target) -> Path:
        """The file that this stage leaves."""
        return output / self.stage_name(target) / FILES[target]


def backbones(cfg: CfgNode) -> list[Backbone]:
    """Those of WEIGHTS, then those of METHODS.

    Raises:
        InputError: an entry that is neither a name nor a pair, a name that cannot be a folder's or is there twice, a
            method without a pretraining config.
    """
    found = [_given(entry) for entry in cfg.WEIGHTS]
    found += [_pretrained(entry, cfg.PRETRAIN.CONFIG_FILE) for entry in cfg.METHODS]
    taken = [*RESERVED, *cfg.CLASSIFY.BASELINES]
    for backbone in found:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", backbone.name):
            raise InputError(f"{backbone.name!r} names a folder: it must be of letters, digits, _ . and -")
        if backbone.name in taken:
            raise InputError(f"the name {backbone.name!r} is taken already. Give WEIGHTS and METHODS one name each.")
        taken.append(backbone.name)
    return found


def row_names(cfg: CfgNode) -> list[str]:
    """Names of the rows: baselines, then backbones."""
    return [*cfg.CLASSIFY.BASELINES, *(backbone.name for backbone in backbones(cfg))]


def refuse_missing(chosen: Sequence[Backbone]) -> None:
    """Refuse, before hours of anything, a checkpoint that is not there.

    Raises:
        InputError: which one, and what to give.
    """
    for backbone in chosen:
        if backbone.checkpoint and not backbone.checkpoint.is_file():
            what = "is a folder" if backbone.checkpoint.is_dir() else "does not exist"
            raise InputError(
                f"WEIGHTS: {backbone.name} is {backbone.checkpoint}, which {what}. Give the file of a checkpoint that "
                f"clsa-convert reads, WEIGHTS \"[['{backbone.name}', 'FILE']]\", or leave {backbone.name} out."
            )


def _given(entry: Any) -> Backbone:
    if not _is_pair(entry):
        raise InputError(
            f"WEIGHTS has {entry!r}, each entry must be [name, file of a checkpoint]: "
            "WEIGHTS \"[['mine', '/path/checkpoint.pth']]\""
        )
    return Backbone(entry[0], checkpoint=Path(entry[1]).expanduser().absolute())


def _pretrained(entry: Any, template: str) -> Backbone:
    if _is_pair(entry):
        name, config = entry[0], find_config(entry[1])
    elif isinstance(entry, str):
        name, config = entry, _from_template(entry, template)
    else:
        raise InputError(f"METHODS has {entry!r}, each entry must be a name, or [name, config of clsa-pretrain]")
    untrained = CfgNode.load_yaml_with_base(str(config)).get("METHOD") == "random_init"
    return Backbone(name, config=config.absolute(), untrained=untrained)


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, (list, tuple)) and len(entry) == 2 and all(isinstance(part, str) for part in entry)


def _from_template(method: str, template: str) -> Path:
    if "{method}" not in template:
        raise InputError(f"PRETRAIN.CONFIG_FILE is {template!r}: it needs {{method}} where the method's name goes")
    try:
        return find_config(template.replace("{method}", method))
    except InputError:
        raise InputError(
            f"unknown method {method!r} in METHODS: there is no {template.replace('{method}', method)}. "
            "Give a method that has a pretraining config, or name its config: [name, config]."
        ) from None
