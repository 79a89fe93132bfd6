"""Fine-tune and evaluate a detector: ``python detection/train_net.py`` in MoCo's manner, and ``clsa-detect``.

This file only reads the command line; an engine does the work. Run by its path it takes detectron2, the engine of
record, as MoCo's script does; ``clsa-detect`` wants ``--engine`` to be named.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import command
from clsa.configs.launch import Machines, launch
from clsa.configs.loading import find_config, load_config
from clsa.configs.processes import Process
from clsa.detection.auto_scale import as_overrides, auto_scale
from clsa.detection.auto_scale import table as scaling_table
from clsa.detection.config import get_cfg
from clsa.detection.detection_result import protocol_id
from clsa.detection.evaluation_keys import add_evaluation_keys
from clsa.detection.explain import explain
from clsa.detection.start_weights import require_choice

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
      --config-file configs/detection/mini_voc_c4_r18.yaml MODEL.WEIGHTS "" OUTPUT_DIR output/mini

  # half the images an iteration: learning rate and schedule follow, old and new are printed
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 4 --auto-scale \\
      MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc_b8 SOLVER.IMS_PER_BATCH 8

  # what a config does otherwise than the nearest named protocol; exit code 0 if nothing, 3 if something
  clsa-detect --explain my_config.yaml MODEL.RESNETS.NORM BN

  # five trials, SEED 0 to 4 in output/voc/trial_0 and on; mean and deviation at the end
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 --trials 5 \\
      MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc

  # three learning rates, all reported in a table and a picture; with --trials each of them so often
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 \\
      --sweep SOLVER.BASE_LR 0.02,0.05,0.1 MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc_lr

  # detections beside ground truth, small objects framed; operations and parameters, without any data
  clsa-detect --visualize output/voc --images 000001,000006
  clsa-detect --engine torchvision --num-gpus 0 --config-file output/voc/config.yaml --visualize output/voc --count 4 \
      MODEL.WEIGHTS output/voc/model_final.pth
  clsa-detect --engine torchvision --flops --input-size 800x1333 --config-file configs/detection/voc_r50_c4_24k.yaml

  # evaluate a finished run again
  clsa-detect --engine torchvision --config-file F.yaml --num-gpus 1 --eval-only \\
      MODEL.WEIGHTS output/voc/model_final.pth OUTPUT_DIR output/voc_again

DETECTRON2_DATASETS names the folder that holds VOC2007, VOC2012 and coco (default: datasets).
MODEL.WEIGHTS "" trains from random weights; the key must be given. The result is OUTPUT_DIR/result.json.
Several machines: give each the same command with --num-machines, --dist-url and its own --machine-rank, or start it by
torchrun (torchvision only).
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """``clsa-detect``: the engine must be named."""
    return detect(argv, default_engine=None)


@command
def script(argv: Sequence[str] | None = None) -> int:
    """``python detection/train_net.py``: detectron2 unless another engine is named."""
    return detect(argv, default_engine="detectron2")


def detect(argv: Sequence[str] | None, default_engine: str | None) -> int:
    """Parse the command line, resolve the config and call the engine, or only explain the config; the exit code."""
    parser = argument_parser()
    args = parser.parse_args(argv)
    if args.explain:
        return explain(engine_defaults(args.engine), args.explain, args.opts, args.protocol, args.json)
    args.engine = args.engine or default_engine
    if args.visualize:
        from clsa.detection.visualize import run_visualize

        run_visualize(args)
        return 0
    missing = [f"--{name}" for name in ("config-file", "engine") if getattr(args, name.replace("-", "_")) is None]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    args.config_file = str(find_config(args.config_file))
    if args.auto_scale:
        scaled = auto_scale(engine_defaults(args.engine), args.config_file, args.opts)
        print(scaling_table(scaled), flush=True)
        args.opts = as_overrides(scaled) + args.opts
    if args.flops:
        report_flops_of(args)
        return 0
    if args.sweep:
        from clsa.detection.sweep import run_sweep

        return run_sweep(args, run_once)
    if args.trials is not None:
        from clsa.detection.trials import run_trials

        run_trials(args, run_once)
    else:
        run_once(args)
    return 0


def run_once(args: argparse.Namespace) -> None:
    """One run of the engine that ``args`` names."""
    if args.engine == "detectron2":
        from clsa.detection.detectron2_engine import run

        run(args)
    else:
        run_torchvision(args)


def report_flops_of(args: argparse.Namespace) -> None:
    """``--flops``: of the engine's own model."""
    from clsa.detection.flops import report_flops

    cfg = load_config(engine_defaults(args.engine), args.config_file, args.opts)
    if args.engine == "detectron2":
        from detectron2.modeling import build_model
    else:
        from clsa.detection.rcnn import build_model
    report_flops(args, cfg, build_model)


