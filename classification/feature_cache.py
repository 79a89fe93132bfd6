"""Features on disk: memory-mapped arrays in a folder whose name is a hash of everything that they depend on.

``CACHE/SPLIT-KEY/``::

    identity.json     what KEY is the hash of: weights, BatchNorm, transform, precision, device, versions, images
    images.txt        the image of each row, one id a line
    res4.npy          (N, D) float32 or float16; `numpy.load(..., mmap_mode="r")` reads it. Exists only when complete
    res4.npy.partial  under way; ``progress.json`` says how many rows are there

Whatever changes gives another KEY, so a stale array is never found: other weights, another size or crop, an image
added, renamed, or replaced by one of another size or date. A killed extraction goes on at the last row that
progress.json names; it only ever names rows that have been flushed. One process at a time fills a folder; a second one
waits.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from clsa.configs.command import InputError
from clsa.configs.run_files import atomic_write, write_json

log = logging.getLogger("clsa.classification")


class CachedSplit:
    """The folder of one split's features; see the module."""

    def __init__(self, cache: str | os.PathLike, split: str, image_ids: Sequence[str], identity: Mapping[str, Any]):
        text = json.dumps(identity, sort_keys=True)
        self.folder = Path(cache) / f"{split}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
        self.rows = len(image_ids)
        self._create(image_ids, json.loads(text))

    def _create(self, image_ids: Sequence[str], identity: dict[str, Any]) -> None:
        path = self.folder / "identity.json"
        if not path.is_file():
            with atomic_write(self.folder / "images.txt", "w") as file:
                file.writelines(f"{image_id}\n" for image_id in image_ids)
            write_json(path, identity)
        elif (found := _read_json(path)) != identity:
            differing = ", ".join(key for key in identity if (found or {}).get(key) != identity[key])
            raise InputError(
                f"{path} does not describe the features of its folder ({differing}). Remove {self.folder}."
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process within the block."""
        lock = filelock.FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.info(f"another process is filling {self.folder}: waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def complete(self, layer: str) -> np.ndarray | None:
        """The finished (N, D) array, read-only and memory-mapped; None if there is none."""
        path = self.folder / f"{layer}.npy"
        if not path.is_file():
            return None
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged: {error}. Remove it, it will be computed again.") from error
        if array.ndim != 2 or len(array) != self.rows:
            raise InputError(f"{path} has shape {array.shape}, need {self.rows} rows. Remove it.")
        return array

    def resumable_rows(self, layers: Sequence[str], batch_size: int) -> int:
        """How many rows an interrupted extraction of the same layers left; 0 where there was none.

        Another batch size begins anew: it may round in another way, and the rows of one array must be of one kind.
        """
        progress = _read_json(self.folder / "progress.json") or {}
        same = progress.get("layers") == list(layers) and progress.get("batch_size") == batch_size
        there = all(self._partial(layer).is_file() for layer in layers)
        return int(progress.get("rows", 0)) if same and there else 0

    def create_partial(self, layer: str, dimensions: int, dtype: np.dtype) -> np.ndarray:
        """An (N, D) array on disk to be filled."""
        shape = (self.rows, dimensions)
        return np.lib.format.open_memmap(self._partial(layer), mode="w+", dtype=dtype, shape=shape)

    def open_partial(self, layer: str) -> np.ndarray:
        """The one that an interrupted extraction left."""
        return np.load(self._partial(layer), mmap_mode="r+")

    def save_progress(self, arrays: Mapping[str, np.memmap], rows: int, batch_size: int) -> None:
        """Flush the arrays, then say that their first ``rows`` rows are there."""
        for array in arrays.values():
            array.flush()
        progress = {"layers": list(arrays), "rows": rows, "batch_size": batch_size}
        write_json(self.folder / "progress.json", progress)

    def finish(self, layers: Sequence[str]) -> None:
        """Give the arrays their names. Killed in between, the ones that have theirs are kept."""
        for layer in layers:
            os.replace(self._partial(layer), self.folder / f"{layer}.npy")
        (self.folder / "progress.json").unlink(missing_ok=True)

    def _partial(self, layer: str) -> Path:
        return self.folder / f"{layer}.npy.partial"


def images_identity(image_ids: Sequence[str], paths: Sequence[Path]) -> dict[str, Any]:
    """Count of the images, and a hash over their ids, sizes in bytes and modification times, in order.

    Raises:
        InputError: an image that is not there.
    """
    digest = hashlib.sha256()
    for image_id, path in zip(image_ids, paths, strict=True):
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"image {path} cannot be read: {error.strerror}. Complete the data.") from error
        digest.update(f"{image_id}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return {"count": len(paths), "sha256_of_ids_sizes_times": digest.hexdigest()}


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file that this module writes; None if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
