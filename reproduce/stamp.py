"""The stamp of a stage, ``stage.json`` in its folder: whether its result stands, and why not.

A result stands for: the command line, the content of its config files with their ``_BASE_`` files merged in, the
SHA-256 of its input files, and the version of this package. A folder of images counts as the list of its files with
their sizes: hashing ImageNet takes longer than most stages. Where things lie is not part of it, neither the output
folder nor configs, checkpoints and data outside it: a run that was copied or moved still stands. Nor are the number of
threads, versions of other packages (each result records them), and edits of the source within one version. Delete the
stage's folder to have it run again.
"""

import functools
import hashlib
import json
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import plain, sha256_of_file, write_json

from .stage import Stage

STAMP = "stage.json"
LOG = "stage.log"


def facts(stage: Stage, output: Path) -> dict[str, Any]:
    """What the result of ``stage`` depends on. Its inputs must exist."""
    return {
        "version": metadata.version("clsa-transfer"),
        "command": [stage.script, *(_without_place(word, stage, output) for word in stage.arguments)],
        "config": [plain(CfgNode.load_yaml_with_base(str(path))) for path in stage.config_files],
        "inputs": {_without_place(path, stage, output): fingerprint(path) for path in stage.inputs},
    }


def read_stamp(folder: Path) -> dict[str, Any] | None:
    """The stamp of a stage that ran or was started, None where there is none or it is damaged."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and "facts" in stamp else None


def why_not_standing(stage: Stage, output: Path) -> str | None:
    """None if the result of ``stage`` stands, otherwise the reason in a few words."""
    stamp = read_stamp(stage.folder)
    if stamp is None:
        return "has not run"
    absent = next((path for path in stage.inputs if not path.exists()), None)
    if absent:
        return f"its input {absent} is missing"
    differing = _difference(stamp, stage, output)
    if differing:
        return f"{differing} changed"
    if stamp.get("state") != "done":
        return "unfinished"
    for path in stage.outputs:
        if not path.exists():
            return f"{path.name} is missing"
        if fingerprint(path) != stamp["outputs"].get(_without_place(path, stage, output)):
            return f"{path.name} changed"
    return None


def can_resume(stage: Stage, output: Path) -> bool:
    """Whether an earlier, unfinished run of the very same stage left a checkpoint to go on from."""
    stamp = read_stamp(stage.folder)
    return (
        stage.checkpoints != ""
        and stamp is not None
        and stamp.get("state") != "done"
        and _difference(stamp, stage, output) is None
        and any(stage.folder.glob(stage.checkpoints))
    )


def start(stage: Stage, output: Path) -> bool:
    """Prepare the stage's folder and stamp it as running; True if the stage goes on from its own checkpoint.

    What an earlier run with other inputs left in the folder is removed.

    Raises:
        InputError: the folder holds files and no stamp, so they are somebody else's.
    """
    resume = can_resume(stage, output)
    seconds = 0.0
    if resume:
        seconds = (read_stamp(stage.folder) or {}).get("seconds", 0.0)
    elif stage.folder.exists():
        foreign = (stage.folder / STAMP).exists() is False and any(stage.folder.iterdir())
        if foreign:
            raise InputError(
                f"{stage.folder} holds files that clsa-reproduce did not write. Move them, or give another --output."
            )
        shutil.rmtree(stage.folder)
    stage.folder.mkdir(parents=True, exist_ok=True)
    write_json(
        stage.folder / STAMP,
        {"state": "running", "stage": stage.name, "facts": facts(stage, output), "seconds": seconds},
    )
    return resume


def stop(stage: Stage, output: Path, seconds: float, state: Literal["done", "failed", "stopped"]) -> None:
    """Stamp the stage: done, failed, or told to stop; ``seconds`` are added to those of the runs before this one."""
    stamp = read_stamp(stage.folder) or {"stage": stage.name, "facts": facts(stage, output)}
    stamp["seconds"] = round(stamp.get("seconds", 0.0) + seconds, 1)
    stamp["state"] = state
    if state == "done":
        stamp["outputs"] = {_without_place(path, stage, output): fingerprint(path) for path in stage.outputs}
    write_json(stage.folder / STAMP, stamp)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the sorted relative paths and sizes of the files of a folder."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            if file.is_file():
                digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\n".encode())
        return digest.hexdigest()
    status = path.stat()
    return _file_sha256(str(path), status.st_size, status.st_mtime_ns)


@functools.cache
def _file_sha256(path: str, size: int, modified_ns: int) -> str:  # size and time: the cache's key
    return sha256_of_file(path)


def _difference(stamp: dict[str, Any], stage: Stage, output: Path) -> str | None:
    now = json.loads(json.dumps(facts(stage, output)))  # as the stamp read back: tuples are lists
    return next((name for name in now if now[name] != stamp["facts"].get(name)), None)


def _without_place(word: str | Path, stage: Stage, output: Path) -> str:
    """``OUTPUT/moco_v2/pretrain`` for a path below the output folder; likewise configs and what lies outside."""
    places = {str(path): f"CONFIG/{path.name}" for path in stage.config_files}
    places |= {str(path): name for name, path in stage.outside.items()} | {str(output): "OUTPUT"}
    for place in sorted(places, key=len, reverse=True):  # data can lie in the output folder, which is the shorter path
        if str(word) == place or str(word).startswith(place + os.sep):
            return places[place] + str(word)[len(place) :]
    return str(word)
