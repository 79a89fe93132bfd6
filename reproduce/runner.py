"""Runs the stages as processes: each as soon as those it needs are done, no more than so many at a time.

A stage whose result stands is skipped. When one fails, or the run is interrupted, the others are stopped too; their
checkpoints let them go on next time.
"""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from clsa.configs.command import InputError

from . import stamp
from .progress import Progress, clock
from .stage import Stage

POLL_SECONDS = 0.1
#: How long a stage may take to die of its own accord before it is killed.
GRACE_SECONDS = 15
LAST_LINES = 15
#: A command that is given again right after a kill meets the old stages while they die.
LOCK_PATIENCE_SECONDS = 10


class Process:
    """A running stage: its output goes to ``stage.log`` line by line, its last words are kept."""

    def __init__(self, stage: Stage, output: Path, threads: int, keep_open: int) -> None:
        self.stage = stage
        self.output = output
        self.resumed = stamp.start(stage, output)
        self.started = time.monotonic()
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.last_words = ""
        settings = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads), **stage.environment}
        self.process = subprocess.Popen(
            stage.command(self.resumed),
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(keep_open,),
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


def run_stages(stages: Sequence[Stage], plan: Sequence[Stage], output: Path, jobs: int, threads: int) -> None:
    """Run what does not stand of ``stages``.

    Args:
        stages: the selected part of ``plan``.
        plan: every stage, in an order in which each comes after those it needs.
        output: absolute path of the output folder.
        jobs: how many at a time.
        threads: OMP_NUM_THREADS of each.

    Raises:
        InputError: a stage failed (with its last lines and its log), another run is at work in ``output``, or a
            needed stage that was not selected does not stand.
    """
    with lock(output) as keep_open:
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
                _collect(running, done, output, progress)
                if running:
                    progress.running([p.state() for p in running])
                    time.sleep(POLL_SECONDS)
        finally:
            _stop_all(running, output)


@contextlib.contextmanager
def lock(output: Path) -> Iterator[int]:
    """Hold ``output/.lock``. The stages inherit its descriptor: it stays locked until the last of them has died too.

    So a second run cannot start beside stages that outlived a killed first one, and overwrite their checkpoints.
    """
    output.mkdir(parents=True, exist_ok=True)
    with open(output / ".lock", "w") as file:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _locked(file):
            if time.monotonic() > deadline:
                raise InputError(
                    f"another clsa-reproduce, or a stage that one started, is at work in {output}. "
                    "Wait for it or end it, or give another --output."
                )
            time.sleep(POLL_SECONDS)
        yield file.fileno()


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
                raise InputError(f"{stage.name} needs {name}, which does not stand: {why}. Add {kind} to --only.")


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


def _collect(running: list[Process], done: set[str], output: Path, progress: Progress) -> None:
    for process in list(running):
        if not process.over():
            continue
        running.remove(process)
        stage = process.stage
        missing = [path.name for path in stage.outputs if not path.exists()]
        good = process.process.returncode == 0 and not missing
        stamp.stop(stage, output, process.seconds, good)
        if not good:
            raise InputError(_failure(process, missing))
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


def _stop_all(running: list[Process], output: Path) -> None:
    for process in running:
        process.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in running:
        try:
            process.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.process.kill()
            process.process.wait()
        stamp.stop(process.stage, output, process.seconds, done=False)
