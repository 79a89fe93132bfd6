"""Pickles that hold NumPy arrays in plain containers, and nothing else: read without trust, written for everybody.

Reading. An unpickler that hands out NumPy's own ``dtype`` and ``ndarray`` is not safe enough: a forged ``dtype`` state
can pass raw bytes off as object pointers. So the few names that a pickled array needs resolve to the stand-ins below,
which take the numbers down and check them, and every other name is refused.

Writing. NumPy 2 names ``numpy._core`` in its pickles, which NumPy before 1.26 does not have; many installations of
detectron2 are that old. The pickles written here name ``numpy.ndarray`` and ``numpy.dtype`` alone.
"""

import pickle
import warnings
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np
import torch


class Refused(pickle.UnpicklingError):
    """The pickle holds or wants something else than arrays of numbers and plain containers; the message says what."""


def as_tensor(value: Any) -> Any:
    """An array as a tensor in the same memory, anything else as it is.

    PyTorch warns of an array that cannot be written to, as those of :func:`load_arrays`: nobody writes to these.
    """
    if not isinstance(value, np.ndarray):
        return value
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(value)


def dump_arrays(value: Any, file: BinaryIO) -> None:
    """Pickle containers of arrays into ``file`` so that NumPy 1 and 2, and :func:`load_arrays`, read it."""
    pickler = _ArrayPickler(file, protocol=4)
    pickler.fast = True  # no memo, which would keep a copy of every array until the end
    pickler.dump(value)


def load_arrays(file: BinaryIO) -> Any:
    """Unpickle arrays of numbers (in this machine's byte order), NumPy scalars (as Python's) and plain containers.

    Raises:
        Refused: the pickle asks for anything else; nothing of it was run.
        Exception: of any kind, when the pickle is damaged.
    """
    value = _ArrayUnpickler(file, encoding="latin1").load()  # latin1: arrays pickled by Python 2
    return unwrap(value, {})


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
        """The array: a view of the pickled bytes, not to be written to, so that memory holds them once."""
        if self.array is None:
            if self.state is None:
                raise pickle.UnpicklingError("an array without content")
            self.array, self.state = _numbers(*self.state), None
        return self.array


def _numbers(content: bytes | str, dtype: _PickledDtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    resolved = dtype.resolve()
    if isinstance(content, str):
        content = content.encode("latin1")
    array = np.frombuffer(content, resolved).astype(resolved.newbyteorder("="), copy=False)
    return array.reshape(shape, order=order)


def _frombuffer(content: bytes, dtype: _PickledDtype, shape: tuple[int, ...], order: str) -> _PickledArray:
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
    elif type(value) in (dict, OrderedDict):
        result = type(value)((key, unwrap(item, done)) for key, item in value.items())
    elif type(value) in (list, tuple):
        result = type(value)(unwrap(item, done) for item in value)
    done[id(value)] = result
    return result
