"""``clsa-data``: render the miniature world, or look over a folder of real or miniature data."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from clsa.configs.command import command
from clsa.datasets.mini.world import SIZES, render_world

EPILOG = """examples:
  clsa-data mini --root data/mini --size small --seed 0
  clsa-data mini --help
"""

MINI_EPILOG = """sizes (images of ImageNet train / val, VOC07 trainval / test, VOC12 trainval, COCO train / val):
  tiny        60 / 20,        60 / 40,       40,      24 / 16      two seconds; for tests
  small   10,000 / 1,000,  1,200 / 1,200,   600,   1,000 / 300     about a minute on two cores
  large   50,000 / 5,000,  6,000 / 6,000, 3,000,   5,000 / 1,500   at 320 pixels instead of 128

example:
  clsa-data mini --root data/mini --size small --seed 0
  DETECTRON2_DATASETS=data/mini clsa-detect ...
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    return args.run(args)


def _mini(args: argparse.Namespace) -> int:
    root = args.root.resolve()
    if render_world(root, args.size, args.seed, args.workers):
        print(f"rendered the miniature world of size {args.size}, seed {args.seed} into {root}")
    else:
        print(f"kept {root}: it already is the whole miniature world of size {args.size}, seed {args.seed}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-data", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    mini = commands.add_parser(
        "mini",
        help="render the miniature world: ImageNet, VOC07, VOC12 and COCO in small, in their formats",
        description="Render the miniature world: ImageNet, VOC07, VOC12 and COCO in small, in their formats.",
        epilog=MINI_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mini.add_argument("--root", type=Path, required=True, help="folder to create; becomes DETECTRON2_DATASETS")
    mini.add_argument("--size", choices=SIZES, required=True)
    mini.add_argument("--seed", type=_not_negative, default=0, help="same seed, same bytes (default: 0)")
    mini.add_argument(
        "--workers",
        type=_positive,
        default=_cores(),
        help="processes; they do not change the bytes (default: all cores)",
    )
    mini.set_defaults(run=_mini)
    return parser


def _cores() -> int:
    """The cores that this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
