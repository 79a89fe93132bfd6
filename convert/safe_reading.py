"""Files from strangers into tensors and plain values, without ever running the code that a pickle may hold.

A file is read by what its first bytes say it is, and its suffix must agree:

- ``torch``        written by ``torch.save``, today's zip or the older pickle: ``torch.load(weights_only=True)``, with
                   stand-ins for the types of ``stand_ins``;
- ``pickle``       detectron2's ``.pkl``: an unpickler that admits NumPy arrays and plain containers;
- ``safetensors``  holds tensors and strings by construction.

Before it is read, ``zip_check`` and ``pickle_check`` look at what the file announces, so that a small one cannot take
all memory or time, and ``storage_check`` at whether each tensor's numbers are there.
"""

import io
import mmap
import pickle
import re
import struct
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch

from clsa.configs.command import InputError

from .numpy_pickle import Refused, load_arrays, unwrap
from .pickle_check import Excessive, check_instructions
from .stand_ins import STAND_INS
from .storage_check import WrongSize, check_storages
from .zip_check import NotStored, pickle_in_zip

Kind = Literal["torch", "pickle", "safetensors"]

#: what a suffix promises; a file of any other suffix is taken for what its first bytes say
KIND_OF_SUFFIX: dict[str, Kind] = {
    ".pkl": "pickle",
    ".pth": "torch",
    ".pt": "torch",
    ".safetensors": "safetensors",
}
_CALLED = {"torch": "a PyTorch file", "pickle": "a plain pickle", "safetensors": "a safetensors file"}

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch.save's magic number before the zip format
_PICKLES_OF_OLD_TORCH = 5  # magic number, protocol, system, content, keys of the storages
_SAFETENSORS_HEADER = 10_000_000  # bytes; ResNet-152 has 80,000. Its length stands first in the file, then "{"
_OTHERS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"PK\x05\x06": "an empty zip archive",
    b"BZh": "a bzip2 archive (unpack it first)",
    b"\xfd7zXZ": "an xz archive (unpack it first)",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file (TensorFlow's or Keras's weights?)",
    b"\x7fELF": "a program",
    b"<": "an HTML or XML page (a download that failed?)",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself (git lfs pull)",
}


def read_file(path: str | Path) -> tuple[Kind, Any]:
    """What kind of file ``path`` is, and its content: tensors on the CPU (arrays for a pickle), containers, scalars.

    Tensors of a PyTorch zip or a safetensors file and large arrays of a pickle are mapped from the disk, so that a
    checkpoint with optimizer state costs no more memory than the part of it that is used. Writing to them does not
    change the file.

    Raises:
        InputError: missing, a directory, empty, truncated, no weights at all, a suffix that the content contradicts,
            or a pickle that asks for anything but tensors, arrays and plain containers.
    """
    path = Path(path)
    kind = kind_of_file(path)
    promised = KIND_OF_SUFFIX.get(path.suffix.lower())
    if promised not in (None, kind):
        raise InputError(_contradiction(path, kind, promised))
    read = {"torch": _load_torch, "pickle": _load_pickle, "safetensors": _load_safetensors}[kind]
    try:
        return kind, read(path)
    except InputError:
        raise
    except (Excessive, Refused) as error:
        raise InputError(_refused(path, str(error))) from error
    except RecursionError as error:
        raise InputError(_refused(path, "has containers within containers, hundreds deep or endless")) from error
    except (NotStored, WrongSize) as error:
        raise InputError(f"{path} was refused: {error}. Need a file as torch.save writes it.") from error
    except Exception as error:  # a damaged file may raise anything: KeyError, EOFError, RuntimeError, MemoryError, ...
        raise InputError(_damaged(path, error)) from error


def kind_of_file(path: Path) -> Kind:
    """What the first bytes say; an ``InputError`` when they are those of no weights file."""
    if path.is_dir():
        raise InputError(f"{path} is a directory, need a file with weights")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give the path of a file with weights.") from error
    if not start:
        raise InputError(f"{path} is empty (0 bytes): a download or a copy that failed? Fetch it again.")
    if start[5:10] == b'\0\0\0{"':  # before the others: a header's length may begin with a pickle's first byte
        return "safetensors"
    if start.startswith((_ZIP, _OLD_TORCH)):
        return "torch"
    if start.startswith(_PICKLE):
        return "pickle"
    if start[8:9] == b"{":
        return "safetensors"
    raise InputError(f"{path} is {_other_kind(start)}, not a file with weights: need .pth, .pkl or .safetensors")


def _other_kind(start: bytes) -> str:
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            return name
    text = start.decode("utf-8", errors="replace").lstrip()
    if "\N{REPLACEMENT CHARACTER}" in text[:-4] or "\0" in text:  # the last character may have been cut in two
        return "of no known format"
    return "a JSON file" if text.startswith(("{", "[")) else "a text file"


def _contradiction(path: Path, kind: Kind, promised: Kind) -> str:
    message = f"{path} is {_CALLED[kind]} under the name of {_CALLED[promised]}."
    if kind == "pickle" and promised == "torch":
        pickled = path.with_suffix(".pkl")
        return (
            f"{message} If it holds a backbone in detectron2's names, rename it and convert it: "
            f"mv {path} {pickled} && clsa-convert {pickled} {path} --to torchvision"
        )
    suffix = next(suffix for suffix, suffix_kind in KIND_OF_SUFFIX.items() if suffix_kind == kind)
    return f"{message} If it is what you mean, rename it to {path.with_suffix(suffix).name}."


def _load_torch(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(len(_ZIP)) == _ZIP
        file.seek(0)
        if zipped:
            instructions, sizes = pickle_in_zip(path)
            check_instructions(io.BytesIO(instructions))
            check_storages(instructions, sizes)
        else:
            for _ in range(_PICKLES_OF_OLD_TORCH):
                check_instructions(file)
    try:
        with torch.serialization.safe_globals(STAND_INS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        # PyTorch's own text advises to read the file without care: only its facts are passed on
        if asked_for := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(_refused(path, f"asks to import {asked_for[1]} while it is read")) from error
        detail = re.search(r"WeightsUnpickler error: (.+)", str(error))
        raise InputError(_damaged(path, detail[1] if detail else "its pickle cannot be read")) from error
    return unwrap(content, {})


def _load_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    check_instructions(content)
    content.seek(0)
    return load_arrays(content)


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    with path.open("rb") as file:
        claimed, size = struct.unpack("<Q", file.read(8))[0], path.stat().st_size
    if claimed > size - 8:
        raise InputError(_damaged(path, f"its header claims {claimed} bytes, the file has {size}"))
    if claimed > _SAFETENSORS_HEADER:
        raise InputError(
            f"{path} was refused: its header has {claimed} bytes, a checkpoint's less than a tenth of that"
        )
    return safetensors.torch.load_file(path)


def _refused(origin: str | Path, reason: str) -> str:
    return (
        f"{origin} {reason}. It was refused and nothing of it was run. Need a file that holds only tensors, arrays of "
        f"numbers and plain containers: ask its author for the bare state dict."
    )


def _damaged(origin: str | Path, reason: Exception | str) -> str:
    text = " ".join(str(reason).split())[:160] or type(reason).__name__
    return f"{origin} is truncated or damaged ({text}). Fetch or write it again."
