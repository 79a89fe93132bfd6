"""The rendered world: same bytes, whole or not at all, and never over somebody's data."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clsa.configs.command import InputError
from clsa.datasets.fingerprint import read_mini_world
from clsa.datasets.mini.world import SIZES, render_world


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes_whatever_the_number_of_workers(mini_root: Path, tmp_path: Path) -> None:
    assert render_world(tmp_path / "again", "tiny", seed=0, workers=2)
    first, second = contents(mini_root), contents(tmp_path / "again")
    assert list(first) == list(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert os.listdir(tmp_path) == ["again"]


def test_a_world_that_stands_is_kept(mini_root: Path) -> None:
    before = (mini_root / "mini_world.json").stat().st_mtime_ns
    assert not render_world(mini_root, "tiny", seed=0, workers=1)
    assert (mini_root / "mini_world.json").stat().st_mtime_ns == before


def test_another_world_is_not_overwritten(mini_root: Path) -> None:
    with pytest.raises(InputError, match=r"holds a miniature world of .* size tiny seed 0; asked for was .* seed 1"):
        render_world(mini_root, "tiny", seed=1, workers=1)
    with pytest.raises(InputError, match="asked for was version 1 size small seed 0"):
        render_world(mini_root, "small", seed=0, workers=1)


def test_data_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(InputError, match=r"exists and is no miniature world\. Choose another --root"):
        render_world(tmp_path, "tiny", seed=0, workers=1)
    with pytest.raises(InputError, match="exists and is no miniature world"):
        render_world(tmp_path / "thesis.tex", "tiny", seed=0, workers=1)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/mini cannot be written: .* choose another --root"):
        render_world(tmp_path / "file" / "mini", "tiny", seed=0, workers=1)


def test_a_killed_render_is_not_taken_for_a_world(tmp_path: Path) -> None:
    root = tmp_path / "mini"
    code = (
        "from pathlib import Path; from clsa.datasets.mini.world import render_world\n"
        f"render_world(Path({str(root)!r}), 'small', seed=0, workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("mini.partial-*/imagenet/train/*/*.JPEG")):
        assert time.monotonic() < deadline, "the render did not begin"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    assert read_mini_world(tmp_path) is None


def test_the_record(mini_root: Path) -> None:
    record = read_mini_world(mini_root)
    assert (record["format"], record["version"], record["size"], record["seed"]) == ("clsa-mini-world", 1, "tiny", 0)
    assert record["counts"] == {
        "imagenet": {"train": 60, "val": 20},
        "VOC2007": {"trainval": 60, "test": 40},
        "VOC2012": {"trainval": 40},
        "coco": {"train2017": 24, "val2017": 16},
    }
    assert record["imagenet_classes"]["n02691156"] == "aeroplane"
    assert mini_root.stat().st_mode & 0o500 == 0o500


def test_sizes_grow() -> None:
    assert SIZES["tiny"].voc2007_trainval < SIZES["small"].voc2007_trainval < SIZES["large"].voc2007_trainval
