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
from .stage import Stage

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
    if arguments.plan:
        print(_script(stages, sys.argv[1:] if argv is None else argv))
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


def _script(stages: Sequence[Stage], argv: Sequence[str]) -> str:
    """One stage after the other, each with all cores: what a reader would type."""
    lines = ["#!/bin/sh", f"# clsa-reproduce {shlex.join(argv)}", "set -e"]
    for stage in stages:
        lines += ["", f"# {stage.name}", stage.shell_line()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
