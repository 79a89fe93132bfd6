"""What a zip archive announces, looked at before PyTorch opens it.

``torch.save`` stores its records as they are. An archive with compressed records was made by somebody else, and may
unfold to a thousand times its size; so may one whose records lie over each other. Only the directory at the end is
read: fixed-size fields, from which nothing is allocated that the file itself does not hold.
"""

import struct
from pathlib import Path
from typing import BinaryIO

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_DIRECTORY = 1 << 26  # bytes; the largest checkpoints have some thousand records of some 100 bytes


class NotStored(ValueError):
    """The archive is not one that ``torch.save`` writes; the message says in what."""


def pickle_in_zip(path: Path) -> tuple[bytes, dict[str, int]]:
    """The record ``data.pkl`` of an archive that ``torch.save`` wrote, and the size of each storage's record in bytes.

    Raises:
        NotStored: the archive's records are not stored as they are, each once, and within the file's size; it has no
            ``data.pkl`` or several.
        ValueError: it is truncated or damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        count, length, start = _directory(file, size)
        if length > min(size, _DIRECTORY):
            raise ValueError(f"its directory claims {length} bytes of {size}")
        file.seek(start)
        directory = file.read(length)
    position, total, sizes, pickles = 0, 0, {}, []
    for _ in range(count):
        if position + _ENTRY.size > len(directory):
            raise ValueError(f"its directory claims {count} records and ends before")
        (magic, _, _, _, method, *_, unpacked, name_length, extra_length, comment_length, _, _, _, at) = (
            _ENTRY.unpack_from(directory, position)
        )
        position += _ENTRY.size
        name = directory[position : position + name_length]
        extra = directory[position + name_length : position + name_length + extra_length]
        position += name_length + extra_length + comment_length
        if magic != b"PK\x01\x02":
            raise ValueError("its directory is damaged")
        if method != 0:
            raise NotStored(f"its record {_shown(name)} is compressed, which torch.save never does: a zip bomb?")
        if name in sizes:
            raise NotStored(f"its record {_shown(name)} is there twice")
        sizes[name] = _size64(extra) if unpacked == 0xFFFFFFFF else unpacked
        if name.endswith(b"/data.pkl"):
            pickles.append((name, at))
        total += sizes[name]
        if total > size:
            raise NotStored(f"its records claim more than the {size} bytes of the file: a zip bomb?")
    if any(name.endswith(b"/constants.pkl") for name in sizes):
        raise NotStored("it is a TorchScript program, not a state dict: save its state_dict()")
    if len(pickles) != 1:
        raise NotStored(f"it is a zip archive that torch.save did not write ({len(pickles)} data.pkl in it, not 1)")
    name, at = pickles[0]
    storages = name.removesuffix(b".pkl") + b"/"  # archive/data.pkl names the records archive/data/0, 1, ...
    of_storages = {
        record.removeprefix(storages).decode("utf-8", errors="replace"): size
        for record, size in sizes.items()
        if record.startswith(storages)
    }
    return _record(path, at, sizes[name]), of_storages


def _record(path: Path, at: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            raise ValueError("its data.pkl is not where its directory says")
        *_, name_length, extra_length = _LOCAL.unpack(header)
        file.seek(name_length + extra_length, 1)
        return file.read(length)


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Number of records, length and start of the central directory."""
    tail_length = min(size, _END.size + _LONGEST_COMMENT + _LOCATOR64.size)
    file.seek(size - tail_length)
    tail = file.read(tail_length)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise ValueError("its end is missing")
    _, _, _, _, count, length, start, _ = _END.unpack_from(tail, at)
    if count != 0xFFFF and length != 0xFFFFFFFF and start != 0xFFFFFFFF:
        return count, length, start
    locator = tail[max(0, at - _LOCATOR64.size) : at]
    if len(locator) < _LOCATOR64.size or not locator.startswith(b"PK\x06\x07"):
        raise ValueError("its end is damaged")
    _, _, position, _ = _LOCATOR64.unpack(locator)
    if position + _END64.size > size:
        raise ValueError("its end is damaged")
    file.seek(position)
    magic, *_, count, length, start = _END64.unpack(file.read(_END64.size))
    if magic != b"PK\x06\x06":
        raise ValueError("its end is damaged")
    return count, length, start


def _size64(extra: bytes) -> int:
    """The unpacked size in the zip64 field, which stands first in it."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1 and length >= 8:
            return struct.unpack_from("<Q", extra, 4)[0]
        extra = extra[4 + length :]
    raise ValueError("its directory is damaged")


def _shown(name: bytes) -> str:
    return name[:80].decode("utf-8", errors="replace")
