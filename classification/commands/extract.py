"""``clsa-classify extract``."""

import argparse

from .arguments import add_data_arguments, add_layers, add_overrides, config_of

SUMMARY = "the features of some or all layers into a cache that the probes read"
DESCRIPTION = """\
Compute the frozen features of both splits, all layers in one forward pass, and keep them as memory-mapped arrays.

conv1, res2 .. res5 are average-pooled as in the SVM benchmark of Goyal et al. (ResNet-50 at 224 px: 9216, 9216, 8192,
9216, 8192 dimensions), avgpool is the global average pool (2048). The folder of an array is named by a hash of all that
it depends on, so a probe given the same --cache finds it, and never a stale one. A killed extraction goes on where it
was when the same command is given again.

CACHE/SPLIT-KEY gets LAYER.npy (a row an image, `numpy.load(..., mmap_mode="r")`), images.txt (the image of each row)
and identity.json (what KEY is the hash of).
"""
EXAMPLES = """\
examples:
  # every layer of Pascal VOC 2007; then the SVMs on all of them
  clsa-classify extract --layer all --weights backbone_torchvision.pth --data DATASETS/VOC2007 --cache runs/features
  clsa-classify svm --layer all --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm
  # half the space and less time, other values: protocols get "-half"
  clsa-classify extract --weights backbone_torchvision.pth --data DATASETS/VOC2007 --cache runs/features \\
      FEATURES.PRECISION half FEATURES.TRANSFORM center_crop
  # the mean feature of ten crops; any folder with SPLIT/CLASS/IMAGE
  clsa-classify extract --weights backbone_torchvision.pth --data DATASETS/imagenet --cache runs/features \\
      DATA.TRAIN_SPLIT train DATA.TEST_SPLIT val FEATURES.TRANSFORM ten_crop
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--cache", metavar="DIR", required=True, help="folder of cached features")
    add_layers(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    cfg = config_of(args)

    from ..extract import run as extract
    from ..probe import check_features

    check_features(cfg, args.weights)
    extract(cfg, args.weights, args.data, args.cache)
