"""Where the images are: a folder for each class, a list of files, or tar shards. Each is a sequence of encoded images.

Every source gives any image by its index, so the order of the epochs, stopping in the middle of one and going on with
another number of processes are the same for all of them.
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import Protocol

import torchvision
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .shards import Shards, is_shard_pattern


class Source(Protocol):
    """The training images, in an order that never changes."""

    def __len__(self) -> int: ...

    @property
    def order_sha256(self) -> str:
        """SHA-256, hexadecimal, of the images' names in their order, without the folder that all of them lie in."""

    def name(self, index: int) -> str:
        """What a message calls the image: its path, or its shard and its name in it."""

    def read(self, index: int) -> bytes:
        """The encoded image.

        Raises:
            InputError: it cannot be read; the message names it.
        """


def open_source(data: CfgNode, process: Process | None = None) -> Source:
    """The images that ``cfg.DATA`` names: what DATA.TRAIN looks like decides.

    Args:
        process: of a training, whose processes share what is read to find the images; None: this one is alone.

    Raises:
        InputError: there is no such thing, it holds no image, or it is laid out differently.
    """
    if is_shard_pattern(data.TRAIN):
        return Shards(data.TRAIN, process)
    if Path(data.TRAIN).suffix == ".txt":
        return ImageFiles(read_list(data.TRAIN, data.ROOT), root_of_list(data.TRAIN, data.ROOT))
    return ImageFiles(find_images(data.TRAIN), data.TRAIN)


class ImageFiles:
    """Files of one image each; ``root`` is the folder that they lie in."""

    def __init__(self, paths: list[str], root: str = "") -> None:
        self.paths, self.root = paths, root

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    @functools.cached_property
    def order_sha256(self) -> str:
        root, digest = os.path.join(self.root, ""), hashlib.sha256()
        for path in self.paths:
            digest.update(os.fsencode(path.removeprefix(root)) + b"\0")
        return digest.hexdigest()

    def read(self, index: int) -> bytes:
        path = self.paths[index]
        try:
            return Path(path).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"image {path} does not exist. Complete the data, or correct its list.") from error
        except OSError as error:
            raise InputError(f"image {path} cannot be read: {error.strerror}. Replace or remove it.") from error


def find_images(folder: str) -> list[str]:
    """Paths of all images in ``folder/<class>/``, sorted: the index of an image is its place in this list.

    Raises:
        InputError: no such folder, no class folders, a class folder without an image.
    """
    if not folder or not Path(folder).is_dir():
        raise InputError(
            f"data folder {folder!r} does not exist. Set DATA.TRAIN to a folder that holds one folder of images for "
            "each class, such as imagenet/train; to a list of images, such as train.txt; or to tar shards, such as "
            "'imagenet-{000000..000146}.tar'. `clsa-data mini` renders a small folder."
        )
    try:
        return [path for path, _ in torchvision.datasets.ImageFolder(folder).samples]
    except FileNotFoundError as error:
        raise InputError(
            f"data folder {folder!r} is not laid out as <class>/<image>: {' '.join(str(error).split())}"
        ) from error


def read_list(list_file: str, root: str) -> list[str]:
    """Paths of the images that a text file names, one a line, in its order; a whole number after it is a label, unused.

    Paths are relative to ``root``, or to the list's folder if that is empty, and may not leave it. Empty lines and
    lines that begin with # are passed over. Whether the images exist is found out when they are read.

    Raises:
        InputError: no such file, a path outside the root, the same path twice, no path at all.
    """
    if not Path(list_file).is_file():
        raise InputError(f"DATA.TRAIN names the list {list_file}, which does not exist.")
    if root and not Path(root).is_dir():
        raise InputError(
            f"DATA.ROOT {root!r} does not exist. It is the folder to which the paths of a list are relative."
        )
    root = root_of_list(list_file, root)
    paths = {}
    for number, line in enumerate(Path(list_file).read_text(encoding="utf-8").splitlines(), 1):
        words = line.strip().rsplit(maxsplit=1)
        if not words or line.startswith("#"):
            continue
        labelled = len(words) == 2 and words[1].isdigit()
        path = os.path.normpath(os.path.join(root, words[0] if labelled else line.strip()))
        if os.path.commonpath([os.path.abspath(path), os.path.abspath(root)]) != os.path.abspath(root):
            raise InputError(
                f"{list_file}, line {number}: {line.strip()} is not inside {root}. Set DATA.ROOT to a folder that "
                "holds all images."
            )
        if os.path.isabs(path) and not os.path.isabs(root):
            path = os.path.normpath(os.path.join(root, os.path.relpath(path, root)))  # as those that are named by it
        if path in paths:
            raise InputError(f"{list_file}: lines {paths[path]} and {number} both name {path}. Name each image once.")
        paths[path] = number
    if not paths:
        raise InputError(f"{list_file} names no image. It needs one path a line.")
    return list(paths)


def root_of_list(list_file: str, root: str) -> str:
    """The folder to which the paths of a list are relative."""
    return os.path.normpath(root or Path(list_file).parent)
