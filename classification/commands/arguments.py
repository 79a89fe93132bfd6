"""The arguments that the probes share, and the config that they become."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.loading import load_config

from ..config import get_cfg

OUTPUT_FILES = """\
OUTPUT gets result.json (all four average precisions by name, per class, and how they came about), scores.npz (scores,
labels, image_ids, classes), config.yaml and log.txt. The features are kept in the cache: another probe of the same
weights, images and layers finds them there, and one that was killed goes on.
"""
ALL_LAYERS = ("conv1", "res2", "res3", "res4", "res5", "avgpool")


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """What every probe of frozen features takes. Further options are added before; the overrides come last."""
    add_data_arguments(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder of cached features, or `none` to keep them in memory; without it OUTPUT/../features",
    )
    parser.add_argument(
        "--features",
        choices=("backbone", "colour_histogram", "hog", "chance"),
        help="short for FEATURES.KIND; all but backbone are baselines without weights",
    )
    add_overrides(parser)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Weights, images and config."""
    parser.add_argument("--weights", metavar="W.pth", help="backbone in torchvision's names, .pth or .safetensors")
    parser.add_argument(
        "--data",
        metavar="DIR",
        required=True,
        help="the VOC2007 folder, or any other in its layout, or one with SPLIT/CLASS/IMAGE (DATA.LAYOUT)",
    )
    parser.add_argument("--config-file", metavar="F", help="YAML; without it the published VOC07 protocol")


def add_layers(parser: argparse.ArgumentParser) -> None:
    """``--layer``, of the subcommands that take several."""
    parser.add_argument(
        "--layer",
        nargs="+",
        metavar="L",
        help=f"short for FEATURES.LAYERS: some of {', '.join(ALL_LAYERS)}, or all",
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The config keys, which are whatever is left."""
    parser.add_argument(
        "overrides", metavar="KEY VALUE", nargs=argparse.REMAINDER, help="config keys, after all options"
    )


def config_of(args: argparse.Namespace, shorts: Mapping[str, str | None] | None = None) -> CfgNode:
    """The config file, then the overrides, then the options that are ``shorts`` for a key, where they were given."""
    layers, overrides = _split_layers(getattr(args, "layer", None) or [])
    shorts = {"FEATURES.KIND": getattr(args, "features", None), **(shorts or {})}
    if layers:
        shorts["FEATURES.LAYERS"] = str(list(ALL_LAYERS) if layers == ["all"] else layers)
    given = [word for key, value in shorts.items() if value for word in (key, value)]
    return load_config(get_cfg(), args.config_file, overrides + args.overrides + given)


def cache_of(args: argparse.Namespace) -> Path | None:
    """Where features are cached: probes whose outputs lie side by side share them."""
    if args.cache == "none":
        return None
    return Path(args.cache) if args.cache else Path(args.output).absolute().parent / "features"


def _split_layers(words: list[str]) -> tuple[list[str], list[str]]:
    """``--layer res4 res5 SVM.GRID vissl11`` is two layers and an override: keys are upper case, layers are not."""
    first_key = next((place for place, word in enumerate(words) if word[:1].isupper()), len(words))
    return words[:first_key], words[first_key:]
