"""The arguments that the probes share, and the config that they become."""

import argparse
from collections.abc import Mapping

from fvcore.common.config import CfgNode

from clsa.configs.loading import load_config

from ..config import get_cfg

OUTPUT_FILES = """\
OUTPUT gets result.json (all four average precisions by name, per class, and how they came about), scores.npz (scores,
labels, image_ids, classes), config.yaml and log.txt.
"""


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """What every probe of frozen features takes. Further options are added before; the overrides come last."""
    parser.add_argument("--weights", metavar="W.pth", help="backbone in torchvision's names, .pth or .safetensors")
    parser.add_argument("--data", metavar="DIR", required=True, help="the VOC2007 folder")
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--config-file", metavar="F", help="YAML; without it the published VOC07 protocol")
    parser.add_argument(
        "--features",
        choices=("backbone", "colour_histogram", "hog", "chance"),
        help="short for FEATURES.KIND; all but backbone are baselines without weights",
    )
    parser.add_argument(
        "overrides", metavar="KEY VALUE", nargs=argparse.REMAINDER, help="config keys, after all options"
    )


def config_of(
    args: argparse.Namespace, shorts: Mapping[str, str | None] | None = None, defaults: CfgNode | None = None
) -> CfgNode:
    """The defaults (:func:`get_cfg`'s, or a protocol's own), then the config file, then the overrides, then the options
    that are ``shorts`` for a key, where they were given."""
    shorts = {"FEATURES.KIND": args.features, **(shorts or {})}
    given = [word for key, value in shorts.items() if value for word in (key, value)]
    return load_config(defaults or get_cfg(), args.config_file, args.overrides + given)
