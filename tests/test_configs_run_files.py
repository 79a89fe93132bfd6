"""clsa.configs.run_files: whole or not at all, and results that a report can trust."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fvcore.common.config import CfgNode

from clsa.configs.atomic_files import PARTIAL, atomic_write, remove_leftovers
from clsa.configs.command import InputError, command
from clsa.configs.run_files import RESULT_KEYS, read_result, sha256_of_file, write_json, write_result


def a_result(folder: Path, **changes) -> Path:
    fields = dict(
        stage="classification",
        protocol="voc07-svm-fair26",
        metric_flavour="class mAP, envelope",
        values={"mAP envelope": np.float64(84.26), "undefined": float("nan")},
        per_class={"AP envelope": {"cat": 90.0}},
        engine="scikit-learn",
        weights={"file": None, "sha256": None},
        dataset={"name": "voc_2007_test", "fingerprint": {"images": 4952, "file_list_sha256": "ab"}},
        seed=0,
        trial=0,
        wall_seconds=1.23456,
        config=CfgNode({"A": {"B": (1, 2)}}),
    )
    return write_result(folder, **{**fields, **changes})


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    result = read_result(a_result(tmp_path))
    assert set(result) == set(RESULT_KEYS)
    assert result["values"] == {"mAP envelope": 84.26, "undefined": None}
    assert result["config"] == {"A": {"B": [1, 2]}}
    assert result["wall_seconds"] == 1.235
    assert result["versions"]["torch"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a readable result"),
        ("[]", "result schema list, this version reads 1"),
        ('{"schema_version": 99}', "result schema 99, this version reads 1"),
        ('{"schema_version": 1, "stage": "detection"}', "lacks protocol, metric_flavour"),
    ],
)
def test_a_damaged_result_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("writing", ["f.write(b'new' * 2**19)", "torch.save(torch.zeros(2**18), f)"])
def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path: Path, writing: str) -> None:
    """A limit of the file's size stands for the disk: the system refuses the write in the same place."""
    target = tmp_path / "a.pth"
    target.write_bytes(b"old")
    script = (
        "import resource, signal, torch\nfrom clsa.configs.command import command\n"
        "from clsa.configs.atomic_files import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, 2**19))\n"
        f"def main(argv):\n    with atomic_write({str(target)!r}) as f:\n        {writing}\n"
        "raise SystemExit(command(main)())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"-c: error: {target} cannot be written: File too large after ")
    assert ended.stderr.endswith("Nothing is lost: what was there before is still there.\n")
    assert ended.stderr.count("\n") == 1
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.pth", b"old")]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(RuntimeError, match="half way"), atomic_write(tmp_path / "a.json") as file:
        file.write(b"half")
        raise RuntimeError("half way")
    assert json.loads((tmp_path / "a.json").read_text()) == 1
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_killed_process_leaves_the_old_file_and_its_unfinished_one_goes_with_the_next(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    code = (
        "import sys, time\nfrom clsa.configs.atomic_files import atomic_write\n"
        f"with atomic_write({str(target)!r}) as f:\n    f.write(b'new' * 100000); f.flush()\n"
        "    print('half', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        (unfinished,) = tmp_path.glob(".*")
        assert PARTIAL.fullmatch(unfinished.name)
        os.utime(unfinished, (0, 0))  # nobody has written to it for long, but its writer lives
        assert remove_leftovers(tmp_path, time.time()) == []
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"
    assert remove_leftovers(tmp_path, 0) == []  # written to since then
    others = [tmp_path / name for name in (".a.partial", "a.bin.abcdefgh.partial", "inner/.a.bin.abcdefgh.partial")]
    (tmp_path / "inner").mkdir()
    for other in others:
        other.touch()
        os.utime(other, (0, 0))
    assert remove_leftovers(tmp_path, 1) == [unfinished.name]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([target, *others])


def test_written_files_have_the_usual_rights(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    (tmp_path / "b").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_command_says_one_sentence_and_exits_with_1(capsys: pytest.CaptureFixture) -> None:
    @command
    def main(argv=None):
        raise InputError("got X, need Y, do Z")

    assert main([]) == 1
    assert capsys.readouterr().err.endswith("error: got X, need Y, do Z\n")
    assert command(lambda argv=None: None)([]) == 0


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    code = (
        "from clsa.configs.command import command\n"
        "@command\ndef main(argv=None):\n    while True: print('line' * 1000)\n"
        "raise SystemExit(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
