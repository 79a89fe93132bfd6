"""Checkpoints of a detector: written whole or not at all, read without trust.

``OUTPUT_DIR/model_NNNNNNN.pth`` after iteration NNNNNNN, ``model_final.pth`` after the last, and ``last_checkpoint``, a
text file that names the newest: detectron2's names. detectron2's trainer writes its own; both engines' hold what the
detector was trained with (``training_record.py``).
"""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import atomic_write

from .detection_result import weights_record

FORMAT = "clsa-detection"
VERSION = 1

#: The training record in a checkpoint (``training_record.py``); None in one of an older version or of other programs.
RECORD_KEYS = ("config", "protocol", "trial", "train_datasets")


def write_checkpoint(output_dir: str | os.PathLike, iteration: int, is_final: bool, content: dict[str, Any]) -> Path:
    """Write the state after ``iteration`` finished iterations, and point ``last_checkpoint`` to it.

    Args:
        content: ``model``, ``optimizer``, ``scaler``, ``seed``, ``seconds`` (of training so far), ``weights``,
            ``verified``, and a training record: tensors, containers and scalars only.
    """
    name = "model_final.pth" if is_final else f"model_{iteration - 1:07d}.pth"
    path = Path(output_dir) / name
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "version": VERSION, "iteration": iteration, **content}, file)
    with atomic_write(Path(output_dir) / "last_checkpoint", "w") as file:
        file.write(name)
    return path


def last_checkpoint(output_dir: str | os.PathLike) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, None where there is none.

    Raises:
        InputError: it names a file that does not exist or lies elsewhere.
    """
    pointer = Path(output_dir) / "last_checkpoint"
    if not pointer.is_file():
        return None
    name = pointer.read_text(encoding="utf-8").strip()
    path = pointer.parent / name
    if Path(name).name != name or not path.is_file():
        raise InputError(
            f"{pointer} names {name!r}, which is not in that folder. Write the name of an existing model_*.pth into "
            "it, or delete it to begin anew."
        )
    return path


def where_to_start(output_dir: str | os.PathLike, resume: bool) -> Path | None:
    """The checkpoint that training goes on from; None to start anew.

    Raises:
        InputError: without ``resume``, the folder holds a run already; or as :func:`last_checkpoint`.
    """
    existing = last_checkpoint(output_dir)
    if existing and not resume:
        raise InputError(
            f"{output_dir} already holds checkpoints, the newest is {existing.name}. "
            "Give --resume to go on with that run, or another OUTPUT_DIR to start anew."
        )
    return existing


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Load a checkpoint of the torchvision engine to the CPU, with ``weights_only=True``.

    Returns:
        ``iteration`` (finished ones), what :func:`write_checkpoint` was given, and the keys of a training record, None
        where an older version has not written them.

    Raises:
        InputError: the file is missing, truncated, not of this format, or would run code.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path} cannot be read as a checkpoint: {reason}. It is truncated, or no checkpoint of the torchvision "
            "engine; use another model_*.pth."
        ) from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT or content.get("version") != VERSION:
        raise InputError(
            f"{path} is no detector of the torchvision engine (format {found!r}, needed {FORMAT!r} version {VERSION}). "
            "Give a model_*.pth that `--engine torchvision` has written."
        )
    return {**dict.fromkeys(RECORD_KEYS), **content}


def read_detectron2_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The same of a detector of detectron2: this program's, or any, such as MoCo's.

    Returns:
        ``iteration``, ``model``, ``seed``, ``seconds``, ``weights``, ``verified``, and the keys of a training record.
        For a detector that was trained elsewhere ``weights`` is the record of its own file, ``seed`` and the training
        record are None, the rest is 0.

    Raises:
        InputError: the file is missing, damaged, would run code, or is no detector.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path} cannot be read as a detector's checkpoint: {reason}. Give the model_final.pth of a finished run."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InputError(f"{path} is no detector: it has no 'model'. Give the model_final.pth of a finished run.")
    trainer = content.get("trainer", {})
    origin = trainer.get("origin") or {"seed": None, "weights": weights_record(path), "verified": 0}
    return {
        "model": content["model"],
        "iteration": content.get("iteration", -1) + 1,
        "seconds": trainer.get("seconds", 0.0),
        **origin,
        **dict.fromkeys(RECORD_KEYS),
        **trainer.get("training", {}),
    }
