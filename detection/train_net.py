"""Fine-tune and evaluate a detector: ``python detection/train_net.py`` in MoCo's manner, and ``clsa-detect``.

This file only reads the command line; an engine does the work. Run by its path it takes detectron2, the engine of
record, as MoCo's script does; ``clsa-detect`` wants ``--engine`` to be named.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError, command
from clsa.configs.loading import find_config, load_config
from clsa.detection.config import get_cfg
from clsa.detection.detection_result import protocol_id
from clsa.detection.processes import launch

EXAMPLES = """\
examples:
  # MoCo's VOC protocol on 8 GPUs, from a converted backbone
  python detection/train_net.py --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 \\
      MODEL.WEIGHTS output/backbone_detectron2.pkl OUTPUT_DIR output/voc

  # the same YAML where detectron2 is not installed
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 \\
      MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc

  # a miniature world on the CPU, from random weights
  DETECTRON2_DATASETS=mini clsa-detect --engine torchvision --num-gpus 0 \\
      --config-file configs/detection/mini_voc_c4_r18.yaml OUTPUT_DIR output/mini

  # evaluate a finished run again
  clsa-detect --engine torchvision --config-file F.yaml --num-gpus 1 --eval-only \\
      MODEL.WEIGHTS output/voc/model_final.pth OUTPUT_DIR output/voc_again

DETECTRON2_DATASETS names the folder that holds VOC2007, VOC2012 and coco (default: datasets).
An empty MODEL.WEIGHTS trains from random weights. The result is OUTPUT_DIR/result.json.
Several machines: --num-machines and so on with detectron2; torchrun with torchvision.
"""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """``clsa-detect``: the engine must be named."""
    detect(argv, default_engine=None)


@command
def script(argv: Sequence[str] | None = None) -> None:
    """``python detection/train_net.py``: detectron2 unless another engine is named."""
    detect(argv, default_engine="detectron2")


def detect(argv: Sequence[str] | None, default_engine: str | None) -> None:
    """Parse the command line, resolve the config and call the engine."""
    args = argument_parser(default_engine).parse_args(argv)
    if args.config_file:
        args.config_file = str(find_config(args.config_file))
    if args.engine == "detectron2":
        from clsa.detection.detectron2_engine import run

        run(args)
    else:
        run_torchvision(args)


def argument_parser(default_engine: str | None) -> argparse.ArgumentParser:
    """The options of MoCo's and detectron2's scripts, and ``--engine``."""
    parser = argparse.ArgumentParser(
        description="Fine-tune a detector from backbone weights and evaluate it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", metavar="FILE", required=True, help="YAML; packaged ones are found anywhere")
    parser.add_argument(
        "--engine",
        choices=("detectron2", "torchvision"),
        default=default_engine,
        required=default_engine is None,
        help="detectron2 is the engine of record; torchvision runs the same YAML without it. Results of the two are "
        "never compared. clsa-detect has no default; detection/train_net.py run by its path takes detectron2.",
    )
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="GPUs of this machine; 0: the CPU")
    parser.add_argument("--eval-only", action="store_true", help="only evaluate MODEL.WEIGHTS, a trained detector")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR, if any")
    parser.add_argument("--num-machines", type=int, default=1, metavar="N", help="detectron2 only")
    parser.add_argument("--machine-rank", type=int, default=0, metavar="K", help="detectron2 only")
    parser.add_argument("--dist-url", default="auto", metavar="URL", help="detectron2 only")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="override config values")
    return parser


def run_torchvision(args: argparse.Namespace) -> None:
    """Run the torchvision engine in one process for each GPU."""
    if args.num_machines > 1:
        raise InputError("--num-machines is detectron2's. With --engine torchvision start each machine with torchrun.")
    cfg = load_config(get_cfg(), args.config_file, args.opts)
    if args.num_gpus == 0:
        cfg.defrost()
        cfg.MODEL.DEVICE = "cpu"
        cfg.freeze()
    protocol = protocol_id(args.config_file, args.opts)
    launch(_run_torchvision, args.num_gpus, cfg, protocol, args.resume, args.eval_only)
    print(Path(cfg.OUTPUT_DIR) / "result.json")


def _run_torchvision(cfg: CfgNode, protocol: str, resume: bool, eval_only: bool) -> None:
    from clsa.detection import torchvision_engine

    torchvision_engine.run(cfg, protocol, resume, eval_only)


if __name__ == "__main__":
    sys.exit(script())
