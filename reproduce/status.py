"""Where a run stands: each stage done, running, failed, stale or to do, read from the stamps without touching them."""

import fcntl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import stamp
from .progress import clock
from .stage import Stage

#: What a stage can be, in the order in which the last line counts them.
STATES = ("done", "running", "failed", "stale", "to do")


@dataclass(frozen=True)
class Standing:
    """One row. ``state``: one of :data:`STATES`; ``note``: how long it took, or why it does not stand."""

    name: str
    state: str
    note: str


def standings(stages: Sequence[Stage], output: Path) -> list[Standing]:
    """One row a stage, in the order of ``stages``."""
    at_work = is_locked(output)
    return [_standing(stage, output, at_work) for stage in stages]


def status_text(rows: Sequence[Standing]) -> str:
    """A table for people and a last line of counts."""
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{row.name:<{width}}  {row.state:<7}  {row.note}".rstrip() for row in rows]
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    return "\n".join([*lines, "", ", ".join(f"{n} {state}" for state, n in counts.items())])


def exit_code(rows: Sequence[Standing]) -> int:
    """0: every stage is done; 1: one failed or is stale; 3: none failed, work is left."""
    states = {row.state for row in rows}
    if states & {"failed", "stale"}:
        return 1
    return 3 if states & {"running", "to do"} else 0


def is_locked(output: Path) -> bool:
    """Whether a run, or a stage that one started, is alive in ``output``: they hold its lock until they die."""
    try:
        with open(output / ".lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _standing(stage: Stage, output: Path, at_work: bool) -> Standing:
    recorded = stamp.read_stamp(stage.folder)
    if recorded is None:
        return _without_stamp(stage)
    if recorded.get("state") == "running" and at_work:
        return Standing(stage.name, "running", _last_line(stage))
    absent = [path for path in stage.inputs if not path.exists()]
    if absent:
        return Standing(stage.name, "stale", f"its input {absent[0]} is missing")
    why = stamp.why_not_standing(stage, output)
    if why is None:
        return Standing(stage.name, "done", clock(recorded.get("seconds", 0.0)))
    if why != "unfinished":
        return Standing(stage.name, "stale", why)
    return Standing(stage.name, "failed", f"see {stage.folder / stamp.LOG}: {_last_line(stage)}")


def _without_stamp(stage: Stage) -> Standing:
    """A stage that was given by hand or by a scheduler leaves its outputs and no stamp."""
    if stage.kind != "data" and all(path.exists() for path in stage.outputs):
        return Standing(stage.name, "done", "by hand or by a scheduler: nothing says from which inputs")
    return Standing(stage.name, "to do", "")


def _last_line(stage: Stage) -> str:
    try:
        lines = (stage.folder / stamp.LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return lines[-1].strip()[:120] if lines else "its log is empty"
