"""``clsa-classify imagenet``."""

import argparse
from pathlib import Path

from clsa.configs.command import InputError
from clsa.configs.launch import launch
from clsa.configs.loading import load_config

from ..config import get_cfg
from .image_folder_arguments import add_image_folder_arguments

SUMMARY = "a linear classifier of ImageNet's classes, 100 epochs of SGD; any folder of images a class"
DESCRIPTION = """\
A linear classifier on the frozen, average-pooled feature: 100 epochs of SGD, learning rate 10, no weight decay, batch
256, cosine; top-1 and top-5 accuracy. The backbone computes in eval mode, and is compared with itself afterwards.

OUTPUT gets result.json, metrics.json (one JSON line an epoch), checkpoint.pth (after every epoch), config.yaml
and log.txt.
"""
EXAMPLES = """\
examples:
  clsa-classify imagenet --weights backbone_torchvision.pth --data imagenet --output runs/linear --num-gpus 8
  # killed, and gone on with: the same layer, bit for bit
  clsa-classify imagenet --weights backbone_torchvision.pth --data imagenet --output runs/linear --num-gpus 8 --resume
  # two machines
  torchrun --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500 -m clsa.classification.cli \\
      imagenet --weights backbone_torchvision.pth --data imagenet --output runs/linear
  # an estimate: one crop of each image, its feature computed once; protocol imagenet-linear-cached-features
  clsa-classify imagenet --cached-features --weights backbone_torchvision.pth --data imagenet --output runs/estimate
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify imagenet --config-file configs/classification/mini_imagenet.yaml --num-gpus 0 \\
      --weights backbone_torchvision.pth --data WORLD/imagenet --output runs/mini_imagenet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-gpus",
        type=int,
        metavar="N",
        help="GPUs of this machine, one process each; 0 computes on the CPU (default: one GPU if there is one; "
        "torchrun decides by itself)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/checkpoint.pth if there is one")
    parser.add_argument(
        "--cached-features", action="store_true", help="a quick estimate on features of one centre crop of each image"
    )
    add_image_folder_arguments(parser, "folder of --cached-features' features (default: OUTPUT/features)")


def run(args: argparse.Namespace) -> None:
    cfg = load_config(get_cfg(), args.config_file, args.overrides)
    if args.cache and not args.cached_features:
        raise InputError("--cache holds the features of --cached-features; augmented views are new in each epoch.")

    import torch

    from ..imagenet_probe import run_linear, run_linear_cached

    if args.cached_features:
        if args.num_gpus not in (None, 0, 1):
            raise InputError("--cached-features runs in one process. Leave --num-gpus out; FEATURES.DEVICE chooses.")
        cache = args.cache or Path(args.output) / "features"
        run_linear_cached(cfg, args.weights, args.data, args.output, cache, args.resume)
    else:
        num_gpus = min(1, torch.cuda.device_count()) if args.num_gpus is None else args.num_gpus
        launch(run_linear, num_gpus, cfg, args.weights, args.data, args.output, args.resume)
