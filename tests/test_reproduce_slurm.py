"""``--slurm``: the arrays are run as a scheduler would run them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clsa.reproduce.cli import main
from clsa.reproduce.slurm import Cluster, write_slurm
from clsa.reproduce.stage import Stage

CLUSTER = Cluster(max_hours=24, cpus_per_gpu=10, options=("--partition=gpu",))


def stage(name: str, needs: tuple[str, ...] = (), hours: float = 2, gpus: int = 8) -> Stage:
    kind = name.split("/")[1]
    folder = Path("/out") / name
    return Stage(kind, "m", name, folder, "clsa-x", (), (), (), needs, gpus=gpus, expected_seconds=hours * 3600)


STAGES = [
    stage("mine/convert/detectron2", gpus=0, hours=0),
    stage("mine/detect/voc", needs=("mine/convert/detectron2",)),
    stage("mine/detect/a coco", needs=("mine/convert/detectron2",), hours=30),
    stage("mine/classify/svm", needs=("mine/convert/torchvision",), gpus=1, hours=0.05),
]


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """The arrays of STAGES; their command prints its arguments, and sbatch and scontrol note theirs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, says in (
        ("sbatch", 'echo "$@" >> submitted; wc -l < submitted'),
        ("scontrol", 'echo "scontrol $@"'),
        ("reproduce", 'pwd; printf "%s|" "$@"; exit ${CODE:-0}'),
    ):
        (tools / name).write_text(f"#!/bin/bash\n{says}\n")
        (tools / name).chmod(0o755)
    command = [str(tools / "reproduce"), "--output", "/out"]
    write_slurm(STAGES, tmp_path / "jobs", command, ["METHODS", "['a b']"], tmp_path, CLUSTER)
    return tmp_path / "jobs"


def task(jobs: Path, kind: str, k: int, **environment: str) -> subprocess.CompletedProcess:
    path = f"{jobs.parent / 'tools'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": str(k), **environment}
    return subprocess.run(["bash", jobs / f"{kind}.sh"], env=environment, capture_output=True, text=True)


def test_a_task_is_one_stage_of_clsa_reproduce_in_the_folder_that_it_was_written_in(jobs) -> None:
    done = task(jobs, "detect", 1)
    assert done.stdout == f"{jobs.parent}\n--output|/out|--stage|mine/detect/a coco|METHODS|['a b']|"
    assert done.returncode == 0
    assert task(jobs, "detect", 0, CODE="3").returncode == 3
    absent = task(jobs, "detect", 2)
    assert (absent.returncode, absent.stderr) == (2, "there is no task 2, give 0 to 1\n")


def test_a_stage_that_saved_itself_goes_back_into_the_queue(jobs) -> None:
    assert "scontrol requeue 77\n" in task(jobs, "detect", 0, CODE="75", SLURM_JOB_ID="77").stdout
    alone = task(jobs, "detect", 0, CODE="75", SLURM_JOB_ID="")
    assert "scontrol" not in alone.stdout
    assert alone.returncode == 75


def test_what_is_asked_of_the_cluster(jobs) -> None:
    detect, classify = ((jobs / f"{kind}.sh").read_text() for kind in ("detect", "classify"))
    assert "#SBATCH --array=0-1\n#SBATCH --time=24:00:00\n" in detect  # 45 h asked for, 24 allowed
    assert "#SBATCH --gres=gpu:8\n#SBATCH --cpus-per-task=80\n#SBATCH --partition=gpu\n" in detect
    assert "#SBATCH --time=0:10:00\n" in classify
    assert "#SBATCH --gres=gpu:1\n#SBATCH --cpus-per-task=10\n" in classify
    convert = (jobs / "convert.sh").read_text()
    assert "--gres" not in convert
    assert "--time=24:00:00" in convert  # not known


def submitted(stages: list[Stage], folder: Path) -> list[str]:
    """What sbatch is called with; each job's number is that of its line."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "sbatch").write_text('#!/bin/bash\necho "$@" >> submitted; wc -l < submitted\n')
    (tools / "sbatch").chmod(0o755)
    write_slurm(stages, folder / "jobs", ["clsa-reproduce"], [], folder, CLUSTER)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["bash", folder / "jobs" / "submit.sh"], env=environment, check=True, capture_output=True)
    return (folder / "jobs" / "submitted").read_text().splitlines()


def test_a_task_is_submitted_after_those_that_it_needs(tmp_path) -> None:
    assert submitted(STAGES, tmp_path) == [
        "--parsable convert.sh",
        "--parsable --dependency=afterok:1_0 --kill-on-invalid-dep=yes detect.sh",
        "--parsable classify.sh",  # it needs a stage that is in none of the arrays
    ]


def test_a_failed_pretraining_holds_up_its_own_detectors_alone(tmp_path) -> None:
    methods = ("moco_v2", "clsa_single")
    stages = [stage("all/data/check", gpus=0)]
    stages += [stage(f"{m}/pretrain/run", needs=("all/data/check",)) for m in methods]
    stages += [
        stage(f"{m}/detect/{name}", needs=("all/data/check", f"{m}/pretrain/run"))
        for name in ("voc", "coco")
        for m in methods
    ]
    assert submitted(stages, tmp_path) == [
        "--parsable data.sh",
        "--parsable --dependency=afterok:1_0 --kill-on-invalid-dep=yes pretrain.sh",
        "--parsable --array=0,2 --dependency=afterok:1_0:2_0 --kill-on-invalid-dep=yes detect.sh",
        "--parsable --array=1,3 --dependency=afterok:1_0:2_1 --kill-on-invalid-dep=yes detect.sh",
    ]


def test_the_signal_of_the_time_limit_reaches_the_stage(tmp_path) -> None:
    """The command saves itself, as clsa-pretrain does; bash waits for it and hands its exit code on."""
    saves = "trap 'sleep 0.3; touch saved; exit 75' TERM; touch started; while :; do sleep 0.05; done"
    (tmp_path / "train").write_text(f"#!/bin/bash\n{saves}\n")
    (tmp_path / "train").chmod(0o755)
    write_slurm(STAGES[1:2], tmp_path / "jobs", [str(tmp_path / "train")], [], tmp_path, CLUSTER)
    job = subprocess.Popen(["bash", tmp_path / "jobs" / "detect.sh"], env={**os.environ, "SLURM_ARRAY_TASK_ID": "0"})
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 75
    assert (tmp_path / "saved").exists()


def test_the_written_arrays_call_this_interpreter_with_absolute_paths(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--output", "out", "--slurm", "jobs", "SEED", "1"]) == 0
    assert capsys.readouterr().out.split() == [
        f"jobs/{n}.sh" for n in ("data", "pretrain", "detect", "classify", "submit")
    ]
    text = (tmp_path / "jobs" / "pretrain.sh").read_text()
    assert f"cd {tmp_path} || exit\n" in text
    assert f"{sys.executable} -m clsa.reproduce.cli --config-file /" in text
    assert f' --output {tmp_path}/out --stage "${{stages[k]}}" SEED 1 &\n' in text