def engine_defaults(engine: str | None) -> CfgNode:
    """The config tree of an engine; without one this program's own, whose values are detectron2's."""
    if engine != "detectron2":
        return get_cfg()
    from clsa.detection.detectron2_engine import require_detectron2

    require_detectron2()
    from detectron2.config import get_cfg as detectron2_cfg

    return add_evaluation_keys(detectron2_cfg())


def argument_parser() -> argparse.ArgumentParser:
    """The options of MoCo's and detectron2's scripts, and ``--engine``."""
    parser = argparse.ArgumentParser(
        description="Fine-tune a detector from backbone weights and evaluate it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", metavar="FILE", help="YAML; packaged ones are found anywhere")
    parser.add_argument(
        "--engine",
        choices=("detectron2", "torchvision"),
        help="detectron2 is the engine of record; torchvision runs the same YAML without it. Results of the two are "
        "never compared. clsa-detect has no default; detection/train_net.py run by its path takes detectron2.",
    )
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="GPUs of this machine; 0: the CPU")
    parser.add_argument("--eval-only", action="store_true", help="only evaluate MODEL.WEIGHTS, a trained detector")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR, if any")
    parser.add_argument(
        "--auto-scale",
        action="store_true",
        help="for another SOLVER.IMS_PER_BATCH b than the config's B: lr x b/B; iterations, steps, warm-up and periods "
        "x B/b",
    )
    parser.add_argument(
        "--explain",
        metavar="FILE",
        help="compare a config with the nearest named protocol, or with --protocol NAME, and say of every difference "
        "why it moves AP; nothing is trained. Exit code 0: no difference, 3: differences",
    )
    parser.add_argument("--protocol", metavar="NAME", help="with --explain, such as coco-r50-fpn-1x-moco-2fc")
    parser.add_argument("--json", action="store_true", help="with --explain: as JSON")
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="run SEED 0 to N-1, each in OUTPUT_DIR/trial_k, one after another; the mean and the standard deviation of "
        "each value into OUTPUT_DIR/trials.json. With --resume what is finished is skipped",
    )
    parser.add_argument("--trial", type=int, default=0, metavar="K", help="number of this run, for its result.json")
    parser.add_argument(
        "--sweep",
        nargs=2,
        metavar=("KEY", "V1,V2,..."),
        help="run each value of a key in a folder of its own; all of them into OUTPUT_DIR/sweep.json and sweep.png",
    )
    parser.add_argument(
        "--visualize",
        metavar="RUN",
        help="draw beside the ground truth, into RUN/visualized, the detections that the evaluation left in this "
        "OUTPUT_DIR; with --config-file those that the detector in MODEL.WEIGHTS makes now",
    )
    parser.add_argument("--images", metavar="ID,ID", help="with --visualize: these images")
    parser.add_argument(
        "--count", type=int, metavar="N", help="with --visualize: the N (8) with the most small objects"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="with --visualize: detections from this score on; without, as many of the best as there are objects",
    )
    parser.add_argument(
        "--flops", action="store_true", help="count the operations and parameters of the detector, part by part"
    )
    parser.add_argument(
        "--input-size", metavar="HxW", help="with --flops: noise of this size, without data; else the first test image"
    )
    parser.add_argument("--num-machines", type=int, default=1, metavar="N", help="give each of N machines this command")
    parser.add_argument("--machine-rank", type=int, default=0, metavar="K", help="0 to N-1, its own on each machine")
    parser.add_argument("--dist-url", default="auto", metavar="URL", help="tcp://HOST:PORT, a free port of machine 0")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="override config values")
    return parser


def run_torchvision(args: argparse.Namespace) -> None:
    """Run the torchvision engine in one process for each GPU."""
    machines = Machines(args.num_machines, args.machine_rank, args.dist_url)
    cfg = load_config(get_cfg(), args.config_file, args.opts)
    require_choice(args.config_file, args.opts, cfg.OUTPUT_DIR, args.resume, args.eval_only)
    if args.num_gpus == 0:
        cfg.defrost()
        cfg.MODEL.DEVICE = "cpu"
        cfg.freeze()
    protocol = protocol_id(args.config_file, args.opts)
    words = (cfg, protocol, args.resume, args.eval_only, args.trial)
    launch(_run_torchvision, args.num_gpus, *words, on_cpu=cfg.MODEL.DEVICE == "cpu", machines=machines)
    if args.machine_rank == 0 and os.environ.get("RANK", "0") == "0":
        print(Path(cfg.OUTPUT_DIR) / "result.json")


def _run_torchvision(process: Process, cfg: CfgNode, protocol: str, resume: bool, eval_only: bool, trial: int) -> None:
    from clsa.detection import torchvision_engine

    torchvision_engine.run(process, cfg, protocol, resume, eval_only, trial)


if __name__ == "__main__":
    sys.exit(script())
