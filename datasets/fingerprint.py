"""Which files a number was measured on: the record of a data set that every result carries."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from clsa.configs.command import InputError

#: Marks the root of a rendered miniature world; written last, so that its absence means "not complete, or not ours".
MINI_WORLD_FILE = "mini_world.json"


def dataset_record(name: str, files: Iterable[str | os.PathLike], root: str | os.PathLike) -> dict[str, Any]:
    """What ``result.json`` says of the data: equal fingerprints mean that the same images were used.

    Args:
        name: of the data set and split, for instance ``"voc_2007_test"``.
        files: the images, as paths relative to ``root``, in any order.
        root: the folder that holds the data, or a folder in it (``ROOT``, ``ROOT/VOC2007``, ``ROOT/imagenet/train``).

    Returns:
        ``{"name", "root", "fingerprint": {"images": count, "file_list_sha256": hex}, "miniature": dict or None}``.
        The hash is over the sorted names, one a line, with forward slashes, so it is the same on every machine.
        ``miniature`` is the content of the miniature world's own file, None for real data.
    """
    names = sorted(PurePath(file).as_posix() for file in files)
    outside = next((file for file in names if PurePath(file).is_absolute() or ".." in PurePath(file).parts), None)
    if outside is not None:
        raise ValueError(f"file {outside!r} of {name} is not relative to {root}: no other machine would hash it alike")
    digest = hashlib.sha256("".join(f"{file}\n" for file in names).encode()).hexdigest()
    return {
        "name": name,
        "root": str(root),
        "fingerprint": {"images": len(names), "file_list_sha256": digest},
        "miniature": read_mini_world(root),
    }


def read_mini_world(folder: str | os.PathLike) -> dict[str, Any] | None:
    """Content of the ``mini_world.json`` of the world that ``folder`` is or lies in; None if it is not in one."""
    folder = Path(folder).resolve()
    for candidate in (folder, *folder.parents[:2]):
        path = candidate / MINI_WORLD_FILE
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(f"{path} is damaged ({error}). Render the miniature world again.") from error
            if not isinstance(content, dict):
                raise InputError(f"{path} is damaged (no JSON object). Render the miniature world again.")
            return content
    return None
