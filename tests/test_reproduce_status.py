"""``--status`` and ``--slurm``: each state from a stage that really is in it; arrays run as a scheduler would."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from clsa.reproduce import stamp
from clsa.reproduce.runner import lock
from clsa.reproduce.slurm import write_slurm
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


def _finish(stage: Stage, output: Path, done: bool = True) -> None:
    stamp.start(stage, output)
    (stage.folder / "result.json").write_text("{}")
    (stage.folder / stamp.LOG).write_text("step 1\nValueError: no such class\n")
    stamp.stop(stage, output, 65.0, done)


def test_done_failed_to_do_and_stale(stages, tmp_path) -> None:
    pretrain, detect, classify = stages
    _finish(pretrain, tmp_path)
    _finish(detect, tmp_path, done=False)
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


def test_running_while_the_lock_is_held_and_failed_after_a_kill(stages, tmp_path) -> None:
    stamp.start(stages[0], tmp_path)
    with lock(tmp_path):
        rows = standings(stages[:1], tmp_path)
        assert rows[0].state == "running"
        assert exit_code(rows) == 3
    assert standings(stages[:1], tmp_path)[0].state == "failed"


def test_a_result_without_a_stamp_counts_and_says_so(stages, tmp_path) -> None:
    stages[1].folder.mkdir(parents=True)
    (stages[1].folder / "result.json").write_text("{}")
    rows = standings(stages[1:2], tmp_path)
    assert (rows[0].state, exit_code(rows)) == ("done", 0)
    assert "scheduler" in rows[0].note


def test_slurm_arrays_run_the_command_of_their_task(stages, tmp_path) -> None:
    jobs, tools = tmp_path / "jobs", tmp_path / "tools"
    written = write_slurm([*stages, _stage(tmp_path / "second", "detect")], jobs, num_gpus=8)
    assert [path.name for path in written] == ["pretrain.sh", "detect.sh", "classify.sh", "submit.sh"]
    for path in written:
        subprocess.run(["bash", "-n", path], check=True)
    detect = (jobs / "detect.sh").read_text()
    assert "#SBATCH --array=0-1\n#SBATCH --time=3:00:00\n" in detect
    assert "--gres=gpu:8" in detect
    assert "--gres=gpu:1" in (jobs / "classify.sh").read_text()

    tools.mkdir()
    for name, says in (("clsa-detect", 'printf "%s|" "$@"'), ("sbatch", 'echo "$@" >> submitted; wc -l < submitted')):
        (tools / name).write_text(f"#!/bin/bash\n{says}\n")
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

    def task(k: int) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", jobs / "detect.sh"],
            env={**environment, "SLURM_ARRAY_TASK_ID": str(k)},
            capture_output=True,
            text=True,
        )

    assert task(1).stdout == "--to|a b detect|"
    assert (task(2).returncode, task(2).stderr) == (2, "there is no task 2, give 0 to 1\n")
    subprocess.run(["bash", jobs / "submit.sh"], env=environment, check=True, capture_output=True)
    assert (jobs / "submitted").read_text().splitlines() == [
        "--parsable pretrain.sh",
        "--parsable --dependency=afterok:1 detect.sh",
        "--parsable --dependency=afterok:1 classify.sh",
    ]
