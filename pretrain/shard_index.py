"""Where the images lie in tar shards: the headers of all shards, read once, by all processes together."""

import os
import tarfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.configs.processes import Process

#: Suffixes of the image in a sample, as WebDataset's decoders know them; other members, such as labels, are not read.
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm", "webp", "bmp", "tif", "tiff")


class Index(NamedTuple):
    """The images of one shard or of several, in their order.

    Arrays, and one string of bytes: they are quick to send, and a loader's workers share their pages, which Python's
    numbers and strings would make them copy.

    Attributes:
        shard_sizes: int64, of each shard, in bytes.
        counts: int64, of each shard, its images.
        offsets, sizes: int64, of each image, in bytes.
        names: UTF-8, one name after the other.
        name_ends: int64, of each image, where its name ends in ``names``.
    """

    shard_sizes: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    names: bytes
    name_ends: np.ndarray

    def name(self, image: int) -> str:
        start = self.name_ends[image - 1] if image else 0
        return self.names[start : self.name_ends[image]].decode("utf-8", "surrogateescape")


def read_together(paths: Sequence[str], process: Process | None = None) -> Index:
    """The index of all ``paths``, in every process, each of which reads its share of the headers.

    Raises:
        InputError: a shard is damaged or holds no image; every process raises it. A shard differs between machines.
    """
    if process is None:
        return joined([index(path) for path in _with_bar(paths)])
    try:
        found = [index(path) for path in _with_bar(paths[process.rank :: process.world_size], process.is_main)]
    except InputError as error:
        found = error  # raised by all: those that have found no fault would wait for this process
    shares, together = process.gather(found), None
    if shares is not None:
        together = next((share for share in shares if isinstance(share, InputError)), None) or joined(
            [shares[number % process.world_size][number // process.world_size] for number in range(len(paths))]
        )
    together = process.broadcast(together)
    if isinstance(together, InputError):
        raise together
    for path, size in zip(paths, together.shard_sizes, strict=True):
        if (here := os.path.getsize(path)) != size:
            raise InputError(
                f"shard {path} has {here} bytes for process {process.rank} and {size} for another one: all machines "
                "must have the same shards. Copy them anew."
            )
    return together


def joined(parts: Sequence[Index]) -> Index:
    """One index of several, in their order."""
    starts = np.cumsum([0, *(len(part.names) for part in parts[:-1])])
    return Index(
        shard_sizes=np.concatenate([part.shard_sizes for part in parts]),
        counts=np.concatenate([part.counts for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        names=b"".join(part.names for part in parts),
        name_ends=np.concatenate([part.name_ends + start for part, start in zip(parts, starts, strict=True)]),
    )


def index(path: str) -> Index:
    """The image of each sample in a shard, in its order.

    Which members form a sample is decided by WebDataset's own ``group_by_keys``, which is given places in place of
    contents. Of a sample with several images the first is taken; one without is passed over.

    Raises:
        InputError: it cannot be opened; no tar file, a compressed one, or a damaged one; a name twice; no image in it.
    """
    from webdataset.tariterators import group_by_keys

    try:
        with tarfile.open(path, "r:") as tar:
            samples = list(group_by_keys(_members(tar, path)))
    except tarfile.TarError as error:
        raise InputError(
            f"shard {path} cannot be read: {error}. It must be an uncompressed tar file, whole to its end."
        ) from error
    except OSError as error:
        raise InputError(f"shard {path} cannot be read: {error.strerror}. Replace the shard.") from error
    except ValueError as error:
        raise InputError(f"shard {path}: {error.args[0]}. Each name may occur once.") from error
    images = []
    for sample in samples:
        suffix = next((suffix for suffix in sample if suffix.rpartition(".")[2] in IMAGE_SUFFIXES), None)
        if suffix:
            name = f"{sample['__key__']}.{suffix}".encode("utf-8", "surrogateescape")
            images.append((name, *sample[suffix]))
    if not images:
        raise InputError(
            f"shard {path} holds no image. In WebDataset's layout it is <key>.jpg, or another of "
            f"{', '.join(IMAGE_SUFFIXES[1:])}."
        )
    names, offsets, sizes = zip(*images, strict=True)
    of_shard = np.array([os.path.getsize(path)]), np.array([len(images)])
    ends = np.cumsum([len(name) for name in names])
    return Index(*of_shard, np.array(offsets), np.array(sizes), b"".join(names), ends)


def _members(tar: tarfile.TarFile, path: str):
    while (member := tar.next()) is not None:
        tar.members = []  # it would keep all of them
        if member.isreg() and not member.name.startswith("__"):  # those are WebDataset's own notes
            yield {"fname": member.name, "data": (member.offset_data, member.size), "__url__": path}


def _with_bar(paths: Sequence[str], shown: bool = True) -> tqdm:
    return tqdm(paths, desc="reading the shards' headers", unit="shard", disable=None if shown else True)
