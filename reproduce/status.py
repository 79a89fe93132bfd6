"""Where a run stands: each stage done, running, failed, stale or to do, read from the stamps without touching them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import stamp
from .locks import is_at_work
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
    return [_standing(stage, output) for stage in stages]


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


def _standing(stage: Stage, output: Path) -> Standing:
    recorded = stamp.read_stamp(stage.folder)
    if recorded is None:
        return _without_stamp(stage)
    state, took = recorded.get("state"), clock(recorded.get("seconds", 0.0))
    if state == "running" and is_at_work(stage, output):
        return Standing(stage.name, "running", _last_line(stage))
    why = stamp.why_not_standing(stage, output)
    if why is None:
        return Standing(stage.name, "done", took)
    if why != "unfinished":
        return Standing(stage.name, "stale", why)
    if state == "stopped":
        goes_on = "goes on from its checkpoint" if stamp.can_resume(stage, output) else "starts anew"
        return Standing(stage.name, "to do", f"stopped after {took}, {goes_on}")
    what = "died without a word, " if state == "running" else ""
    return Standing(stage.name, "failed", f"{what}see {stage.folder / stamp.LOG}: {_last_line(stage)}")


def _without_stamp(stage: Stage) -> Standing:
    """A stage whose command was given by hand leaves its outputs and no stamp."""
    if stage.kind != "data" and all(path.exists() for path in stage.outputs):
        return Standing(stage.name, "done", "by hand: nothing says from which inputs")
    return Standing(stage.name, "to do", "")


def _last_line(stage: Stage) -> str:
    try:
        lines = (stage.folder / stamp.LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return lines[-1].strip()[:120] if lines else "its log is empty"
