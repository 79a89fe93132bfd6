"""Files from strangers: tensors come out, code does not run, and every refusal says what was wrong."""

import io
import json
import mmap
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from clsa.configs.command import InputError
from clsa.convert.numpy_pickle import dump_arrays, load_arrays
from clsa.convert.safe_reading import read_file


class RunsCode:
    """Pickled, it creates the canary file when it is unpickled without care."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    dump_arrays(value, buffer)
    return buffer.getvalue()


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {"conv1.weight": torch.arange(6.0).reshape(2, 3), "bn1.bias": torch.ones(400)}


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_new_and_old(tmp_path: Path, tensors, zipped: bool) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "state_dict": OrderedDict(tensors)}, path, _use_new_zipfile_serialization=zipped)
    kind, content = read_file(path)
    assert kind == "torch"
    assert content["epoch"] == 3
    assert all(torch.equal(content["state_dict"][name], tensor) for name, tensor in tensors.items())


def test_safetensors(tmp_path: Path, tensors) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    kind, content = read_file(tmp_path / "x.safetensors")
    assert kind == "safetensors"
    assert all(torch.equal(content[name], tensor) for name, tensor in tensors.items())


def test_a_safetensors_file_that_begins_like_a_pickle(tmp_path: Path) -> None:
    """The header's length is a multiple of 8 and stands first: with 128 its first byte is that of every pickle."""
    for length in range(40):
        content = safetensors.torch.save({"a" * length: torch.ones(1), "b": torch.ones(1)})
        if content[0] == 0x80:
            break
    assert content.startswith(b"\x80")
    (tmp_path / "x.safetensors").write_bytes(content)
    kind, read = read_file(tmp_path / "x.safetensors")
    assert (kind, read["b"].item()) == ("safetensors", 1)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_numpy_pickles_of_every_protocol(protocol: int) -> None:
    arrays = {
        "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">i4"),
        "no axes": np.array(5, np.uint8),
    }
    value = OrderedDict(model=arrays, nested=[(1, "a", None)], scalar=np.float32(0.5))
    loaded = load_arrays(pickle.dumps(value, protocol=protocol))
    assert list(loaded) == ["model", "nested", "scalar"]
    assert loaded["nested"] == [(1, "a", None)]
    assert loaded["scalar"] == 0.5
    for name, array in arrays.items():
        assert loaded["model"][name].dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(loaded["model"][name], array)


def test_our_pickles_are_plain_numpy_for_everybody_else() -> None:
    """They name nothing of numpy.core or numpy._core, of which each exists in some versions of NumPy only."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.zeros((), np.float32)}
    content = pickled({"model": arrays, "__author__": "x"})
    assert b"core" not in content
    for loaded in (pickle.loads(content), load_arrays(content)):
        assert loaded["__author__"] == "x"
        for name, array in arrays.items():
            assert loaded["model"][name].dtype == np.float32
            assert np.array_equal(loaded["model"][name], array)
            assert loaded["model"][name].flags.writeable


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.filterwarnings("error")
def test_large_arrays_of_a_pickle_stay_in_the_file(tmp_path: Path, protocol: int) -> None:
    """They are views of a private mapping: writing to one, as to a small one, changes nothing but itself."""
    arrays = {
        "large": np.arange(6000, dtype=np.float32).reshape(60, 100),
        "fortran": np.asfortranarray(np.arange(6000.0).reshape(60, 100)),
        "big endian": np.arange(6000, dtype=">f4"),
        "small": np.arange(6, dtype=np.float32),
        "large too": np.full(5000, 7, np.uint8),
    }
    content = {"model": arrays, "again": arrays["large"], "bytes": bytes(5000), "text": "a" * 5000}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    before = path.read_bytes()
    _, read = read_file(path)
    assert (read["bytes"], read["text"]) == (bytes(5000), "a" * 5000)
    assert read["again"] is read["model"]["large"]
    mapped = {name for name, array in read["model"].items() if isinstance(root_of(array), mmap.mmap)}
    assert mapped == ({"large", "fortran", "large too"} if protocol > 2 else set())
    for name, array in read["model"].items():
        assert np.array_equal(array, arrays[name])
        torch.from_numpy(array).zero_()
        assert not array.any()
    assert path.read_bytes() == before


def root_of(array: np.ndarray) -> object:
    """What an array's memory belongs to in the end."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def write_pickle(path: Path, value: object) -> None:
    path.write_bytes(pickle.dumps(value))


def write_torch(path: Path, value: object) -> None:
    torch.save(value, path)


