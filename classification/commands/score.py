"""``clsa-classify score``."""

import argparse
import json
import math

from clsa.configs.command import InputError

from ..average_precision import FLAVOURS

SUMMARY = "the four average precisions of anybody's score matrix"
DESCRIPTION = f"""\
Papers call four different figures of one score matrix "VOC07 mAP": {"; ".join(FLAVOURS.values())}.
They differ by several points. This prints all four, and compares with a published figure within its flavour alone.

Scores are images x classes, higher for "more surely present". Labels are 1 (present), -1 (absent), 0 (difficult).
"""
EXAMPLES = """\
examples:
  clsa-classify score --scores scores.npy --labels labels.npy
  # what a probe of this toolkit wrote; it holds its labels
  clsa-classify score --scores runs/svm/scores.npz --json
  # labels of a VOC folder: rows in the order of ImageSets/Main/test.txt, columns of the classes in alphabetical order
  clsa-classify score --scores scores.npy --data DATASETS/VOC2007 --split test
  # is this above that 93.6? Only a figure of the same flavour can say so
  clsa-classify score --scores scores.npy --labels labels.npy --published 93.6 --flavour "per-image AP"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scores", metavar="S", required=True, help=".npy, or the scores.npz of a probe")
    parser.add_argument("--labels", metavar="L.npy", help="of the same shape")
    parser.add_argument("--data", metavar="DIR", help="a folder in VOC's layout, in place of --labels")
    parser.add_argument("--split", default="test", help="of --data (default: test)")
    parser.add_argument(
        "--difficult",
        choices=("left out", "absent"),
        default="left out",
        help="what becomes of the labels 0: left out of their class (VOC's rule, the default), or absent",
    )
    parser.add_argument("--published", type=float, metavar="PERCENT", help="a figure to compare with")
    parser.add_argument("--flavour", help=f"of --published: {'; '.join(FLAVOURS.values())}")
    parser.add_argument(
        "--metric", help="the figure that is to be compared; refused where it is not of the published flavour"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the average precisions of each class")


def run(args: argparse.Namespace) -> None:
    from ..score import Published, compare, load_labels, load_scores, score_report, score_text, value_name

    if args.published is not None and args.flavour is None:
        raise InputError(
            f"--published {args.published:g} of which average precision? Give --flavour, one of "
            f"{'; '.join(FLAVOURS.values())}. A comparison across flavours is refused."
        )
    if args.published is None and (args.flavour or args.metric):
        raise InputError("--flavour and --metric say what is compared with --published, which is missing")
    published = None
    if args.published is not None:
        published = Published(args.published, FLAVOURS[value_name(args.flavour)])

    scores, labels, classes = load_scores(args.scores)
    if args.labels and args.data:
        raise InputError("labels come from --labels or from --data, got both. Leave one out.")
    if args.labels:
        labels = load_labels(args.labels)
    elif args.data:
        labels, classes = _voc_labels(args.data, args.split)
    elif labels is None:
        raise InputError(f"{args.scores} holds no labels. Give --labels L.npy, or --data DIR in VOC's layout.")
    report = score_report(scores, labels, classes, args.difficult, published)
    if args.metric:
        compare(report["values"], published, args.metric)
    if args.json:
        undefined = {name: None if math.isnan(value) else value for name, value in report["values"].items()}
        print(json.dumps({**report, "values": undefined}, indent=1))
    else:
        print(score_text(report))


def _voc_labels(data: str, split: str):
    from ..config import get_cfg
    from ..layouts import read_splits

    (found,) = read_splits(data, get_cfg().DATA, [split])
    return found.labels, found.classes
