"""``clsa-reproduce``: from images, or from somebody's checkpoint, to the transfer table, one command."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError, command
from clsa.configs.loading import find_config, load_config

from .backbones import backbones, refuse_missing
from .config import get_cfg
from .plan import KINDS, find_stage, plan_stages, require_engine, select
from .report import make_report
from .runner import TO_BE_CONTINUED, ToBeContinued, run_stages, terminable
from .script import plan_script
from .slurm import Cluster, write_slurm
from .stage import Stage
from .stamp import can_resume
from .status import exit_code, standings, status_text

DEFAULT_CONFIG = "configs/reproduce/mini.yaml"

EXAMPLES = """\
configs:
  configs/reproduce/mini.yaml       a miniature world and three methods, on a CPU; the default
  configs/reproduce/voc_coco.yaml   your checkpoints: VOC and COCO detection, probes of VOC07
  configs/reproduce/paper.yaml      the paper, from ImageNet on
  configs/reproduce/smoke.yaml      does everything run?

stages:
  data       render the miniature world, or check the real data
  pretrain   each of METHODS, converted for detectron2 and torchvision as it ends
  convert    each of WEIGHTS, for both, verified
  detect     fine-tune a detector from each backbone and evaluate it
  classify   probe each frozen backbone, and features without weights beside them
  report     report.md, report.html, report.json, plots/ and the table on the terminal

A stage whose result stands for the same command, config files, inputs and package version is skipped; an unfinished
pretraining or fine-tuning goes on from its last checkpoint. So after a kill, give the same command again.

examples:
  clsa-reproduce                                          the main job, into runs/mini
  clsa-reproduce --only classify,report                   once pretraining stands
  clsa-reproduce --output runs/seed1 SEED 1               another seed
  clsa-reproduce JOBS 1                                   one stage at a time, on all cores
  clsa-reproduce METHODS "['moco_v2', 'clsa_single']" PRETRAIN.OVERRIDES "['SOLVER.LR', 0.05]"

  # one checkpoint, every VOC and COCO protocol, on 8 GPUs; DATA holds VOC2007, VOC2012 and coco
  clsa-reproduce --config-file configs/reproduce/voc_coco.yaml --output runs/mine \\
      WEIGHTS "[['mine', '/path/checkpoint.pth']]" DATA.ROOT DATA
  # beside MoCo v2 and a supervised ResNet-50; one detector, one run of it, by torchvision
  clsa-reproduce --config-file configs/reproduce/voc_coco.yaml --output runs/three DATA.ROOT DATA \\
      WEIGHTS "[['mine', 'mine.pth'], ['moco_v2', 'moco_v2_200ep_pretrain.pth.tar'], ['supervised', 'resnet50.pth']]" \\
      DETECT.CONFIG_FILES "['configs/detection/voc_r50_c4_24k.yaml']" DETECT.TRIALS "[]" DETECT.ENGINE torchvision
  # one method of your own from ImageNet on
  clsa-reproduce --config-file configs/reproduce/paper.yaml --output runs/own METHODS "[['mine', 'mine.yaml']]"

  # before and meanwhile: options go before the KEY VALUE pairs
  clsa-reproduce --config-file configs/reproduce/paper.yaml --plan        a shell script, with hours and GPUs
  clsa-reproduce --config-file configs/reproduce/paper.yaml --slurm jobs  job arrays; then: bash jobs/submit.sh
  clsa-reproduce --config-file configs/reproduce/paper.yaml --status      exit code 0: all done, 1: failed or stale,
                                                                          3: work is left
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-reproduce",
        description="Data, pretraining or given checkpoints, conversion, detectors, probes, report: each in its turn.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", metavar="DIR", help="default: runs/ and the config's name")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--only", metavar="STAGES", help=f"some of {','.join(KINDS)}, separated by commas")
    part.add_argument(
        "--stage",
        metavar="NAME",
        help="one stage, by its name in --status, even while others run; without the report. Exit code 75: told to "
        "end, goes on from its checkpoint",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--plan", action="store_true", help="print the commands as a shell script, run nothing")
    instead.add_argument("--slurm", metavar="DIR", help="write the stages as SLURM job arrays into DIR, run nothing")
    instead.add_argument(
        "--status", action="store_true", help="what is done, running, failed, stale, to do; run nothing"
    )
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    config = find_config(arguments.config_file)
    cfg = load_config(get_cfg(), str(config), arguments.overrides)
    threads = _threads(cfg)
    output = Path(arguments.output or Path("runs") / config.stem).resolve()
    plan = plan_stages(cfg, output)
    only = arguments.only.split(",") if arguments.only else None
    stages = [find_stage(plan, arguments.stage)] if arguments.stage else select(plan, only)
    if arguments.status:
        rows = standings(stages, output)
        print(status_text(rows))
        return exit_code(rows)

    refuse_missing([b for b in backbones(cfg) if b.name in {stage.method for stage in stages}])
    again = ["--config-file", str(config.absolute()), "--output", str(output)]
    if arguments.slurm:
        task = [sys.executable, "-m", "clsa.reproduce.cli", *again]
        cluster = Cluster(cfg.SLURM.MAX_HOURS, cfg.SLURM.CPUS_PER_GPU, tuple(cfg.SLURM.OPTIONS))
        written = write_slurm(stages, Path(arguments.slurm), task, arguments.overrides, Path.cwd(), cluster)
        print(*written, sep="\n")
        return 0
    if arguments.plan:
        title = shlex.join(["clsa-reproduce", *(sys.argv[1:] if argv is None else argv)])
        report = shlex.join(["clsa-reproduce", *again, "--only", "report", *arguments.overrides])
        print(plan_script(stages, title, report))
        return 0

    require_engine(cfg, stages)
    with terminable():
        if arguments.stage:
            return _run_alone(stages[0], plan, output, threads)
        run_stages(stages, plan, output, cfg.JOBS, threads)
        if only is None or "report" in only:
            make_report(cfg, output)
    return 0


def _run_alone(stage: Stage, plan: Sequence[Stage], output: Path, threads: int) -> int:
    """One stage, beside others; the exit code says whether it is to be given again."""
    try:
        run_stages([stage], plan, output, 1, threads, beside_others=True)
    except ToBeContinued as error:
        print(error, file=sys.stderr)
        return TO_BE_CONTINUED
    except KeyboardInterrupt:
        if can_resume(stage, output):
            return TO_BE_CONTINUED
        raise
    return 0


def _threads(cfg: CfgNode) -> int:
    if cfg.JOBS < 1:
        raise InputError(f"JOBS is {cfg.JOBS}, it must be at least 1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // cfg.JOBS)


if __name__ == "__main__":
    sys.exit(main())
