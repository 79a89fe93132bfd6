"""``clsa-convert``: a checkpoint into backbone weights that load completely."""

import argparse
import json
import sys
from collections.abc import Sequence

from clsa.configs.command import command

from .backbone_file import manifest_path
from .conversion import Conversion, convert
from .inspection import as_text, inspect
from .sources import LAYOUTS
from .targets import TARGETS

EXAMPLES = """\
examples:
  # what is this file?
  clsa-convert --inspect checkpoint.pth

  # for detectron2 (C4 and FPN): MODEL.WEIGHTS moco_v2.pkl
  clsa-convert moco_v2_800ep_pretrain.pth.tar moco_v2.pkl --to detectron2

  # for the probes, in torchvision's names
  clsa-convert output/clsa/checkpoint_0000199.pth clsa.pth --to torchvision

  # for timm.create_model("resnet50", num_classes=0, checkpoint_path="swav.safetensors")
  clsa-convert swav_800ep_pretrain.pth.tar swav.safetensors --to timm

  # for mmdetection and mmpretrain: init_cfg=dict(type="Pretrained", checkpoint="dino.pth", prefix="backbone.")
  clsa-convert dino_resnet50_pretrain_full_checkpoint.pth dino.pth --to openmmlab

  # from one target to the other
  clsa-convert clsa.pth clsa.pkl --to detectron2

recognised by their keys, or named with --from:
  {layouts}

Before anything is written: every key of SRC is used or dropped by a named rule, the trunk is complete, its values are
sound, and the result computes the same features as the source at stem and res2 to res5 (max abs difference 0.0).
Otherwise nothing is written and the exit code is 1. DST.json beside DST records it all.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``clsa-convert``."""
    layouts = "\n  ".join(f"{layout.name:22s} {layout.documented}" for layout in LAYOUTS)
    suffixes = ", ".join(f"{' or '.join(target.suffixes)} for {name}" for name, target in TARGETS.items())
    result = argparse.ArgumentParser(
        prog="clsa-convert",
        description="Convert a self-supervised ResNet's checkpoint into backbone weights, verified before writing.",
        epilog=EXAMPLES.format(layouts=layouts),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("source", metavar="SRC", help="checkpoint or backbone weights, see below")
    result.add_argument("destination", metavar="DST", nargs="?", help=suffixes)
    result.add_argument("--to", choices=TARGETS, help="whose names and file format DST gets")
    result.add_argument(
        "--from",
        dest="layout",
        metavar="LAYOUT",
        choices=[layout.name for layout in LAYOUTS],
        help="the layout of SRC, where it is not to be recognised from its keys",
    )
    result.add_argument(
        "--inspect", action="store_true", help="say what SRC is and what would be taken and dropped; write nothing"
    )
    result.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    result.add_argument("--json", action="store_true", help="print the manifest, or what was inspected, as JSON")
    return result


@command
def main(argv: Sequence[str] | None = None) -> int:
    command_line = parser()
    args = command_line.parse_args(argv)
    if args.inspect:
        if args.destination or args.to or args.overwrite:
            command_line.error("--inspect writes nothing: give SRC alone")
        return show(args)
    if not (args.destination and args.to):
        command_line.error("give SRC, DST and --to, or --inspect SRC")
    conversion = convert(args.source, args.destination, args.to, args.overwrite, args.layout)
    for warning in conversion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(json.dumps(conversion.manifest, indent=1) if args.json else summary(conversion, args.destination))
    return 0


def show(args: argparse.Namespace) -> int:
    """Print what SRC is; exit code 1 for one that cannot be converted."""
    record = inspect(args.source, args.layout)
    print(json.dumps(record, indent=1) if args.json else as_text(record))
    for warning in record["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if record["trouble"]:
        print(f"error: {record['trouble']}", file=sys.stderr)
    return 1 if record["trouble"] else 0


def summary(conversion: Conversion, destination: str) -> str:
    """What was found, used, dropped and proven, a line each."""
    manifest = conversion.manifest
    source, counts = manifest["source"], manifest["counts"]
    training = ", ".join(f"{key} {source[key]}" for key in ("method", "epoch", "iteration") if source[key] is not None)
    rules = ", ".join(f"{rule['rule']} {len(rule['keys'])}" for rule in manifest["dropped"])
    parity = ", ".join(f"{stage} {difference}" for stage, difference in manifest["parity"].items())
    keys = " ".join(f"{key} {value}" for key, value in manifest["detector"].items())
    lines = [
        f"source   {source['file']}: {source['format']}{f' ({training})' if training else ''}, {counts['source']} keys",
        f"network  {conversion.architecture}: {counts['used']} of {counts['target']} trunk tensors",
        f"dropped  {counts['dropped']} source keys{f': {rules}' if rules else ''}",
        f"parity   {parity} (max abs difference of the features)",
        f"written  {destination}, manifest {manifest_path(destination).name}",
    ]
    if manifest["target"] == "detectron2":
        lines.insert(2, f"detector {keys}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
