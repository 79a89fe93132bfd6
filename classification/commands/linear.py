"""``clsa-classify linear``."""

import argparse

from clsa.configs.command import InputError

from .arguments import OUTPUT_FILES, add_probe_arguments, cache_of, config_of

SUMMARY = "one linear layer, 100 epochs of SGD: as the paper says, or as its public code does"
DESCRIPTION = f"""\
One linear layer, 100 epochs of SGD, on frozen features of Pascal VOC 2007.

--mode public_code does what the public code of "Contrastive Learning with Stronger Augmentations" does in its place:
the backbone's BatchNorm drifts, the best epoch is chosen on val, five crops are scored, the metric is a per-image AP.
Its result holds, flavour by flavour, the difference to the paper's protocol, which is run too, into OUTPUT/paper.

{OUTPUT_FILES}"""
EXAMPLES = """\
examples:
  # the linear layer of "Contrastive Learning with Stronger Augmentations"
  clsa-classify linear --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/linear
  # where the published 93.6 comes from
  clsa-classify linear --mode public_code --weights backbone_torchvision.pth --data DATASETS/VOC2007 \\
      --output runs/public_code
  # another learning rate: the result's protocol becomes voc07-linear-custom
  clsa-classify linear --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/linear_lr LINEAR.LR 0.5
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify linear --config-file configs/classification/mini_linear.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_linear
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", choices=("paper", "public_code"), default="paper", help="whose procedure (default: paper)"
    )
    parser.add_argument(
        "--paper-result",
        metavar="F",
        help="--mode public_code: result.json of --mode paper to compare with, instead of running it again",
    )
    add_probe_arguments(parser)


def run(args: argparse.Namespace) -> None:
    cfg = config_of(args)

    if args.paper_result and args.mode != "public_code":
        raise InputError("--paper-result is compared with --mode public_code. Add it, or leave --paper-result out.")
    if args.mode == "public_code":
        from ..public_code_probe import run

        run(cfg, args.weights, args.data, args.output, args.paper_result, cache_of(args))
        return

    from ..linear_probe import LINEAR
    from ..probe import run_probe

    run_probe(LINEAR, cfg, args.weights, args.data, args.output, cache_of(args))
