"""``clsa-classify svm``."""

import argparse

from ..svm import SOLVERS
from .arguments import OUTPUT_FILES, add_layers, add_probe_arguments, cache_of, config_of

SUMMARY = "one-vs-rest linear SVMs, the cost of each class by 3-fold cross-validation"
DESCRIPTION = f"""\
One-vs-rest linear SVMs, the cost of each class by 3-fold cross-validation, on frozen features of Pascal VOC 2007.

{OUTPUT_FILES}"""
EXAMPLES = """\
examples:
  # the VOC07 SVM of the literature, 26 costs
  clsa-classify svm --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm
  # another paper's grid and crop: another protocol id in the result
  clsa-classify svm --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm_crop \\
      SVM.GRID vissl11 FEATURES.TRANSFORM center_crop
  # every layer of one forward pass, in OUTPUT/LAYER; the best by cross-validation is named in OUTPUT/result.json
  clsa-classify svm --layer all --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm_layers
  # the same minima, each certified, all classes at once and so with far less work, on a CPU or a GPU
  clsa-classify svm --solver exact --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm_exact
  # what needs no training, through the same probe
  clsa-classify svm --features colour_histogram --data DATASETS/VOC2007 --output runs/colour
  clsa-classify svm --features chance --data DATASETS/VOC2007 --output runs/chance
  # other data: any folder in VOC's layout with its own classes, or SPLIT/CLASS/IMAGE
  clsa-classify svm --weights backbone_torchvision.pth --data DATASETS/flowers --output runs/flowers \\
      DATA.TRAIN_SPLIT train DATA.TEST_SPLIT val
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify svm --config-file configs/classification/mini_svm.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_svm
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--solver", choices=SOLVERS, help="short for SVM.SOLVER; both reach the same minimum")
    add_layers(parser)
    add_probe_arguments(parser)


def run(args: argparse.Namespace) -> None:
    cfg = config_of(args, {"SVM.SOLVER": args.solver})

    from ..probe import run_probe
    from ..svm_probe import SVM

    run_probe(SVM, cfg, args.weights, args.data, args.output, cache_of(args))
