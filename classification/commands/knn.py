"""``clsa-classify knn``."""

import argparse

from clsa.configs.loading import load_config

from ..config import get_cfg
from .image_folder_arguments import add_image_folder_arguments

SUMMARY = "weighted nearest neighbours on ImageNet's features, k = 20 and 200; any folder of images a class"
DESCRIPTION = """\
The weighted nearest-neighbour classifier (Wu et al., 2018; DINO): cosine similarity of average-pooled features of one
centre crop, k votes of weight exp(similarity / 0.07); top-1 and top-5 accuracy. Nothing is trained.

OUTPUT gets result.json, config.yaml and log.txt.
"""
EXAMPLES = """\
examples:
  clsa-classify knn --weights backbone_torchvision.pth --data imagenet --output runs/knn --cache runs/features
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify knn --config-file configs/classification/mini_imagenet.yaml --weights backbone_torchvision.pth \\
      --data WORLD/imagenet --output runs/mini_knn
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_image_folder_arguments(parser, "folder of cached features; without it they are kept in memory")


def run(args: argparse.Namespace) -> None:
    cfg = load_config(get_cfg(), args.config_file, args.overrides)

    from ..imagenet_probe import run_knn

    run_knn(cfg, args.weights, args.data, args.output, args.cache)