def write_old_torch(path: Path, value: object) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("name", "write"), [("a.pkl", write_pickle), ("a.pth", write_torch), ("b.pth", write_old_torch)]
)
def test_a_pickle_that_would_run_code(tmp_path: Path, name: str, write) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / name
    write(path, {"model": {"stem.conv1.weight": RunsCode(canary)}})
    with pytest.raises(InputError, match=r"asks to import (posix|nt)\.system.*nothing of it was run"):
        read_file(path)
    assert not canary.exists()


def test_a_raw_pickle_under_the_name_of_a_torch_file(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    write_pickle(tmp_path / "evil.pth", RunsCode(canary))
    with pytest.raises(InputError, match="a plain pickle under the name of a PyTorch file"):
        read_file(tmp_path / "evil.pth")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (eval, "asks to import (builtins|__builtin__).eval"),
        (np.load, "asks to import numpy.*load"),
        (Path("/"), "asks to import pathlib"),
        (np.array([{}], object), "holds an array of type object"),
        (np.array(["a"]), "holds an array of type <U1"),
        (np.zeros(1, complex), "holds an array of type complex128"),
        (np.zeros(2, [("a", "f4")]), "holds an array with fields"),
    ],
)
def test_only_arrays_of_numbers_and_plain_containers(tmp_path: Path, value: object, reason: str) -> None:
    write_pickle(tmp_path / "a.pkl", {"model": value})
    with pytest.raises(InputError, match=reason):
        read_file(tmp_path / "a.pkl")


def test_a_forged_dtype_state_reaches_no_memory(tmp_path: Path) -> None:
    """An object dtype whose state denies holding objects, and raw bytes in the place of pointers."""

    class Forged:
        def __reduce__(self):
            return np.ndarray, ((0,), "b"), (1, (1,), ForgedDtype(), False, b"\x41" * 8)

    class ForgedDtype:
        def __reduce__(self):
            return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)

    write_pickle(tmp_path / "a.pkl", {"model": Forged()})
    with pytest.raises(InputError, match="holds an array of type object"):
        read_file(tmp_path / "a.pkl")


def test_a_small_pickle_that_would_be_endless_when_written_out(tmp_path: Path) -> None:
    value: list = []
    for _ in range(60):
        value = [value, value]
    write_pickle(tmp_path / "a.pkl", {"model": value})
    kind, content = read_file(tmp_path / "a.pkl")
    assert kind == "pickle"
    assert content["model"][0] is content["model"][1]


def torch_bytes(tensors: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.pth", "a.pkl", "a.safetensors"])
@pytest.mark.parametrize("part", [0.05, 0.9])
def test_truncated(tmp_path: Path, tensors, name: str, part: float) -> None:
    whole = {
        "a.pth": torch_bytes(tensors),
        "a.pkl": pickled({"model": {key: tensor.numpy() for key, tensor in tensors.items()}}),
        "a.safetensors": safetensors.torch.save(tensors),
    }[name]
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match=rf"{name} is truncated or damaged \(.*Fetch or write it again"):
        read_file(path)


def test_truncated_old_torch_file(tmp_path: Path, tensors) -> None:
    path = tmp_path / "old.pth"
    write_old_torch(path, tensors)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_file(path)


def test_empty_missing_directory(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match=r"empty\.pth is empty \(0 bytes\)"):
        read_file(tmp_path / "empty.pth")
    with pytest.raises(InputError, match=r"none\.pth cannot be read: No such file"):
        read_file(tmp_path / "none.pth")
    with pytest.raises(InputError, match="is a directory, need a file"):
        read_file(tmp_path)


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    files = {
        "a JSON file": json.dumps({"model": [1]}).encode(),
        "a text file": "Gewichte für später\n".encode(),
        "an HTML or XML page": b"<!DOCTYPE html><title>404</title>",
        "a gzip archive": b"\x1f\x8b\x08" + bytes(20),
        "of no known format": bytes(range(1, 200)),
    }
    for what, content in files.items():
        (tmp_path / "weights.pth").write_bytes(content)
        with pytest.raises(InputError, match=rf"weights\.pth is {what}.*need \.pth, \.pkl or \.safetensors"):
            read_file(tmp_path / "weights.pth")
    for name, what in (("a.png", "a PNG image"), ("a.jpg", "a JPEG image")):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        with pytest.raises(InputError, match=f"is {what}"):
            read_file(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.pkl", r"a PyTorch file under the name of a plain pickle.*rename it to a\.pth"),
        ("a.safetensors", r"a PyTorch file under the name of a safetensors file.*rename it to a\.pth"),
    ],
)
def test_a_suffix_that_lies(tmp_path: Path, tensors, name: str, message: str) -> None:
    torch.save(tensors, tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_file(tmp_path / name)
