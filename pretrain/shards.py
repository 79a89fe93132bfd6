"""Tar shards in WebDataset's layout, read by place.

The headers of all shards are read once; then an image is its shard, its offset and its size, and is read without what
lies before it. WebDataset itself streams: an epoch is what its shards and shuffle buffers make of it, and cannot be
taken up in the middle. Reading by place gives shards the order and the exactness of a folder. The price: the shards
lie on disks or mounted file systems (several, if need be), not behind a URL.
"""

import os
import tarfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clsa.configs.command import InputError

#: Suffixes of the image in a sample, as WebDataset's decoders know them; other members, such as labels, are not read.
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm", "webp", "bmp", "tif", "tiff")


def is_shard_pattern(train: str) -> bool:
    return train.endswith(".tar")


class Shards:
    """The images in the shards of a pattern such as ``imagenet-{000000..000146}.tar``; several are joined by ``::``.

    Raises:
        InputError: WebDataset is missing, a shard is missing or damaged, there is no image in it, two images have one
            name.
    """

    def __init__(self, pattern: str) -> None:
        self.paths = expand(pattern)
        self._shard, self._offset, self._size = [], [], []
        self._keys: list[str] = []
        for number, path in enumerate(tqdm(self.paths, desc="reading the shards' headers", unit="shard", disable=None)):
            before = len(self._keys)
            for key, offset, size in index(path):
                self._keys.append(key)
                self._shard.append(number)
                self._offset.append(offset)
                self._size.append(size)
            if len(self._keys) == before:
                raise InputError(
                    f"shard {path} holds no image. In WebDataset's layout it is <key>.jpg, or another of "
                    f"{', '.join(IMAGE_SUFFIXES[1:])}."
                )
        # Arrays: a loader's workers share their pages, which Python's numbers would make them copy.
        self._shard, self._offset, self._size = map(np.array, (self._shard, self._offset, self._size))
        self._files: dict[int, int] = {}  # shard to file descriptor, opened when first needed

    def __len__(self) -> int:
        return len(self._keys)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}}  # an open file cannot be sent to another process

    def name(self, index: int) -> str:
        return f"{self.paths[self._shard[index]]}:{self._keys[index]}"

    def read(self, index: int) -> bytes:
        shard, offset, size = int(self._shard[index]), int(self._offset[index]), int(self._size[index])
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


def index(path: str) -> list[tuple[str, int, int]]:
    """(name, offset, size) of the image of each sample in a shard, in its order.

    Which members form a sample is decided by WebDataset's own ``group_by_keys``, which is given places in place of
    contents. Of a sample with several images the first is taken; one without is passed over.

    Raises:
        InputError: no tar file, a compressed one, or a damaged one; a name twice.
    """
    from webdataset.tariterators import group_by_keys

    try:
        with tarfile.open(path, "r:") as tar:
            samples = list(group_by_keys(_members(tar, path)))
    except tarfile.TarError as error:
        raise InputError(
            f"shard {path} cannot be read: {error}. It must be an uncompressed tar file, whole to its end."
        ) from error
    except ValueError as error:
        raise InputError(f"shard {path}: {error.args[0]}. Each name may occur once.") from error
    images = []
    for sample in samples:
        suffix = next((suffix for suffix in sample if suffix.rpartition(".")[2] in IMAGE_SUFFIXES), None)
        if suffix:
            images.append((f"{sample['__key__']}.{suffix}", *sample[suffix]))
    return images


def _members(tar: tarfile.TarFile, path: str):
    while (member := tar.next()) is not None:
        tar.members = []  # it would keep all of them
        if member.isreg() and not member.name.startswith("__"):  # those are WebDataset's own notes
            yield {"fname": member.name, "data": (member.offset_data, member.size), "__url__": path}
