"""Pickles that hold NumPy arrays in plain containers, and nothing else: read without trust, written for everybody.

Reading. An unpickler that hands out NumPy's own ``dtype`` and ``ndarray`` is not safe enough: a forged ``dtype`` state
can pass raw bytes off as object pointers. So the few names that a pickled array needs resolve to the stand-ins below,
which take the numbers down and check them, and every other name is refused. The numbers of a large array are not read
into memory but stay in the file, mapped: a private copy of a page is made when it is written to.

Writing. NumPy 2 names ``numpy._core`` in its pickles, which NumPy before 1.26 does not have; many installations of
detectron2 are that old. The pickles written here name ``numpy.ndarray`` and ``numpy.dtype`` alone.
"""

import io
import mmap
import pickle
import pickletools
import struct
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np
import torch

#: Instructions with bytes in them -> how many of code and length stand before these.
_BYTES = {"BINBYTES": 5, "BINBYTES8": 9, "BYTEARRAY8": 9}
_FRAME = 9  # code and length of an instruction that announces how much follows
_LARGE = 4096  # from which on bytes stay in the file


class Refused(pickle.UnpicklingError):
    """The pickle holds or wants something else than arrays of numbers and plain containers; the message says what."""


def as_tensor(value: Any) -> Any:
    """An array as a tensor in the same memory, anything else as it is."""
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def dump_arrays(value: Any, file: BinaryIO) -> None:
    """Pickle containers of arrays into ``file`` so that NumPy 1 and 2, and :func:`load_arrays`, read it."""
    pickler = _ArrayPickler(file, protocol=4)
    pickler.fast = True  # no memo, which would keep a copy of every array until the end
    pickler.dump(value)


def load_arrays(content: mmap.mmap | bytes) -> Any:
    """Unpickle arrays of numbers (in this machine's byte order), NumPy scalars (as Python's) and plain containers.

    Args:
        content: the pickle; a file's, mapped with ``ACCESS_COPY`` and at its beginning, is where large arrays stay.

    Returns:
        The containers; every array may be written to, which does not change the file.

    Raises:
        Refused: the pickle asks for anything else; nothing of it was run.
        Exception: of any kind, when the pickle is damaged.
    """
    outline, large = _outline(content)
    return unwrap(_ArrayUnpickler(outline, large).load(), {})


def _outline(content: mmap.mmap | bytes) -> tuple[bytes, list[memoryview]]:
    """The pickle with a number in the place of each large string of bytes, and these strings, where they are."""
    view, kept, large, begin = memoryview(content), [], [], 0
    for instruction, argument, position in pickletools.genops(content):
        if instruction.name in ("PERSID", "BINPERSID"):  # what stands for the large strings below
            raise Refused("refers to objects that are kept outside of it")
        if instruction.name == "FRAME":  # its length is no longer true
            kept.append(view[begin:position])
            begin = position + _FRAME
        elif instruction.name in _BYTES and len(argument) >= _LARGE:
            start = position + _BYTES[instruction.name]
            kept += [view[begin:position], pickle.BININT + struct.pack("<i", len(large)) + pickle.BINPERSID]
            begin = start + len(argument)
            large.append(view[start:begin])
    return b"".join([*kept, view[begin : position + 1]]), large


class _ArrayPickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) is not np.ndarray:
            return NotImplemented
        _, _, state = value.__reduce__()
        return np.ndarray, ((0,), "b"), state  # what NumPy's _reconstruct does, under a name that never moved


class _PickledDtype:
    """Stands in for ``numpy.dtype``: a plain number type, byte order in the state."""

    def __init__(self, name: str, align: bool = False, copy: bool = False):
        self.name = name
        self.order = "="

    def __setstate__(self, state: tuple) -> None:
        _, self.order, *structure = state
        if any(part is not None for part in structure[:3]):
            raise Refused("holds an array with fields")

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.name)
        if dtype.kind not in "fiub" or dtype.itemsize > 8:
            raise Refused(f"holds an array of type {dtype}")
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


class _PickledArray:
    """Stands in for ``numpy.ndarray``: its constructor's arguments are placeholders, the content is in the state."""

    def __init__(self, *placeholders: Any):
        self.state: tuple | None = None
        self.array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, content = state
        self.state = (content, dtype, shape, "F" if is_fortran else "C")

    def resolve(self) -> np.ndarray:
        """The array, in the mapped file if it is large; the pickled bytes are let go of."""
        if self.array is None:
            if self.state is None:
                raise pickle.UnpicklingError("an array without content")
            self.array, self.state = _numbers(*self.state), None
        return self.array


def _numbers(content: bytes | memoryview | str, dtype: _PickledDtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    resolved = dtype.resolve()
    if isinstance(content, str):
        content = content.encode("latin1")
    array = np.frombuffer(content, resolved)
    array = array.astype(resolved.newbyteorder("="), copy=not array.flags.writeable)
    return array.reshape(shape, order=order)


def _frombuffer(content: bytes | memoryview, dtype: _PickledDtype, shape: tuple[int, ...], order: str) -> _PickledArray:
    array = _PickledArray()
    array.state = (content, dtype, shape, order)
    return array


def _reconstruct(kind: type, shape: tuple[int, ...], typecode: bytes) -> _PickledArray:
    return _PickledArray()


def _scalar(dtype: _PickledDtype, content: bytes | str) -> float | int | bool:
    return _numbers(content, dtype, (), "C").item()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise Refused(f"asks to encode text as {encoding!r}")
    return text.encode("latin1")


#: What a pickled array asks for -> what it gets.
ADMITTED = {
    "collections.OrderedDict": OrderedDict,
    "numpy.ndarray": _PickledArray,
    "numpy.dtype": _PickledDtype,
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},  # pickle protocol 5
    "_codecs.encode": _encode,  # pickle protocol 2, which has no bytes of its own
}


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, outline: bytes, large: list[memoryview]):
        super().__init__(io.BytesIO(outline), encoding="latin1")  # latin1: arrays pickled by Python 2
        self.large = large

    def persistent_load(self, number: int) -> memoryview:
        return self.large[number]

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[f"{module}.{name}"]
        except KeyError:
            raise Refused(f"asks to import {module}.{name} while it is read") from None


def unwrap(value: Any, done: dict[int, Any]) -> Any:
    """Arrays in the place of their stand-ins; each object once, for a pickle may refer to one ever so often."""
    if id(value) in done:
        return done[id(value)]
    result = value
    if isinstance(value, _PickledArray):
        result = value.resolve()
    elif isinstance(value, memoryview):  # bytes that were no array's
        result = bytes(value)
    elif type(value) in (dict, OrderedDict):
        result = type(value)((key, unwrap(item, done)) for key, item in value.items())
    elif type(value) in (list, tuple):
        result = type(value)(unwrap(item, done) for item in value)
    done[id(value)] = result
    return result
