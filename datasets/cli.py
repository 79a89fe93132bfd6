"""``clsa-data``: render the miniature world, or look over a folder of real or miniature data."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from clsa.configs.command import command

from .check.protocols import PROTOCOLS, check_root
from .check.report import as_data, as_table
from .mini.world import SIZES, render_world

EPILOG = """examples:
  clsa-data mini --root data/mini --size small --seed 0 --sheet mini.png
  clsa-data check --root data/mini
  clsa-data check --root /data --protocols voc07-probe,voc-detection --json
"""

MINI_EPILOG = """sizes (images of ImageNet train / val, VOC07 trainval / test, VOC12 trainval, COCO train / val):
  tiny        60 / 20,        60 / 40,       40,      24 / 16      two seconds; for tests
  small   10,000 / 1,000,  1,200 / 1,200,   600,   1,000 / 300     about a minute on two cores
  large   50,000 / 5,000,  6,000 / 6,000, 3,000,   5,000 / 1,500   320 pixels, not 128; some ten minutes

An interrupted run leaves no world; one that stands already, of the same size and seed, is kept.

example:
  clsa-data mini --root data/mini --size small --seed 0 --sheet mini.png
"""

_NEEDS = "".join(f"  {name:20} {', '.join(protocol.needs)}\n" for name, protocol in PROTOCOLS.items())

CHECK_EPILOG = f"""A part is "short" if it has fewer images than its data set was released with (or the
miniature world was rendered with): what is measured on it could not be set beside published
numbers. The exit code is 1 if any of the protocols lacks a part.

protocols:
{_NEEDS}
examples:
  clsa-data check --root data/mini
  clsa-data check --root /data --protocols voc07-probe,voc-detection --json
  clsa-data check --root /data --protocols coco-detection --deep
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
    if args.sheet is not None:
        from .mini.sheet import write_sheet  # brings matplotlib, which nothing else here needs

        write_sheet(root, args.sheet)
        print(f"drew {args.sheet}")
    return 0


def _check(args: argparse.Namespace) -> int:
    check = check_root(args.root, args.protocols, args.deep)
    print(json.dumps(as_data(check), indent=1) if args.json else as_table(check))
    return 0 if check.passed else 1


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
    mini.add_argument("--sheet", type=Path, metavar="FILE.png", help="also draw a contact sheet of the world")
    mini.set_defaults(run=_mini)

    check = commands.add_parser(
        "check",
        help="say what of real or miniature data is there, missing, wrong or short",
        description="Say what of real or miniature data is there, missing, wrong or short.",
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "--root", type=Path, required=True, help="folder that holds imagenet/, VOC2007/, VOC2012/, coco/"
    )
    check.add_argument(
        "--protocols",
        type=lambda text: text.split(","),
        default=list(PROTOCOLS),
        metavar="A,B",
        help="look only at what these need (default: all)",
    )
    check.add_argument("--deep", action="store_true", help="decode every image as well: finds those that are cut off")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    check.set_defaults(run=_check)
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
