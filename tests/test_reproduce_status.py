"""``--status``: each state from a stage that really is in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clsa.reproduce import stamp
from clsa.reproduce.locks import stage_lock
from clsa.reproduce.stage import Stage
from clsa.reproduce.status import Standing, exit_code, standings, status_text


@pytest.fixture
def stages(tmp_path: Path) -> list[Stage]:
    (tmp_path / "input.txt").write_text("one")
    return [_stage(tmp_path, kind) for kind in ("pretrain", "detect", "classify")]


def _stage(output: Path, kind: str) -> Stage:
    folder = output / "moco_v2" / kind
    return Stage(
        kind=kind,
        method="moco_v2",
        name=f"moco_v2/{kind}",
        folder=folder,
        script=f"clsa-{kind}",
        arguments=("--to", f"a b {kind}"),
        inputs=(output / "input.txt",),
        outputs=(folder / "result.json",),
        needs=(),
        expected_seconds=7200,
    )


def _finish(stage: Stage, output: Path, state: str = "done") -> None:
    stamp.start(stage, output)
    (stage.folder / "result.json").write_text("{}")
    (stage.folder / stamp.LOG).write_text("step 1\nValueError: no such class\n")
    stamp.stop(stage, output, 65.0, state)


def test_done_failed_to_do_and_stale(stages, tmp_path) -> None:
    pretrain, detect, classify = stages
    _finish(pretrain, tmp_path)
    _finish(detect, tmp_path, "failed")
    rows = standings(stages, tmp_path)
    assert [row.state for row in rows] == ["done", "failed", "to do"]
    assert rows[1].note == f"see {detect.folder / 'stage.log'}: ValueError: no such class"
    assert status_text(rows).endswith("1 done, 0 running, 1 failed, 0 stale, 1 to do")
    assert exit_code(rows) == 1

    (tmp_path / "input.txt").write_text("another")
    assert standings([pretrain], tmp_path) == [Standing("moco_v2/pretrain", "stale", "inputs changed")]
    (tmp_path / "input.txt").unlink()
    assert standings([pretrain], tmp_path)[0].state == "stale"
    assert standings([classify], tmp_path)[0].state == "to do"


def test_another_package_version_makes_a_result_stale(stages, tmp_path) -> None:
    _finish(stages[0], tmp_path)
    path = stages[0].folder / stamp.STAMP
    record = json.loads(path.read_text())
    record["facts"]["version"] = "0.0.0"
    path.write_text(json.dumps(record))
    assert standings(stages[:1], tmp_path)[0].note == "version changed"


def test_running_while_its_lock_is_held_and_failed_after_a_kill(stages, tmp_path) -> None:
    with stage_lock(stages[0], tmp_path):
        stamp.start(stages[0], tmp_path)
        rows = standings(stages[:1], tmp_path)
        assert rows[0].state == "running"
        assert exit_code(rows) == 3
    rows = standings(stages[:1], tmp_path)
    assert rows[0].state == "failed"
    assert rows[0].note.startswith("died without a word")


def test_a_stage_that_was_told_to_stop_is_to_do(stages, tmp_path) -> None:
    _finish(stages[0], tmp_path, "stopped")
    assert standings(stages[:1], tmp_path) == [Standing("moco_v2/pretrain", "to do", "stopped after 1:05, starts anew")]
    resumable = replace(stages[0], checkpoints="trial_*/last_checkpoint")
    (stages[0].folder / "trial_1").mkdir()
    (stages[0].folder / "trial_1" / "last_checkpoint").touch()
    assert standings([resumable], tmp_path)[0].note == "stopped after 1:05, goes on from its checkpoint"


def test_a_result_without_a_stamp_counts_and_says_so(stages, tmp_path) -> None:
    stages[1].folder.mkdir(parents=True)
    (stages[1].folder / "result.json").write_text("{}")
    rows = standings(stages[1:2], tmp_path)
    assert (rows[0].state, exit_code(rows)) == ("done", 0)
    assert "by hand" in rows[0].note
