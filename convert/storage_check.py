"""Whether the storages that a zip's ``data.pkl`` names are as large as the records that hold them.

``torch.load`` maps a storage by where its record begins and by the size that the pickle claims. It does not compare
that size with the record's: a tensor whose record is too short goes on into the next one and holds another's numbers.
"""

import io
import pickle
from collections.abc import Mapping
from typing import Any

#: PyTorch's name of a storage's type -> bytes of an element; types that have no such name are stored untyped.
_BYTES = {
    "ComplexDoubleStorage": 16,
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("CharStorage", "ByteStorage", "BoolStorage", "QInt8Storage", "QUInt8Storage"), 1),
    **dict.fromkeys(("QUInt4x2Storage", "QUInt2x4Storage", "UntypedStorage"), 1),
}


class WrongSize(ValueError):
    """A storage is larger or smaller than its record; the message says which and by how much."""


def check_storages(instructions: bytes, sizes: Mapping[str, int]) -> None:
    """Compare the size of each storage with that of its record, before any tensor is made.

    Args:
        instructions: the pickle ``data.pkl``, found harmless in its demands by ``pickle_check``.
        sizes: key of a storage -> bytes in its record.

    Raises:
        WrongSize: they differ, or there is no such record.
        Exception: of any kind, when the pickle is damaged.
    """
    _StorageReader(instructions, sizes).load()


class _Inert:
    """In the place of whatever the pickle asks for: takes all that a pickle can do to an object, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def nothing(self, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = nothing


class _StorageReader(pickle.Unpickler):
    def __init__(self, instructions: bytes, sizes: Mapping[str, int]):
        super().__init__(io.BytesIO(instructions), encoding="utf-8")
        self.sizes = sizes

    def find_class(self, module: str, name: str) -> type[_Inert]:
        return type(name, (_Inert,), {})

    def persistent_load(self, identity: tuple) -> _Inert:
        _, kind, key, _, count = identity  # "storage", its type, key, device, number of elements
        claimed = count * _BYTES[kind.__name__]
        if key not in self.sizes:
            raise WrongSize(f"its tensors need a record data/{key}, which is not there")
        if claimed != self.sizes[key]:
            raise WrongSize(
                f"its record data/{key} has {self.sizes[key]} bytes, the tensors in it are said to take {claimed}"
            )
        return _Inert()
