"""The named protocols, and what a config does otherwise than one of them.

A protocol is a packaged config file, and its name the file's, with hyphens. Every key counts that can move AP, also
those that the file leaves at detectron2's default.
"""

import math
from dataclasses import dataclass
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import flat_keys, load_config
from clsa.configs.run_files import plain

from .auto_scale import scale
from .config import get_cfg, value_of
from .neutral_keys import NEUTRAL_KEYS
from .why_it_matters import why

PROTOCOLS = (
    "voc-r50-c4-24k",
    "voc-r50-fpn-24k-infomin-4conv1fc",
    "coco-r50-c4-1x",
    "coco-r50-c4-2x",
    "coco-r50-fpn-1x-moco-2fc",
    "coco-r50-fpn-2x-moco-2fc",
    "coco-r50-fpn-1x-infomin-4conv1fc",
    "coco-r50-fpn-2x-infomin-4conv1fc",
)

#: What separates families of protocols, the most important first: the nearest protocol agrees in the first of these.
FAMILY = (
    "DATASETS.TEST",
    "MODEL.BACKBONE.NAME",
    "MODEL.ROI_BOX_HEAD.NUM_CONV",
    "MODEL.ROI_BOX_HEAD.NUM_FC",
)

#: Keys that nothing reads when a detector has no pyramid; those of the mask head likewise without masks.
PYRAMID_ONLY = tuple(
    f"MODEL.ROI_BOX_HEAD.{name}" for name in ("NAME", "NUM_CONV", "CONV_DIM", "NUM_FC", "FC_DIM", "NORM")
)


@dataclass(frozen=True)
class Difference:
    """One key: its value in the config and in the protocol, and why that moves AP."""

    key: str
    value: Any
    protocol_value: Any
    why: str


@dataclass(frozen=True)
class Comparison:
    """``protocol`` is the name; ``follows_scaling_rule`` None where the batch size is the protocol's, else whether
    learning rate, iterations, steps and warm-up are what ``--auto-scale`` makes of the protocol's."""

    protocol: str
    differences: tuple[Difference, ...]
    follows_scaling_rule: bool | None

    def as_record(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "nearest": self.protocol,
            "follows_scaling_rule": self.follows_scaling_rule,
            "differences": [plain(vars(difference)) for difference in self.differences],
        }


def compare(cfg: CfgNode, protocol: str | None = None) -> Comparison:
    """The differences of ``cfg``, a tree of either engine, to a named protocol, or to the nearest one.

    Raises:
        InputError: there is no protocol of that name.
    """
    if protocol is not None:
        return _compare(cfg, protocol, protocol_config(protocol))
    candidates = {name: protocol_config(name) for name in PROTOCOLS}
    nearest = min(candidates, key=lambda name: _distance(cfg, candidates[name]))
    return _compare(cfg, nearest, candidates[nearest])


def protocol_config(name: str) -> CfgNode:
    """The resolved config of a named protocol."""
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}. The named ones are {', '.join(PROTOCOLS)}.")
    return load_config(get_cfg(), f"detection/{name.replace('-', '_')}.yaml")


def _compare(cfg: CfgNode, name: str, protocol: CfgNode) -> Comparison:
    differences = tuple(
        Difference(key, value_of(cfg, key), value_of(protocol, key), why(key)) for key in _differing(cfg, protocol)
    )
    return Comparison(name, differences, _follows_scaling_rule(cfg, protocol))


def _differing(cfg: CfgNode, protocol: CfgNode) -> list[str]:
    keys = [key for key in flat_keys(protocol) if key not in NEUTRAL_KEYS]
    for group, is_read in (
        (("MODEL.FPN.", *PYRAMID_ONLY), any("fpn" in c.MODEL.BACKBONE.NAME for c in (cfg, protocol))),
        (("MODEL.ROI_MASK_HEAD.",), cfg.MODEL.MASK_ON or protocol.MODEL.MASK_ON),
    ):
        if not is_read:
            keys = [key for key in keys if not key.startswith(group)]
    return [key for key in keys if plain(value_of(cfg, key)) != plain(value_of(protocol, key))]


def _distance(cfg: CfgNode, protocol: CfgNode) -> tuple:
    """Family first, then the number of images seen (which survives another batch size), then the number of keys."""
    family = tuple(plain(value_of(cfg, key)) != plain(value_of(protocol, key)) for key in FAMILY)
    images = [c.SOLVER.MAX_ITER * c.SOLVER.IMS_PER_BATCH for c in (cfg, protocol)]
    return *family, round(abs(math.log(max(images[0], 1) / images[1])), 2), len(_differing(cfg, protocol))


def _follows_scaling_rule(cfg: CfgNode, protocol: CfgNode) -> bool | None:
    old, new = protocol.SOLVER.IMS_PER_BATCH, cfg.SOLVER.IMS_PER_BATCH
    if old == new:
        return None
    return all(
        plain(value_of(cfg, key)) == plain(scale(key, value_of(protocol, key), old, new))
        for key in ("SOLVER.BASE_LR", "SOLVER.MAX_ITER", "SOLVER.STEPS", "SOLVER.WARMUP_ITERS")
    )
