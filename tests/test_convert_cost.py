"""What a conversion may take: twice the file's size in memory (benchmarks/convert.py has the time)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from clsa.convert.architecture import build_trunk
from clsa.convert.backbone_file import write_backbone

#: A process of its own for each conversion, after all imports: what it adds to its peak of memory.
RUNNER = """
import json, os, sys, time
import torch
torch.set_num_threads(1)
from clsa.convert.cli import main
from clsa.convert.architecture import Architecture
from clsa.convert.proof import features
from clsa.convert.architecture import trunk_shapes
features({n: torch.ones(s) for n, s in trunk_shapes(Architecture(18)).items()}, Architecture(18))  # warms PyTorch up

def resident(pid):  # pages that no file backs
    lines = open(f"/proc/{pid}/status").readlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)

results = []
for source, destination, target in json.loads(sys.argv[1]):
    before = resident(os.getpid())
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main([source, destination, "--to", target]))
    most, ended = before, 0
    while not ended:  # looked at from outside, which no lock in the child can keep from happening
        most = max(most, resident(child))
        time.sleep(0.001)
        ended, status = os.waitpid(child, os.WNOHANG)
    results.append([os.waitstatus_to_exitcode(status), most - before])
print(json.dumps(results))
"""
JOBS = [
    ("moco.pth.tar", "detectron2", ".pkl"),
    ("zip.pth", "detectron2", ".pkl"),
    ("zip.pth", "torchvision", ".safetensors"),
    ("old.pth", "openmmlab", ".pth"),
    ("half.pth", "torchvision", ".pth"),
    ("half.pth", "torchvision", ".safetensors"),
    ("half.pth", "detectron2", ".pkl"),
    ("half.safetensors", "detectron2", ".pth"),
    ("numpy.pkl", "detectron2", ".pkl"),
    ("numpy.pkl", "torchvision", ".pth"),
]


def test_memory_of_a_conversion(tmp_path: Path) -> None:
    """Never more than twice the source's size beside what a file backs; a bare backbone is the hardest case."""
    if not Path("/proc/self/status").exists():
        pytest.skip("measures memory as Linux does")
    state = build_trunk(34).state_dict()
    halves = {name: tensor.half() for name, tensor in state.items()}
    moco = {f"module.encoder_{one}.{name}": tensor for one in "qk" for name, tensor in state.items()}
    torch.save({"state_dict": moco, "epoch": 1, "arch": "resnet34"}, tmp_path / "moco.pth.tar")
    torch.save(state, tmp_path / "zip.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(halves, tmp_path / "half.pth")
    safetensors.torch.save_file(halves, tmp_path / "half.safetensors")
    trunk = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    write_backbone(tmp_path / "numpy.pkl", trunk, "detectron2", {})
    jobs = [(str(tmp_path / name), str(tmp_path / f"{n}{suffix}"), to) for n, (name, to, suffix) in enumerate(JOBS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", RUNNER, json.dumps(jobs)]
    run = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    for (source, destination, _), (code, memory) in zip(jobs, json.loads(run.stdout), strict=True):
        assert code == 0, f"{source} to {destination}: {run.stderr}"
        print(f"{Path(source).name} to {Path(destination).suffix}: {memory / os.path.getsize(source):.2f}")
        assert memory <= 2 * os.path.getsize(source), f"{source} to {destination}: {memory:,} bytes"
