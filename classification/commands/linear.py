"""``clsa-classify linear``."""

import argparse

from .arguments import OUTPUT_FILES, add_probe_arguments, config_of

SUMMARY = "one linear layer, 100 epochs of SGD"
DESCRIPTION = f"""\
One linear layer, 100 epochs of SGD, on frozen features of Pascal VOC 2007.

{OUTPUT_FILES}"""
EXAMPLES = """\
examples:
  # the linear layer of "Contrastive Learning with Stronger Augmentations"
  clsa-classify linear --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/linear
  # another learning rate: the result's protocol becomes voc07-linear-custom
  clsa-classify linear --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/linear_lr LINEAR.LR 0.5
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify linear --config-file configs/classification/mini_linear.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_linear
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_probe_arguments(parser)


def run(args: argparse.Namespace) -> None:
    cfg = config_of(args)

    from ..linear_probe import LINEAR
    from ..probe import run_probe

    run_probe(LINEAR, cfg, args.weights, args.data, args.output)
