"""``configs/slurm/pretrain.sh``, run as a scheduler would run it; srun and scontrol note what they are given."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "configs" / "slurm" / "pretrain.sh"
JOB = {
    "SLURM_NTASKS": "16",
    "SLURM_NTASKS_PER_NODE": "8",
    "SLURM_CPUS_PER_TASK": "10",
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NODELIST": "node[01-02]",
    "CONFIG": "c.yaml",
    "TRAIN": "images",
    "OUT": "out",
}


@pytest.mark.parametrize("code", [0, 1, 75])
def test_each_task_gets_the_cpus_of_the_job_and_only_75_goes_back_into_the_queue(tmp_path: Path, code: int) -> None:
    said = 'echo "srun $SRUN_CPUS_PER_TASK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT"'
    for name, does in (
        ("srun", f"{said}; exit {code}"),
        ("scontrol", 'if [ "$1" = show ]; then printf "node01\\nnode02\\n"; else echo "scontrol $@"; fi'),
    ):
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, **JOB, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
    again = ["scontrol requeue 77"] if code == 75 else []
    assert done.stdout.splitlines() == ["srun 10 16 8 node01 20077", *again]
    assert done.returncode == (0 if code == 75 else code)
