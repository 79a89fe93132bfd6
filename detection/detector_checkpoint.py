"""Checkpoints of the torchvision engine: written whole or not at all, read without trust.

``OUTPUT_DIR/model_NNNNNNN.pth`` after iteration NNNNNNN, ``model_final.pth`` after the last, and ``last_checkpoint``, a
text file that names the newest: detectron2's names.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import atomic_write

FORMAT = "clsa-detection"
VERSION = 1


def write_checkpoint(output_dir: str | os.PathLike, iteration: int, is_final: bool, content: dict[str, Any]) -> Path:
    """Write the state after ``iteration`` finished iterations, and point ``last_checkpoint`` to it.

    Args:
        content: ``model``, ``optimizer``, ``scaler``, ``seed``, ``seconds``, ``weights``, ``verified``, ``config``:
            tensors, containers and scalars only.
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


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Load a checkpoint of this engine to the CPU, with ``weights_only=True``.

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
    return content
