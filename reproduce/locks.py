"""Who is at work: one lock for the output folder, one for each stage that runs.

A run of all stages holds the folder alone; runs of single stages, the tasks of a job array, share it. The stages
inherit the descriptors, so a lock is held until the last process has died that a killed run left behind: a second run
cannot start beside it and overwrite its checkpoints. A file system without locks is taken as if nobody held any.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from clsa.configs.command import InputError

from .stage import Stage

POLL_SECONDS = 0.1
#: A command that is given again right after a kill meets the old stages while they die.
PATIENCE_SECONDS = 10


@contextlib.contextmanager
def folder_lock(output: Path, shared: bool = False) -> Iterator[int]:
    """Hold ``output/.lock``, alone or ``shared``; yields its descriptor."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("a") as file:
        _hold(
            file,
            fcntl.LOCK_SH if shared else fcntl.LOCK_EX,
            f"another clsa-reproduce, or a stage that one started, is at work in {output}. "
            "Wait for it or end it, or give another --output.",
        )
        yield file.fileno()


def stage_lock(stage: Stage, output: Path) -> TextIO:
    """Hold the stage's lock until the file that is returned, and whoever inherited it, is closed."""
    path = _path(stage, output)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        _hold(file, fcntl.LOCK_EX, f"{stage.name} is at work already, in another process. Wait for it or end it.")
    except BaseException:
        file.close()
        raise
    return file


def is_at_work(stage: Stage, output: Path) -> bool:
    """Whether a process of the stage is alive; read only."""
    try:
        with _path(stage, output).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held; or no locks here, and the stamp that says "running" is all that is known
        return True
    return False


def _path(stage: Stage, output: Path) -> Path:
    return output / ".locks" / stage.name.replace("/", ".")


def _hold(file: TextIO, how: int, otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InputError(otherwise) from None
            time.sleep(POLL_SECONDS)
        except OSError:
            return
