"""``clsa-ap``: average precision of result files, small objects first, and how sure their difference is."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from clsa.configs.command import InputError, command

from .annotations import read_annotations
from .measure import measure
from .results import read_results
from .size_curve import write_size_curve
from .sizes import EDGES, size_bins
from .table import as_text

EPILOG = """\
annotations and results:
  COCO   instances_*.json and a list of {"image_id", "category_id", "bbox" or "segmentation", "score"}
  VOC    a folder with ImageSets/Main/SPLIT.txt and Annotations/, evaluated in COCO's form, and either such a list with
         VOC's image ids and names under "category", or a folder of result files comp4_det_test_CLASS.txt

The figures are pycocotools' own. For two files or more, images are drawn anew with replacement, the same for all files;
of each later file minus each earlier one come the difference, its 95 % interval and bias, and how often the later one
wins. An interval is for the mean over test sets of as many images, not for endlessly many images.
An image without a detection in one file counts there as one on which nothing was found.

examples:
  clsa-ap --annotations coco/annotations/instances_val2017.json --results run/inference/coco_instances_results.json
  clsa-ap --annotations instances_val2017.json --results moco.json clsa.json --names MoCo CLSA --plot by_size.png
  clsa-ap --annotations instances_val2017.json --results moco.json clsa.json --iou-type segm --json > masks.json
  clsa-ap --annotations VOC2007 --split test --results a/inference/detections.json b/inference/detections.json
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-ap",
        description="AP_S, AP, AP50, AP75, AP_M, AP_L of any detector's result files, by category and by object size.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--annotations", type=Path, required=True, metavar="PATH", help="COCO JSON or VOC folder")
    parser.add_argument("--results", type=Path, required=True, nargs="+", metavar="PATH", help="one or several")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the files; default: what tells the paths apart")
    parser.add_argument("--iou-type", choices=("bbox", "segm"), default="bbox", help="default: %(default)s")
    parser.add_argument("--split", default="test", help="of a VOC folder; default: %(default)s")
    parser.add_argument(
        "--difficult",
        choices=("ignored", "ordinary", "crowd"),
        default="ignored",
        help="what VOC's difficult objects count as; default: %(default)s",
    )
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples; 0: none. Default: 1000")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples; default: %(default)s")
    parser.add_argument(
        "--size-edges",
        type=float,
        nargs="+",
        default=EDGES,
        metavar="PIXELS",
        help="edges of the bins of AP by size; default: half octaves from 8 to 512",
    )
    parser.add_argument("--json", action="store_true", help="print everything in full precision, for programs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw AP by size: .png, .pdf or .svg")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    names = arguments.names or distinct_names(arguments.results)
    if len(names) != len(arguments.results) or len(set(names)) != len(names):
        raise InputError(f"{len(arguments.results)} result files need as many names, all different; got {names}")
    if arguments.bootstrap < 0 or arguments.seed < 0:
        raise InputError(f"--bootstrap {arguments.bootstrap} and --seed {arguments.seed} must not be below 0")
    truth = read_annotations(arguments.annotations, arguments.iou_type, arguments.split, arguments.difficult)
    files = {name: read_results(path, truth) for name, path in zip(names, arguments.results, strict=True)}
    bins = size_bins(arguments.size_edges)
    found = measure(truth, files, bins, arguments.bootstrap, arguments.seed, show_progress=sys.stderr.isatty())
    if arguments.plot is not None:
        write_size_curve(arguments.plot, found)
    print(json.dumps(found, indent=1, allow_nan=False) if arguments.json else as_text(found))
    return 0


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """What tells the paths apart, without what all of them begin or end with: ``runs/{moco,clsa}/x.json``.

    Raises:
        InputError: one path twice.
    """
    if len(paths) == 1:
        return [paths[0].stem]
    if len(set(paths)) < len(paths):
        raise InputError("--results names a file twice. Give each once, or use --names to tell them apart.")
    parts = [path.parts for path in paths]
    shortest = min(map(len, parts))
    head = next((k for k in range(shortest) if len({p[k] for p in parts}) > 1), shortest - 1)
    tail = next((k for k in range(shortest - head) if len({p[-1 - k] for p in parts}) > 1), 0)
    return ["/".join(p[head : len(p) - tail]).removesuffix(".json") for p in parts]


if __name__ == "__main__":
    sys.exit(main())
