"""The data: a miniature world that is rendered, or real data sets that are checked before hours of training.

A real data set is no input of the other stages' stamps: listing ImageNet takes longer than most probes. The check
demands the counts of the released data sets, and each result records a fingerprint of the images that it was measured
on; the report leaves out what was measured on others.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

from .backbones import Backbone
from .probes import Probe
from .stage import Stage

KINDS = ("mini", "real")


def data_root(cfg: CfgNode, output: Path) -> Path:
    """Where the data is, or will be.

    Raises:
        InputError: an unknown DATA.KIND; real data, and nobody says where.
    """
    if cfg.DATA.KIND not in KINDS:
        raise InputError(f"DATA.KIND is {cfg.DATA.KIND!r}, it must be one of {', '.join(KINDS)}")
    root = cfg.DATA.ROOT
    if cfg.DATA.KIND == "real" and not root:
        root = os.environ.get("DETECTRON2_DATASETS", "")
        if not root:
            raise InputError(
                "DATA.KIND is real, and DATA.ROOT is empty: give DATA.ROOT, or export DETECTRON2_DATASETS, the folder "
                "that holds imagenet/, VOC2007/, VOC2012/, coco/."
            )
    return Path(root).expanduser().absolute() if root else output / "data" / "world"


def data_stage(cfg: CfgNode, output: Path, chosen: Sequence[Backbone], probes: Sequence[Probe]) -> Stage:
    """``clsa-data mini``, or ``clsa-data check`` of what the other stages need."""
    root = data_root(cfg, output)
    mini = cfg.DATA.KIND == "mini"
    if mini:
        arguments = ("mini", "--root", str(root), "--size", cfg.DATA.SIZE, "--seed", str(cfg.DATA.SEED))
    else:
        arguments = ("check", "--root", str(root), "--protocols", ",".join(_protocols(cfg, chosen, probes)))
    return Stage(
        kind="data",
        method="",
        name="data",
        folder=output / "data",
        script="clsa-data",
        arguments=arguments,
        inputs=(),
        outputs=(root,) if mini else (),
        outside={"DATA": root} if mini else {},  # another folder of real data has yet to be checked
        needs=(),
    )


def _protocols(cfg: CfgNode, chosen: Sequence[Backbone], probes: Sequence[Probe]) -> list[str]:
    """Of ``clsa-data check``: those that pretraining, detectors and probes need."""
    sets = {name.split("_")[0] for file in cfg.DETECT.CONFIG_FILES for name in _data_sets(file)}
    wanted = {
        "imagenet-pretrain": any(b.config and not b.untrained for b in chosen),
        "imagenet-linear": any(probe.data == "imagenet" for probe in probes),
        "voc07-probe": any(probe.data == "VOC2007" for probe in probes),
        "voc-detection": "voc" in sets,
        "coco-detection": "coco" in sets,
    }
    found = [name for name, needed in wanted.items() if needed]
    if not found:
        raise InputError(
            "nothing would be measured on real data: METHODS, DETECT.CONFIG_FILES and CLASSIFY.PROBES ask for none"
        )
    return found


def _data_sets(config_name: str) -> list[str]:
    """Names such as ``coco_2017_val``; in a YAML a tuple is a string that fvcore decodes as it merges."""
    loaded = CfgNode.load_yaml_with_base(str(find_config(config_name))).get("DATASETS", {})
    return [name for key in ("TRAIN", "TEST") for name in CfgNode._decode_cfg_value(loaded.get(key, ()))]
