"""The stages as SLURM job arrays: one a kind, each after the one that it needs, and a script that submits them."""

from collections.abc import Sequence
from pathlib import Path

from clsa.configs.run_files import atomic_write

from .stage import Stage

#: Each kind's array starts after the named kinds' arrays have ended well.
AFTER = {"data": (), "pretrain": ("data",), "detect": ("pretrain",), "classify": ("pretrain",)}
#: Kinds whose stages use GPUs as many as NUM_GPUS; a probe uses one.
ON_ALL_GPUS = ("pretrain", "detect")
#: Of the expected time, so that a slower card does not lose its work; and where no time is known, hours.
MARGIN = 1.5
UNKNOWN_HOURS = 24


def write_slurm(stages: Sequence[Stage], folder: Path, num_gpus: int) -> list[Path]:
    """``folder/<kind>.sh`` for each kind of ``stages`` and ``folder/submit.sh``; returns what was written.

    ``SLURM_ARRAY_TASK_ID=k bash <kind>.sh`` runs its k-th command, without any scheduler.
    """
    kinds = [kind for kind in AFTER if any(stage.kind == kind for stage in stages)]
    texts = {f"{kind}.sh": array_script([s for s in stages if s.kind == kind], kind, num_gpus) for kind in kinds}
    texts["submit.sh"] = submit_script(kinds)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in texts]


def array_script(stages: Sequence[Stage], kind: str, num_gpus: int) -> str:
    """One array: task k runs the command of ``stages[k]``."""
    lines = ["#!/bin/bash", f"#SBATCH --job-name=clsa-{kind}", f"#SBATCH --array=0-{len(stages) - 1}"]
    lines += [f"#SBATCH --time={_time_limit(stages)}", "#SBATCH --output=%x-%A_%a.log"]
    lines += [f"#SBATCH --gres=gpu:{count}"] if (count := gpus(kind, num_gpus)) else []
    lines += ["set -euo pipefail", 'case "${SLURM_ARRAY_TASK_ID:?}" in']
    for k, stage in enumerate(stages):
        lines += [f"{k})  # {stage.name}", f"  {stage.shell_line()}", "  ;;"]
    lines += ["*)", f'  echo "there is no task $SLURM_ARRAY_TASK_ID, give 0 to {len(stages) - 1}" >&2', "  exit 2"]
    return "\n".join([*lines, "  ;;", "esac", ""])


def gpus(kind: str, num_gpus: int) -> int:
    """How many GPUs a stage of ``kind`` uses where pretraining and detection use ``num_gpus``."""
    if kind == "data":
        return 0
    return num_gpus if kind in ON_ALL_GPUS else min(1, num_gpus)


def submit_script(kinds: Sequence[str]) -> str:
    """Submits the arrays of ``kinds``, in that order, with their dependencies."""
    lines = ["#!/bin/bash", "set -euo pipefail", 'cd "$(dirname "$0")"']
    for kind in kinds:
        after = ":".join(f"${needed}" for needed in AFTER[kind] if needed in kinds)
        dependency = f"--dependency=afterok:{after} " if after else ""
        lines.append(f"{kind}=$(sbatch --parsable {dependency}{kind}.sh)")
        lines.append(f'echo "{kind} ${kind}"')
    return "\n".join([*lines, ""])


def _time_limit(stages: Sequence[Stage]) -> str:
    """``hours:minutes:00`` for the longest of ``stages``."""
    seconds = max(stage.expected_seconds for stage in stages) * MARGIN or UNKNOWN_HOURS * 3600
    minutes = max(10, -(-int(seconds) // 60))
    return f"{minutes // 60}:{minutes % 60:02d}:00"
