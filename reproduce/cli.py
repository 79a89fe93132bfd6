"""``clsa-reproduce``: from images to the transfer table, one command."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError, command
from clsa.configs.loading import find_config, load_config

from .config import get_cfg
from .plan import KINDS, plan_stages, select
from .report import make_report
from .runner import run_stages, terminable
from .slurm import gpus, write_slurm
from .stage import Stage
from .status import exit_code, standings, status_text

DEFAULT_CONFIG = "configs/reproduce/mini.yaml"

EXAMPLES = """\
stages:
  data       render the miniature world
  pretrain   each method, converted for detectron2 and torchvision as it ends
  detect     fine-tune a detector from each backbone and evaluate it
  classify   probe each frozen backbone, and features without weights beside them
  report     report.md, report.html, report.json, plots/ and the table on the terminal

A stage whose result stands for the same command, config files, inputs and package version is skipped; an unfinished
pretraining or fine-tuning goes on from its last checkpoint. So after a kill, give the same command again.

examples:
  clsa-reproduce                                          the main job, into runs/mini
  clsa-reproduce --config-file configs/reproduce/smoke.yaml
  clsa-reproduce --only classify,report                   once pretraining stands
  clsa-reproduce --plan                                   print the commands, run nothing
  clsa-reproduce --status                                 exit code 0: all done, 1: failed or stale, 3: work is left
  clsa-reproduce --slurm jobs                             job arrays; then: bash jobs/submit.sh
  clsa-reproduce --output runs/seed1 SEED 1               another seed
  clsa-reproduce JOBS 1                                   one stage at a time, on all cores
  clsa-reproduce METHODS "['moco_v2', 'clsa_single']" PRETRAIN.OVERRIDES "['SOLVER.LR', 0.05]"
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-reproduce",
        description="Render a world, pretrain, convert, fine-tune detectors, probe, report: for each method in turn.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", metavar="DIR", help="default: runs/ and the config's name")
    parser.add_argument("--only", metavar="STAGES", help=f"some of {','.join(KINDS)}, separated by commas")
    parser.add_argument("--plan", action="store_true", help="print the commands as a shell script, run nothing")
    parser.add_argument("--slurm", metavar="DIR", help="write the commands as SLURM job arrays into DIR, run nothing")
    parser.add_argument(
        "--status", action="store_true", help="what is done, running, failed, stale, to do; run nothing"
    )
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    cfg = load_config(get_cfg(), arguments.config_file, arguments.overrides)
    name = find_config(arguments.config_file).stem
    output = Path(arguments.output or Path("runs") / name).resolve()
    only = arguments.only.split(",") if arguments.only else None
    plan = plan_stages(cfg, output)
    stages = select(plan, only)
    threads = _threads(cfg)
    if arguments.status:
        rows = standings(stages, output)
        print(status_text(rows))
        return exit_code(rows)
    if arguments.slurm:
        for path in write_slurm(stages, Path(arguments.slurm), cfg.NUM_GPUS):
            print(path)
        return 0
    if arguments.plan:
        print(_script(stages, sys.argv[1:] if argv is None else argv, cfg.NUM_GPUS))
        return 0
    with terminable():
        run_stages(stages, plan, output, cfg.JOBS, threads)
        if only is None or "report" in only:
            make_report(cfg, output)
    return 0


def _threads(cfg: CfgNode) -> int:
    if cfg.JOBS < 1:
        raise InputError(f"JOBS is {cfg.JOBS}, it must be at least 1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // cfg.JOBS)


def _cost(stage: Stage, num_gpus: int) -> str:
    """Hours and GPUs expected of a stage, as its comment's end."""
    known = f"about {stage.expected_seconds / 3600:.2g} h" if stage.expected_seconds else "hours not known"
    return f": {known}, {gpus(stage.kind, num_gpus)} GPUs"


def _script(stages: Sequence[Stage], argv: Sequence[str], num_gpus: int) -> str:
    """One stage after the other, each with all cores: what a reader would type."""
    lines = ["#!/bin/sh", f"# clsa-reproduce {shlex.join(argv)}", "set -e"]
    for stage in stages:
        lines += ["", f"# {stage.name}{_cost(stage, num_gpus)}", stage.shell_line()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
