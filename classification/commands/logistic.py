"""``clsa-classify logistic``."""

import argparse

from clsa.configs.loading import load_config

from .arguments import OUTPUT_FILES, add_probe_arguments, cache_of

SUMMARY = "one-vs-rest logistic regressions, one of 45 costs picked on val"
DESCRIPTION = f"""\
One-vs-rest logistic regressions on frozen features of Pascal VOC 2007: fitted on train for 45 costs, the one with the
best 11-point AP on val, refitted on both, tested on test (Ericsson et al., 2021).

{OUTPUT_FILES}"""
EXAMPLES = """\
examples:
  clsa-classify logistic --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/logistic
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify logistic --config-file configs/classification/mini_logistic.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_logistic
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_probe_arguments(parser)


def run(args: argparse.Namespace) -> None:
    from ..logistic_probe import defaults, run

    kind = ["FEATURES.KIND", args.features] if args.features else []
    cfg = load_config(defaults(), args.config_file, args.overrides + kind)
    run(cfg, args.weights, args.data, args.output, cache_of(args))
