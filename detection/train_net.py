"""Fine-tune and evaluate a detector: ``python detection/train_net.py`` in MoCo's manner, and ``clsa-detect``.

Only what was asked for is found out here; an engine does the work. Run by its path it takes detectron2, the engine of
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
from clsa.configs.loading import find_config
from clsa.configs.processes import Process
from clsa.detection.auto_scale import as_overrides, auto_scale
from clsa.detection.auto_scale import table as scaling_table
from clsa.detection.command_line import argument_parser, refuse_idle_options
from clsa.detection.config import get_cfg
from clsa.detection.detection_result import protocol_id
from clsa.detection.engine_defaults import engine_defaults
from clsa.detection.explain import explain
from clsa.detection.foreign_keys import ignored_line, load_detector_config
from clsa.detection.start_weights import require_choice


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
    refuse_idle_options(parser, args)
    if args.explain:
        return explain(engine_defaults(args.engine), args.explain, args.opts, args.protocol, args.json)
    args.engine = args.engine or default_engine
    if args.visualize:
        from clsa.detection.visualize import run_visualize

        say_what_is_ignored(args)
        run_visualize(args)
        return 0
    missing = [f"--{name}" for name in ("config-file", "engine") if getattr(args, name.replace("-", "_")) is None]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    args.config_file = str(find_config(args.config_file))
    say_what_is_ignored(args)
    if args.auto_scale and not args.sweep:  # which scales for each of its values
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


def say_what_is_ignored(args: argparse.Namespace) -> None:
    """The line about keys that only detectron2 has, where the torchvision engine is given them."""
    if args.engine == "torchvision" and args.config_file is not None:
        line = ignored_line(args.config_file, args.opts)
        if line is not None:
            print(line, file=sys.stderr)


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

    cfg = load_detector_config(engine_defaults(args.engine), args.config_file, args.opts)
    if args.engine == "detectron2":
        from detectron2.modeling import build_model
    else:
        from clsa.detection.rcnn import build_model
    report_flops(args, cfg, build_model)


def run_torchvision(args: argparse.Namespace) -> None:
    """Run the torchvision engine in one process for each GPU."""
    machines = Machines(args.num_machines, args.machine_rank, args.dist_url)
    cfg = load_detector_config(get_cfg(), args.config_file, args.opts)
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
