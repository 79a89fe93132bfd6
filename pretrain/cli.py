"""The command ``clsa-pretrain``."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clsa.configs.command import InputError, command
from clsa.configs.launch import launch
from clsa.configs.loading import load_config

from .checkpointing import last_checkpoint
from .config import get_cfg
from .train import pretrain

#: What --convert leaves in OUTPUT_DIR.
CONVERTED = {"detectron2": "backbone_detectron2.pkl", "torchvision": "backbone_torchvision.pth"}

EXAMPLES = """\
examples:
  clsa-pretrain --config-file configs/pretrain/mini_clsa_single_r18.yaml --num-gpus 0 \\
      --convert torchvision DATA.TRAIN mini/imagenet/train OUTPUT_DIR output/clsa_single
  clsa-pretrain --config-file configs/pretrain/clsa_single_200ep.yaml --num-gpus 8 \\
      --convert detectron2 DATA.TRAIN imagenet/train OUTPUT_DIR output/clsa_single_200ep
  torchrun --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500 -m clsa.pretrain.cli \\
      --config-file configs/pretrain/clsa_single_200ep.yaml \\
      DATA.TRAIN imagenet/train OUTPUT_DIR output/big SOLVER.BATCH_SIZE 512 SOLVER.LR 0.06

OUTPUT_DIR receives config.yaml, log.txt, metrics.json (one JSON line for each logged step), tensorboard/,
checkpoint_NNNNNNN.pth, last_checkpoint and, with --convert, backbone_detectron2.pkl or backbone_torchvision.pth.
Every key and its meaning: clsa/pretrain/config.py.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-pretrain",
        description="Pretrain a ResNet with CLSA-Single, CLSA-Multi or MoCo v2 on a folder of images.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", required=True, metavar="F", help="YAML; a packaged one is found by its name")
    parser.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="GPUs of this machine, one process each; 0 computes on the CPU (default: 1; torchrun decides by itself)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT_DIR/last_checkpoint if there is one")
    parser.add_argument(
        "--convert",
        action="append",
        default=[],
        choices=sorted(CONVERTED),
        help="then write the verified backbone weights for this library (may be given twice)",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys, such as SOLVER.LR 0.06")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_intermixed_args(argv)
    cfg = load_config(get_cfg(), args.config_file, args.overrides)
    launch(pretrain, args.num_gpus, cfg, args.resume)
    if int(os.environ.get("RANK", 0)) == 0:
        for target in dict.fromkeys(args.convert):
            convert(Path(cfg.OUTPUT_DIR), target)
    return 0


def convert(output_dir: Path, target: str) -> None:
    """``clsa-convert`` on the run's last checkpoint, in a process of its own: stages hand each other files.

    Replaces what this run converted earlier, for instance before it was resumed.
    """
    source, destination = last_checkpoint(output_dir), output_dir / CONVERTED[target]
    words = [str(source), str(destination), "--to", target, "--overwrite"]
    run = subprocess.run([sys.executable, "-m", "clsa.convert.cli", *words])
    if run.returncode:
        raise InputError(
            f"the conversion for {target} failed (exit code {run.returncode}); the training is complete. "
            f"Repeat the conversion alone: clsa-convert {' '.join(words)}"
        )


if __name__ == "__main__":
    sys.exit(main())
