"""``clsa-convert``: a checkpoint into backbone weights that load completely."""

import argparse
import json
import sys
from collections.abc import Sequence

from clsa.configs.command import command

from .backbone_file import SUFFIXES, manifest_path
from .conversion import Conversion, convert
from .sources import LAYOUTS

EXAMPLES = """\
examples:
  # for detectron2 (C4 and FPN): MODEL.WEIGHTS moco_v2.pkl
  clsa-convert moco_v2_800ep_pretrain.pth.tar moco_v2.pkl --to detectron2

  # for the probes, in torchvision's names
  clsa-convert output/clsa/checkpoint_0000199.pth clsa.pth --to torchvision

  # from one target to the other
  clsa-convert clsa.pth clsa.pkl --to detectron2

recognised by their keys:
  {layouts}

Before anything is written: every key of SRC is used or dropped by a named rule, the trunk is complete, its values are
sound, and the result computes the same features as the source at stem and res2 to res5 (max abs difference 0.0).
Otherwise nothing is written and the exit code is 1. DST.json beside DST records it all.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``clsa-convert``."""
    layouts = "\n  ".join(f"{layout.name:14s} {layout.documented}" for layout in LAYOUTS)
    result = argparse.ArgumentParser(
        prog="clsa-convert",
        description="Convert a self-supervised ResNet's checkpoint into backbone weights, verified before writing.",
        epilog=EXAMPLES.format(layouts=layouts),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("source", metavar="SRC", help="checkpoint or backbone weights, see below")
    result.add_argument("destination", metavar="DST", help=".pkl for detectron2, .pth or .safetensors for torchvision")
    result.add_argument("--to", required=True, choices=SUFFIXES, help="whose names and file format DST gets")
    result.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    result.add_argument("--json", action="store_true", help="print the manifest instead of the summary")
    return result


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    conversion = convert(args.source, args.destination, args.to, args.overwrite)
    for warning in conversion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(json.dumps(conversion.manifest, indent=1) if args.json else summary(conversion, args.destination))
    return 0


def summary(conversion: Conversion, destination: str) -> str:
    """What was found, used, dropped and proven, a line each."""
    manifest = conversion.manifest
    source, counts = manifest["source"], manifest["counts"]
    training = ", ".join(f"{key} {source[key]}" for key in ("method", "epoch", "iteration") if source[key] is not None)
    rules = ", ".join(f"{rule['rule']} {len(rule['keys'])}" for rule in manifest["dropped"])
    parity = ", ".join(f"{stage} {difference}" for stage, difference in manifest["parity"].items())
    lines = (
        f"source   {source['file']}: {source['format']}{f' ({training})' if training else ''}, {counts['source']} keys",
        f"network  {conversion.architecture}: {counts['used']} of {counts['target']} trunk tensors",
        f"dropped  {counts['dropped']} source keys{f': {rules}' if rules else ''}",
        f"parity   {parity} (max abs difference of the features)",
        f"written  {destination}, manifest {manifest_path(destination).name}",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
