"""The stages as SLURM job arrays: one a kind, and a script that submits their tasks, each after those that it needs.

A task is ``clsa-reproduce --stage NAME``: it leaves the stamp that a run of all stages leaves, skips what stands, and
goes on from a checkpoint. So a second submission runs what the first has left.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clsa.configs.run_files import atomic_write

from .plan import KINDS
from .runner import TO_BE_CONTINUED
from .stage import Stage

#: Of the expected time, so that a slower card does not lose its work.
MARGIN = 1.5

#: Told to end so long before the time limit, a stage can save itself.
NOTICE_SECONDS = 180

#: Runs one task; bash would not hear the signal while it waits for a command in the foreground.
RUN = """\
{command} --stage "${{stages[k]}}" {keys}&
trap 'kill -TERM $!' TERM
wait $! && code=0 || code=$?
while kill -0 $! 2> /dev/null; do wait $! && code=0 || code=$?; done

# told to end, and saved: back into the queue
if [ $code -eq {to_be_continued} ] && [ -n "${{SLURM_JOB_ID:-}}" ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""


@dataclass(frozen=True)
class Cluster:
    """``max_hours``: longest time limit; ``cpus_per_gpu``; ``options``: more options of sbatch."""

    max_hours: int
    cpus_per_gpu: int
    options: tuple[str, ...] = ()


def write_slurm(
    stages: Sequence[Stage], folder: Path, command: Sequence[str], keys: Sequence[str], cwd: Path, cluster: Cluster
) -> list[Path]:
    """``folder/<kind>.sh`` for each kind of ``stages`` and ``folder/submit.sh``; returns what was written.

    ``SLURM_ARRAY_TASK_ID=k bash <kind>.sh`` runs its k-th stage, without any scheduler.

    Args:
        command: of clsa-reproduce with its options, without --stage.
        keys: its KEY VALUE pairs.
        cwd: the folder to which the paths in both are relative.
    """
    kinds = [kind for kind in KINDS if any(stage.kind == kind for stage in stages)]
    run = RUN.format(
        command=shlex.join(command),
        keys=f"{shlex.join(keys)} " if keys else "",
        to_be_continued=TO_BE_CONTINUED,
    )
    texts = {}
    for kind in kinds:
        mine = [stage for stage in stages if stage.kind == kind]
        texts[f"{kind}.sh"] = "\n".join([*_head(mine, kind, cluster), *_choice(mine, cwd), "", run])
    texts["submit.sh"] = submit_script(stages, kinds)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in texts]


def submit_script(stages: Sequence[Stage], kinds: Sequence[str]) -> str:
    """Submits the tasks of ``kinds``, in that order, each after those tasks that it needs and no others.

    A dependency is one of a whole job, so the tasks of an array that need the same are one job: if one pretraining
    fails, the other methods' detectors run all the same. A job whose dependency can no longer be met leaves the queue.
    """
    task_of: dict[str, str] = {}  # stage -> "${job}_k"
    lines = ["#!/bin/bash", "set -euo pipefail", 'cd "$(dirname "$0")"']
    for kind in kinds:
        mine = [stage for stage in stages if stage.kind == kind]
        groups: dict[tuple[str, ...], list[int]] = {}
        for k, stage in enumerate(mine):
            needed = tuple(dict.fromkeys(task_of[name] for name in stage.needs if name in task_of))
            groups.setdefault(needed, []).append(k)
        for number, (needed, tasks) in enumerate(groups.items(), 1):
            job = kind if len(groups) == 1 else f"{kind}_{number}"
            options = [f"--array={','.join(map(str, tasks))}"] if len(groups) > 1 else []
            if needed:
                options += [f"--dependency=afterok:{':'.join(needed)}", "--kill-on-invalid-dep=yes"]
            lines.append(f"{job}=$(sbatch {' '.join(['--parsable', *options])} {kind}.sh)")
            lines.append(f'echo "{job} ${job}"')
            task_of.update({mine[k].name: f"${{{job}}}_{k}" for k in tasks})
    return "\n".join([*lines, ""])


def _head(stages: Sequence[Stage], kind: str, cluster: Cluster) -> list[str]:
    gpus = max(stage.gpus for stage in stages)
    lines = ["#!/bin/bash", f"#SBATCH --job-name=clsa-{kind}", f"#SBATCH --array=0-{len(stages) - 1}"]
    lines += [f"#SBATCH --time={_time_limit(stages, cluster.max_hours)}", f"#SBATCH --signal=B:TERM@{NOTICE_SECONDS}"]
    lines += ["#SBATCH --requeue", "#SBATCH --open-mode=append", "#SBATCH --output=%x-%A_%a.log"]
    lines += [f"#SBATCH --gres=gpu:{gpus}"] if gpus else []
    lines += [f"#SBATCH --cpus-per-task={cluster.cpus_per_gpu * max(1, gpus)}"]
    return [*lines, *(f"#SBATCH {option}" for option in cluster.options)]


def _choice(stages: Sequence[Stage], cwd: Path) -> list[str]:
    lines = ["set -uo pipefail", f"cd {shlex.quote(str(cwd))} || exit", "stages=("]
    lines += [f"  {shlex.quote(stage.name)}" for stage in stages]
    lines += [")", "k=${SLURM_ARRAY_TASK_ID:?}"]
    return [
        *lines,
        f'[ -n "${{stages[k]:-}}" ] || {{ echo "there is no task $k, give 0 to {len(stages) - 1}" >&2; exit 2; }}',
    ]


def _time_limit(stages: Sequence[Stage], max_hours: int) -> str:
    """``hours:minutes:00`` for the longest of ``stages``; the longest allowed where one's time is not known."""
    seconds = max_hours * 3600
    if all(stage.expected_seconds for stage in stages):
        seconds = min(seconds, max(stage.expected_seconds for stage in stages) * MARGIN)
    minutes = max(10, -(-int(seconds) // 60))
    return f"{minutes // 60}:{minutes % 60:02d}:00"
