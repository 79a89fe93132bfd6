"""``clsa-classify``: probe frozen features on Pascal VOC 2007."""

import argparse
from collections.abc import Sequence

from clsa.configs.command import command
from clsa.configs.loading import load_config

from .config import get_cfg
from .svm import SOLVERS

EXAMPLES = {
    "svm": """\
examples:
  # the VOC07 SVM of the literature, 26 costs
  clsa-classify svm --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm
  # another paper's grid and crop: another protocol id in the result
  clsa-classify svm --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm_crop \\
      SVM.GRID vissl11 FEATURES.TRANSFORM center_crop
  # the same minima, each certified, all classes at once and so with far less work, on a CPU or a GPU
  clsa-classify svm --solver exact --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/svm_exact
  # what needs no training, through the same probe
  clsa-classify svm --features colour_histogram --data DATASETS/VOC2007 --output runs/colour
  clsa-classify svm --features chance --data DATASETS/VOC2007 --output runs/chance
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify svm --config-file configs/classification/mini_svm.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_svm
""",
    "linear": """\
examples:
  # the linear layer of "Contrastive Learning with Stronger Augmentations"
  clsa-classify linear --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/linear
  # another learning rate: the result's protocol becomes voc07-linear-custom
  clsa-classify linear --weights backbone_torchvision.pth --data DATASETS/VOC2007 --output runs/linear_lr LINEAR.LR 0.5
  # miniature world (clsa-data mini --root WORLD --size small)
  clsa-classify linear --config-file configs/classification/mini_linear.yaml --weights backbone_torchvision.pth \\
      --data WORLD/VOC2007 --output runs/mini_linear
""",
}

SUMMARIES = {
    "svm": "one-vs-rest linear SVMs, the cost of each class by 3-fold cross-validation",
    "linear": "one linear layer, 100 epochs of SGD",
}

OUTPUT_FILES = """\
OUTPUT gets result.json (all four average precisions by name, per class, and how they came about), scores.npz (scores,
labels, image_ids, classes), config.yaml and log.txt.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-classify",
        description="Probe the frozen features of a backbone on Pascal VOC 2007, trainval -> test.",
        epilog="`clsa-classify svm --help` and `clsa-classify linear --help` show examples.",
    )
    probes = parser.add_subparsers(dest="probe", required=True, metavar="svm|linear")
    for name, summary in SUMMARIES.items():
        sub = probes.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}, on frozen features of Pascal VOC 2007.\n\n{OUTPUT_FILES}",
            epilog=EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--weights", metavar="W.pth", help="backbone in torchvision's names, .pth or .safetensors")
        sub.add_argument("--data", metavar="DIR", required=True, help="the VOC2007 folder")
        sub.add_argument("--output", metavar="DIR", required=True, help="folder for the results")
        sub.add_argument("--config-file", metavar="F", help="YAML; without it the published VOC07 protocol")
        sub.add_argument(
            "--features",
            choices=("backbone", "colour_histogram", "hog", "chance"),
            help="short for FEATURES.KIND; all but backbone are baselines without weights",
        )
        if name == "svm":
            sub.add_argument(
                "--solver", choices=SOLVERS, help="short for SVM.SOLVER; all but sklearn show in the protocol id"
            )
        sub.add_argument(
            "overrides", metavar="KEY VALUE", nargs=argparse.REMAINDER, help="config keys, after all options"
        )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``clsa-classify``."""
    args = build_parser().parse_args(argv)
    shorts = {"FEATURES.KIND": args.features, "SVM.SOLVER": getattr(args, "solver", None)}
    given = [word for key, value in shorts.items() if value for word in (key, value)]
    cfg = load_config(get_cfg(), args.config_file, args.overrides + given)

    from .probe import run_probe  # PyTorch: not for --help, nor in the SVMs' worker processes, which import this file

    run_probe(args.probe, cfg, args.weights, args.data, args.output)
    return 0


if __name__ == "__main__":
    main()
