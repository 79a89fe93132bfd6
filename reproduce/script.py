"""The plan as a shell script: what a reader would type, with the hours and GPUs to expect."""

from collections.abc import Sequence

from .expected import cost_text, totals
from .stage import Stage


def plan_script(stages: Sequence[Stage], title: str, report: str) -> str:
    """One stage after the other, each after those that it needs, each with all cores.

    Args:
        title: the command that was planned.
        report: the command that makes the report of what they leave.
    """
    lines = ["#!/bin/sh", f"# {title}", "#"]
    lines += [f"#   {line}" for line in totals(stages)]
    lines += ["#", "# One after another. Given a second time, whatever has checkpoints goes on from them.", "set -e"]
    for stage in stages:
        after = f"; after {', '.join(stage.needs)}" if stage.needs else ""
        lines += ["", f"# {stage.name}: {cost_text(stage)}{after}", stage.shell_line(resume=bool(stage.checkpoints))]
    return "\n".join([*lines, "", "# report", report])
