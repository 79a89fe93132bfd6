"""The whole road, for real: every stage of the smoke config as its own process, killed in the middle, taken up again.

The only slow test here: about two minutes on two idle cores.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clsa.configs.loading import load_config
from clsa.configs.run_files import read_result
from clsa.reproduce.config import get_cfg
from clsa.reproduce.plan import plan_stages

CONFIG = "configs/reproduce/smoke.yaml"
COMMAND = [
    sys.executable,
    "-c",
    "from clsa.reproduce.cli import main; raise SystemExit(main())",
    "--config-file",
    CONFIG,
]


def start(output: Path, cwd: Path) -> subprocess.Popen:
    """``clsa-reproduce`` in a folder of its own and a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, "--output", str(output)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The finished run, and what the killed and the finishing commands printed."""
    folder = tmp_path_factory.mktemp("smoke")
    output = folder / "out"
    first = start(output, folder)
    checkpoint = output / "clsa_single" / "pretrain" / "last_checkpoint"
    while not checkpoint.is_file() and first.poll() is None:  # CLSA-Single is in the middle of its steps
        time.sleep(0.1)
    in_the_middle = first.poll() is None
    if in_the_middle:
        os.killpg(first.pid, signal.SIGKILL)
    killed = first.communicate()[0]
    assert in_the_middle, killed
    second = start(output, folder)
    finished = second.communicate()[0]
    assert second.returncode == 0, finished
    return output, killed, finished


def test_the_second_command_takes_up_what_the_killed_one_left(road) -> None:
    output, killed, finished = road
    assert "clsa_single/pretrain" in killed
    assert re.search(r"\] data +stands, skipped", finished)
    assert re.search(r"clsa_single/pretrain +resumes \(unfinished\)", finished)
    metrics = (output / "clsa_single" / "pretrain" / "metrics.json").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in metrics] == [1, 2, 3, 4]
    states = [json.loads(path.read_text())["state"] for path in output.glob("**/stage.json")]
    assert set(states) == {"done"}


def test_every_result_is_there_and_in_the_report(road) -> None:
    output, _, finished = road
    cfg = load_config(get_cfg(), CONFIG)
    wanted = [stage.folder for stage in plan_stages(cfg, output) if stage.kind in ("detect", "classify")]
    assert len(wanted) == 3 * 2 + 3 * 2 + 2 + 2
    report = json.loads((output / "report.json").read_text())
    cells = {
        (row["method"], column["protocol"]["name"], column["key"]): value
        for table in report["tables"]
        for row in table["rows"]
        for column, value in zip(table["columns"], row["values"], strict=True)
    }
    for folder in wanted:
        result = read_result(folder / "result.json")
        method = folder.relative_to(output).parts[0]
        assert result["values"]
        for name, value in result["values"].items():
            shown = cells[method, result["protocol"], name]
            if method == "random_init" and result["stage"] == "classification":
                continue  # the stronger of two is shown
            assert shown == value
    assert not report["left_out"]
    assert report["tables"][0]["key"] == "ap_small"
    methods = ["random_init", "moco_v2", "clsa_single"]
    assert [row["method"] for row in report["tables"][0]["rows"]] == methods
    for label in ("Random init", "MoCo v2", "CLSA-Single", "Chance", "Colour histogram"):
        assert label in finished


def test_the_report_is_whole(road) -> None:
    output = road[0]
    for name in ("report.md", "report.html", "report.json"):
        assert (output / name).stat().st_size > 1000
    for plot in json.loads((output / "report.json").read_text())["plots"]:
        assert (output / plot["file"]).is_file()
    assert (output / "plots" / "detections.png").is_file()
    assert (output / "plots" / "curve_acc1_batch.png").is_file()


def test_a_third_command_runs_nothing(road) -> None:
    output = road[0]
    before = {path: path.stat().st_mtime_ns for path in output.glob("**/*") if path.is_file() and path.name != ".lock"}
    third = start(output, output)
    printed = third.communicate()[0]
    assert third.returncode == 0
    assert printed.count("stands, skipped") == len(list(output.glob("**/stage.json")))
    assert "starts" not in printed
    assert {path: path.stat().st_mtime_ns for path in before} == before
