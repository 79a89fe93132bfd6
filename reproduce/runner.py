"""Runs the stages as processes: each as soon as those it needs are done, no more than so many at a time.

A stage whose result stands is skipped. When one fails, or the run is interrupted, the others are stopped too; their
checkpoints let them go on next time.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from clsa.configs.command import InputError

from . import stamp
from .locks import POLL_SECONDS, folder_lock, stage_lock
from .progress import Progress, clock
from .stage import Stage

#: How long a stage may take to save itself and end of its own accord before it is killed.
GRACE_SECONDS = 120
LAST_LINES = 15
#: Of a stage that was told to end and saved its state first: EX_TEMPFAIL, "try again".
TO_BE_CONTINUED = 75


class ToBeContinued(InputError):
    """A stage was told to end, by whom ever, and saved its state: the same command goes on from there."""


class Process:
    """A running stage: its output goes to ``stage.log`` line by line, its last words are kept."""

    def __init__(self, stage: Stage, output: Path, threads: int, keep_open: int) -> None:
        self.stage = stage
        self.output = output
        self._lock = stage_lock(stage, output)
        self.resumed = stamp.start(stage, output)
        self.started = time.monotonic()
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.last_words = ""
        of_each = max(1, threads // max(1, stage.gpus))  # a stage on several GPUs has a process for each
        settings = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(of_each), **stage.environment}
        self.process = subprocess.Popen(
            stage.command(self.resumed),
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(keep_open, self._lock.fileno()),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def log(self) -> Path:
        return self.stage.folder / stamp.LOG

    def state(self) -> tuple[str, float, float, str]:
        """For the live line: name, elapsed and expected seconds, last words."""
        return self.stage.name, self.seconds, self.stage.expected_seconds, self.last_words

    def over(self) -> bool:
        if self.process.poll() is None:
            return False
        self._reader.join(timeout=5)  # a grandchild may hold the pipe open: do not wait for it for ever
        return True

    def stop(self, state: Literal["done", "failed", "stopped"]) -> None:
        """Stamp the stage, whose process is over, and let go of its lock."""
        stamp.stop(self.stage, self.output, self.seconds, state)
        self._lock.close()

    def _read(self) -> None:
        """Sort the output: whole lines to the log, the redrawn states of a progress bar only to the screen."""
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"$ {self.stage.shell_line()}{' (resumed)' if self.resumed else ''}\n")
            pending = ""
            while piece := os.read(self.process.stdout.fileno(), 1 << 16):
                pieces = re.split(r"(\r\n|\n|\r)", pending + piece.decode("utf-8", errors="replace"))
                pending = pieces.pop()
                for text, end in zip(pieces[0::2], pieces[1::2], strict=True):
                    if text.strip():
                        self.last_words = text.strip()
                    if end != "\r" and text.strip():
                        log.write(text.rstrip() + "\n")
                        self.last_lines.append(text.rstrip())
                log.flush()
            if pending.strip():
                log.write(pending.rstrip() + "\n")
                self.last_lines.append(pending.rstrip())


def run_stages(
    stages: Sequence[Stage], plan: Sequence[Stage], output: Path, jobs: int, threads: int, beside_others: bool = False
) -> None:
    """Run what does not stand of ``stages``.

    Args:
        stages: the selected part of ``plan``.
        plan: every stage, in an order in which each comes after those it needs.
        output: absolute path of the output folder.
        jobs: how many at a time.
        threads: OMP_NUM_THREADS of each, which its processes share.
        beside_others: other runs may be at work on other stages, as the tasks of a job array are.

    Raises:
        ToBeContinued: a stage was told to end, and saved its state.
        InputError: a stage failed (with its last lines and its log), another run is at work in ``output``, or a
            needed stage that was not selected does not stand.
    """
    with folder_lock(output, shared=beside_others) as keep_open:
        selected = {stage.name for stage in stages}
        left_out = {stage.name: stage for stage in plan if stage.name not in selected}
        _require_standing(stages, left_out, output)
        done = set(left_out)
        waiting = list(stages)
        running: list[Process] = []
        progress = Progress(len(stages), sum(stage.expected_seconds for stage in stages) / jobs)
        try:
            while waiting or running:
                _start_ready(waiting, running, done, output, jobs, threads, keep_open, progress)
                _collect(running, done, progress)
                if running:
                    progress.running([p.state() for p in running])
                    time.sleep(POLL_SECONDS)
        finally:
            _stop_all(running)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM is a KeyboardInterrupt: what a cluster's scheduler sends stops the stages in good order."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _require_standing(stages: Sequence[Stage], left_out: dict[str, Stage], output: Path) -> None:
    for stage in stages:
        for name in stage.needs:
            if name in left_out and (why := stamp.why_not_standing(left_out[name], output)):
                kind = left_out[name].kind
                raise InputError(
                    f"{stage.name} needs {name}, which does not stand: {why}. Run it first: --only {kind}."
                )


def _start_ready(
    waiting: list[Stage],
    running: list[Process],
    done: set[str],
    output: Path,
    jobs: int,
    threads: int,
    keep_open: int,
    progress: Progress,
) -> None:
    for stage in list(waiting):
        if len(running) >= jobs:
            return
        if not done.issuperset(stage.needs):
            continue
        why = stamp.why_not_standing(stage, output)
        if why is None:
            waiting.remove(stage)
            done.add(stage.name)
            took = (stamp.read_stamp(stage.folder) or {}).get("seconds", 0.0)
            progress.stage_over(stage.name, f"stands, skipped (took {clock(took)})")
            progress.expected_seconds = max(0.0, progress.expected_seconds - stage.expected_seconds / jobs)
        else:
            waiting.remove(stage)
            process = Process(stage, output, threads, keep_open)
            running.append(process)
            progress.say(f"        {stage.name:<44} {'resumes' if process.resumed else 'starts'} ({why})")


def _collect(running: list[Process], done: set[str], progress: Progress) -> None:
    for process in list(running):
        if not process.over():
            continue
        running.remove(process)
        stage = process.stage
        code = process.process.returncode
        missing = [path.name for path in stage.outputs if not path.exists()]
        if code == TO_BE_CONTINUED:
            process.stop("stopped")
            raise ToBeContinued(
                f"{stage.name} was told to end and saved its state: the same command goes on from there"
            )
        if code or missing:
            process.stop("failed")
            raise InputError(_failure(process, missing))
        process.stop("done")
        done.add(stage.name)
        progress.stage_over(stage.name, f"done in {clock(process.seconds)}")


def _failure(process: Process, missing: list[str]) -> str:
    code = process.process.returncode
    what = f"exit code {code}" if code else f"it did not write {', '.join(missing)}"
    lines = "\n".join(f"    {line}" for line in process.last_lines)
    return (
        f"stage {process.stage.name} failed: {what}. Its last lines:\n{lines}\n"
        f"  whole log: {process.log}\n  by hand:   {process.stage.shell_line()}"
    )


def _stop_all(running: list[Process]) -> None:
    for process in running:
        process.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in running:
        try:
            process.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.process.kill()
            process.process.wait()
        process.stop("stopped")
