"""``clsa-classify lowshot``."""

import argparse

from .arguments import add_probe_arguments, cache_of, config_of

SUMMARY = "SVMs on 1 to 96 positives a class, five samples each"
DESCRIPTION = """\
Linear SVMs on k positives and 19 k negatives of each class, for k = 1 to 96, five samples each, on frozen features of
Pascal VOC 2007. The cost is chosen twice: by cross-validation within the sample, and on the test set ("oracle_c"), as
published tables do.

OUTPUT gets result.json (both, mean and standard deviation over the samples, all four average precisions), config.yaml
and log.txt.
"""
EXAMPLES = """\
examples:
  # samples drawn from SEED: comparable among your own runs
  clsa-classify lowshot --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/lowshot
  # the benchmark's own samples, train_targets_sample1_k1.npy and so on: comparable with tables
  clsa-classify lowshot --splits LOW_SHOT_LABELS --weights backbone_torchvision.pth --data DATASETS/VOC2007 \\
      --output runs/lowshot
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify lowshot --config-file configs/classification/mini_lowshot.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_lowshot
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--splits",
        metavar="DIR",
        help="folder of *_sampleS_kK.npy, images x classes of 1 positive, 0 negative, -1 not in the sample; without it "
        "the samples are drawn from SEED",
    )
    add_probe_arguments(parser)


def run(args: argparse.Namespace) -> None:
    cfg = config_of(args)

    from ..lowshot_probe import run

    run(cfg, args.weights, args.data, args.output, args.splits, cache_of(args))
