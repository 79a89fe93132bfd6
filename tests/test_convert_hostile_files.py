"""Malformed and malicious files: each refused in its own words, at no cost, and nothing of it is run.

Every file is given to ``clsa-convert`` in a process that may take 5 seconds of CPU time and 1 GiB of memory; the kernel
ends it if it takes more. The malicious ones would create a file, the canary.
"""

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

RUNNER = """
import json, os, resource, sys
import torch
torch.set_num_threads(1)
from clsa.convert.cli import main
from clsa.convert.proof import check_values  # all imports are done before the clock starts

results = {}
for path in sys.argv[1:]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        taken = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (taken + 2**30, taken + 2**30))
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
        os.dup2(writing, 2)
        code = main([path, path + ".out.pkl", "--to", "detectron2"])
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    results[path] = [os.waitstatus_to_exitcode(status), said]
print(json.dumps(results))
"""


class Runs:
    """Pickled: a call of ``function``."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def canary(folder: Path) -> str:
    return f"touch {folder / 'canary'}"


def torch_zip(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def old_torch(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def archive(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in records.items():
            file.writestr(name, content)
    return buffer.getvalue()


def torch_zip_of_pickle(instructions: bytes) -> bytes:
    return archive({"archive/data.pkl": instructions, "archive/version": b"3\n"})


def pickle_of(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def safetensors_of(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def array_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def arrays_file() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def twice_the_same_record() -> bytes:
    content = archive({"archive/data.pkl": b"N.", "archive/data.pkm": b"N."})
    return content.replace(b"data.pkm", b"data.pkl")


def records_over_each_other() -> bytes:
    """One record of 1 MB, which a thousand entries of the directory claim."""
    content = archive({"archive/data.pkl": bytes(1 << 20)})
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"data.pkl", b"data%04d" % number) for number in range(1000))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), start, 0)
    return content[:start] + entries + end


def directory_of_billions() -> bytes:
    """A zip64 end that claims four billion records."""
    content = archive({"archive/data.pkl": b"N."})
    start = content.index(b"PK\x01\x02")
    length = content.index(b"PK\x05\x06") - start
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 32, 1 << 32, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + length, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[: start + length] + end64 + locator + end


def directory_larger_than_the_file() -> bytes:
    content = archive({"archive/data.pkl": b"N."})
    at = content.index(b"PK\x05\x06")
    return content[:at] + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 0x7FFFFFFF, 0, 0)


def tuple_of_doublings() -> bytes:
    """Used as a key of a dictionary: its hash takes 2**60 steps."""
    return pickle_of(b"}", b"\x8c\x01a", b"2\x86" * 60, b"N", b"s")


def colliding_integers(count: int) -> bytes:
    """Multiples of 2**61 - 1 have the hash 0: filling a dictionary with them takes time squared."""
    entries = (b"\x8a\x10" + (n * (2**61 - 1) << 3).to_bytes(16, "little") + b"N" for n in range(1, count))
    return pickle_of(b"}", b"(", *entries, b"u")


def nested_lists(depth: int) -> bytes:
    return pickle_of(b"]" * depth, b"a" * (depth - 1))


class ForgedDtype:
    """An object dtype whose state denies holding objects."""

    def __reduce__(self):
        return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)


class ForgedArray:
    """An array of ``dtype`` over raw bytes."""

    def __init__(self, dtype: object, shape: tuple[int, ...]):
        self.state = (1, shape, dtype, False, b"\x41" * 8)

    def __reduce__(self):
        return np.ndarray, ((0,), "b"), self.state


def record_of(length: int | None) -> bytes:
    """Two tensors of 400 bytes, whose first record has another length, or is not there at all."""
    with zipfile.ZipFile(
        io.BytesIO(torch_zip({"conv1.weight": torch.zeros(100), "fc.weight": torch.ones(100)}))
    ) as file:
        records = {name: file.read(name) for name in file.namelist()}
    first = records.pop("archive/data/0")
    return archive(records if length is None else records | {"archive/data/0": (2 * first)[:length]})


def a_tensor_beyond_its_storage() -> bytes:
    """A tensor of 1000 numbers over a storage of 100, by its pickle."""
    with zipfile.ZipFile(io.BytesIO(torch_zip({"conv1.weight": torch.zeros(100)}))) as file:
        records = {name: file.read(name) for name in file.namelist()}
    size = b"K\x64\x85"  # the number 100, in a tuple
    assert records["archive/data.pkl"].count(size) == 1
    records["archive/data.pkl"] = records["archive/data.pkl"].replace(size, b"M\xe8\x03\x85")
    return archive(records)


def a_tensor_without_memory() -> bytes:
    """A million by a million numbers, all of them the same four bytes."""
    return torch_zip({"conv1.weight": torch.zeros(1).expand(1_000_000, 1_000_000), "bn1.weight": torch.zeros(2)})


def a_dictionary_in_itself() -> bytes:
    value: dict = {}
    value["state_dict"] = value
    return torch_zip(value)


# name -> (bytes, what is said). A folder is given for the canary.
FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    # not weights at all
    "empty.pth": (lambda _: b"", r"is empty \(0 bytes\)"),
    "short.pth": (lambda _: b"PK", r"is a text file"),
    "page.pth": (lambda _: b"<!DOCTYPE html><title>404</title>", r"is an HTML or XML page"),
    "words.pth": (lambda _: b"see attachment\n", r"is a text file"),
    "config.pth": (lambda _: b'{"depth": 50}', r"is a JSON file"),
    "picture.pth": (lambda _: image(), r"is a PNG image"),
    "packed.pth": (lambda _: b"\x1f\x8b\x08" + bytes(40), r"is a gzip archive"),
    "pointer.pth": (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"is a Git LFS pointer"),
    "array.pkl": (lambda _: array_file(), r"is a NumPy array"),
    "noise.pth": (lambda _: bytes(range(1, 256)), r"is of no known format"),
    # zip archives
    "arrays.pth": (lambda _: arrays_file(), r"zip archive that torch\.save did not write \(0 data\.pkl"),
    "nothing.pth": (lambda _: archive({}), r"is an empty zip archive"),
    "half.pth": (lambda _: torch_zip({"a": torch.zeros(999)})[:2000], r"truncated or damaged \(its end is missing"),
    "bomb.pth": (
        lambda _: archive({"archive/data.pkl": bytes(1 << 28)}, zipfile.ZIP_DEFLATED),
        r"record archive/data\.pkl is compressed, which torch\.save never does: a zip bomb\?",
    ),
    "overlap.pth": (
        lambda _: records_over_each_other(),
        r"records claim more than the \d+ bytes of the file: a zip bomb",
    ),
    "billions.pth": (lambda _: directory_of_billions(), r"directory claims 4294967296 records and ends before"),
    "directory.pth": (lambda _: directory_larger_than_the_file(), r"directory claims 2147483647 bytes of \d+"),
    "twice.pth": (lambda _: twice_the_same_record(), r"record archive/data\.pkl is there twice"),
    "two.pth": (lambda _: archive({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), r"\(2 data\.pkl in it, not 1\)"),
    "script.pth": (
        lambda _: archive({"a/data.pkl": b"N.", "a/constants.pkl": b"N."}),
        r"is a TorchScript program, not a state dict",
    ),
    "storage.pth": (
        lambda _: record_of(16),
        r"was refused: its record data/0 has 16 bytes, the tensors in it are said to take 400\. Need a file as torch",
    ),
    "longer.pth": (
        lambda _: record_of(404),
        r"its record data/0 has 404 bytes, the tensors in it are said to take 400",
    ),
    "missing.pth": (lambda _: record_of(None), r"was refused: its tensors need a record data/0, which is not there"),
    "view.pth": (lambda _: a_tensor_beyond_its_storage(), r"view\.pth is truncated or damaged"),
    # pickles that would run code
    "system.pth": (lambda folder: torch_zip({"a": Runs(os.system, canary(folder))}), r"asks to import posix\.system"),
    "old.pth": (lambda folder: old_torch([Runs(os.system, canary(folder))]), r"asks to import posix\.system"),
    "system.pkl": (lambda folder: pickle.dumps(Runs(os.system, canary(folder))), r"asks to import posix\.system"),
    "eval.pkl": (
        lambda folder: pickle.dumps(Runs(eval, f"__import__('os').system('{canary(folder)}')")),
        r"asks to import builtins\.eval",
    ),
    "exec.pth": (
        lambda folder: torch_zip(Runs(exec, f"import os; os.system('{canary(folder)}')")),
        r"asks to import exec",
    ),
    "partial.pkl": (
        lambda folder: pickle_of(b"cfunctools\npartial\n", b"cos\nsystem\n", b"\x85R"),
        r"asks to import functools\.partial",
    ),
    "dotted.pkl": (
        lambda _: pickle_of(b"\x8c\x05numpy", b"\x8c\x15dtype.__class__.mro.x", b"\x93"),
        r"asks to import numpy\.dtype\.__class__",
    ),
    "process.pth": (
        lambda folder: torch_zip(Runs(subprocess.check_output, ["touch", str(folder / "canary")])),
        r"asks to import (subprocess|commands)\.check_output",
    ),
    # pickles that would take all memory or time
    "memo.pkl": (lambda _: pickle_of(b"N", b"r" + struct.pack("<I", 2**31)), r"wants a memo of 2147483648 places"),
    "memo.pth": (
        lambda _: torch_zip_of_pickle(pickle_of(b"N", b"r" + struct.pack("<I", 2**32 - 1))),
        r"wants a memo of 4294967295 places",
    ),
    "hash.pkl": (lambda _: tuple_of_doublings(), r"holds a tuple of more than a million parts"),
    "hash.pth": (lambda _: torch_zip_of_pickle(tuple_of_doublings()), r"holds a tuple of more than a million parts"),
    "collide.pkl": (lambda _: colliding_integers(100_000), r"more than 1000 integers of more than 64 bits"),
    "long.pkl": (lambda _: pickle_of(b"N0" * 400_000, b"N"), r"has more than 500000 instructions"),
    "deep.pkl": (lambda _: nested_lists(100_000), r"has containers within containers, hundreds deep"),
    "string.pkl": (lambda _: pickle_of(b"\x8e" + struct.pack("<Q", 2**60)), r"string\.pkl is truncated or damaged"),
    "buffer.pth": (lambda _: torch_zip(Runs(bytearray, 10**12)), r"buffer\.pth is truncated or damaged"),
    "outside.pkl": (lambda _: pickle_of(b"K\x00Q"), r"refers to objects that are kept outside of it.*was refused"),
    # pickles that lie about their arrays
    "forged.pkl": (lambda _: pickle.dumps(ForgedArray(ForgedDtype(), (1,))), r"holds an array of type object"),
    "shape.pkl": (
        lambda _: pickle.dumps({"model": ForgedArray(np.dtype("f4"), (1000,) * 4)}),
        r"cannot reshape array of size 2 into shape \(1000,1000,1000,1000\)",
    ),
    "objects.pkl": (lambda _: pickle.dumps(np.array([{}], object)), r"holds an array of type object"),
    # safetensors
    "header.safetensors": (lambda _: struct.pack("<Q", 2**62) + b"{}", r"its header claims 4611686018427387904 bytes"),
    "large.safetensors": (
        lambda _: safetensors_of(json.dumps({f"t{n}": [n] for n in range(1_000_000)}).encode()),
        r"was refused: its header has \d+ bytes",
    ),
    "json.safetensors": (lambda _: safetensors_of(b"{'a': 1}"), r"json\.safetensors is truncated or damaged"),
    "beyond.safetensors": (
        lambda _: safetensors_of(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(4)),
        r"beyond\.safetensors is truncated or damaged",
    ),
    # well-formed, and yet no network
    "expanded.pth": (lambda _: a_tensor_without_memory(), r"no ResNet of torchvision's kind"),
    "itself.pth": (lambda _: a_dictionary_in_itself(), r"has containers within containers, hundreds deep or endless"),
    "number.pkl": (lambda _: pickle.dumps(7), r"holds a int, need a dictionary"),
    "caffe.pkl": (lambda _: pickle.dumps({"blobs": {"conv1_w": np.zeros(2)}}), r"of no layout that is known here"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> tuple[Path, dict[str, tuple[int, str]]]:
    """The folder of the files, and what became of each: exit code, and what was said."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("measures memory as Linux does")
    folder = tmp_path_factory.mktemp("hostile")
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content(folder))
    paths = [str(folder / name) for name in FILES]
    run = subprocess.run(
        [sys.executable, "-c", RUNNER, *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    return folder, {Path(path).name: tuple(outcome) for path, outcome in json.loads(run.stdout).items()}


def test_there_are_more_than_thirty() -> None:
    assert len(FILES) >= 50


@pytest.mark.parametrize("name", FILES)
def test_each_is_refused_in_its_own_words(outcomes, name: str) -> None:
    _, results = outcomes
    code, said = results[name]
    assert code == 1, f"{'ended by the kernel' if code < 0 else 'not refused'} ({code}): {said[-2000:]}"
    assert "Traceback" not in said
    assert re.search(FILES[name][1], said), said
    assert re.fullmatch(r"\S+: error: \S*" + re.escape(name) + r".*\n", said), said


def test_nothing_was_run_and_nothing_written(outcomes) -> None:
    folder, _ = outcomes
    assert {path.name for path in folder.iterdir()} == set(FILES)
