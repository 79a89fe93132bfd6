"""Tar shards in WebDataset's layout, read by place.

The headers of all shards are read once (``shard_index``); then an image is its shard, its offset and its size, and is
read without what lies before it. WebDataset itself streams: an epoch is what its shards and shuffle buffers make of it,
and cannot be taken up in the middle. Reading by place gives shards the order and the exactness of a folder. The price:
the shards lie on disks or mounted file systems (several, if need be), not behind a URL.
"""

import functools
import hashlib
import os
from pathlib import Path

import numpy as np

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .shard_index import read_together


def is_shard_pattern(train: str) -> bool:
    return train.endswith(".tar")


class Shards:
    """The images in the shards of a pattern such as ``imagenet-{000000..000146}.tar``; several are joined by ``::``.

    All of several processes must open them, for they share the reading of the headers.

    Raises:
        InputError: WebDataset is missing, a shard is missing or damaged, there is no image in it, two images have one
            name.
    """

    def __init__(self, pattern: str, process: Process | None = None) -> None:
        self.paths = expand(pattern)
        self._index = read_together(self.paths, process)
        self._ends = np.cumsum(self._index.counts)  # of each shard, in the order of all images
        self._files: dict[int, int] = {}  # shard to file descriptor, opened when first needed

    def __len__(self) -> int:
        return len(self._index.sizes)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}}  # an open file cannot be sent to another process

    def name(self, index: int) -> str:
        return f"{self.paths[self._shard(index)]}:{self._index.name(index)}"

    @functools.cached_property
    def order_sha256(self) -> str:
        """Of the names in the shards, which need not tell the images of two shards apart, and of their sizes."""
        digest = hashlib.sha256(self._index.names)
        digest.update(self._index.name_ends.tobytes())
        digest.update(self._index.sizes.tobytes())
        return digest.hexdigest()

    def read(self, index: int) -> bytes:
        shard, offset, size = self._shard(index), int(self._index.offsets[index]), int(self._index.sizes[index])
        try:
            if shard not in self._files:
                self._files[shard] = os.open(self.paths[shard], os.O_RDONLY)
            # By place: processes that were forked share the file's position, and this does not use it.
            data = os.pread(self._files[shard], size, offset)
        except OSError as error:
            raise InputError(
                f"image {self.name(index)} cannot be read: {error.strerror}. Replace the shard."
            ) from error
        if len(data) != size:
            raise InputError(f"image {self.name(index)} cannot be read: the shard was cut off after the start.")
        return data

    def _shard(self, index: int) -> int:
        return int(np.searchsorted(self._ends, index, side="right"))


def expand(pattern: str) -> list[str]:
    """Paths of the shards, in the pattern's order, by WebDataset's rules: {000..146}, {a,b}, and :: between several.

    Raises:
        InputError: see :class:`Shards`.
    """
    try:
        from webdataset.shardlists import expand_urls
    except ImportError as error:
        raise InputError(
            f"DATA.TRAIN {pattern!r} names tar shards, which need the package webdataset: pip install webdataset."
        ) from error
    paths = expand_urls(pattern)
    for path in paths:
        if "://" in path or path.startswith("pipe:"):
            raise InputError(
                f"shard {path} is no local file. Shards are read at any place, to resume in the middle of an epoch: "
                "copy them to disks or mount them, several folders are joined by ::."
            )
        if not Path(path).is_file():
            raise InputError(f"shard {path} of DATA.TRAIN {pattern!r} does not exist.")
    if len(set(paths)) != len(paths):
        raise InputError(f"DATA.TRAIN {pattern!r} names a shard twice.")
    return paths
