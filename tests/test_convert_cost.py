"""What a conversion may take: twice the file's size in memory (benchmarks/convert.py has the time)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clsa.convert.architecture import build_trunk
from clsa.convert.backbone_file import write_backbone

#: A process of its own for each conversion, after all imports: what it adds to its peak of memory.
RUNNER = """
import json, os, sys
import torch
torch.set_num_threads(1)
from clsa.convert.cli import main
from clsa.convert.architecture import Architecture
from clsa.convert.proof import features
from clsa.convert.architecture import trunk_shapes
features({n: torch.ones(s) for n, s in trunk_shapes(Architecture(18)).items()}, Architecture(18))  # warms PyTorch up

def peak():
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

results = []
for source, destination, target in json.loads(sys.argv[1]):
    reading, writing = os.pipe()
    if os.fork() == 0:
        open("/proc/self/clear_refs", "w").write("5")  # forgets the peak so far
        before = peak()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = main([source, destination, "--to", target])
        os.write(writing, json.dumps([code, peak() - before]).encode())
        os._exit(0)
    os.close(writing)
    results.append(json.loads(os.fdopen(reading).read() or "[-1, 0]"))
    os.wait()
print(json.dumps(results))
"""
BESIDE = 32 << 20  # bytes: features, names, PyTorch's own buffers; they do not grow with the file


def test_memory_of_a_conversion(tmp_path: Path) -> None:
    """A bare backbone is the hardest case, for all of it is used."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("measures memory as Linux does")
    state = build_trunk(18).state_dict()
    torch.save(state, tmp_path / "zip.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    trunk = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    write_backbone(tmp_path / "numpy.pkl", trunk, "detectron2", {})
    jobs = [
        (str(tmp_path / source), str(tmp_path / f"{number}{suffix}"), target)
        for number, (source, target, suffix) in enumerate(
            [
                ("zip.pth", "detectron2", ".pkl"),
                ("old.pth", "openmmlab", ".pth"),
                ("numpy.pkl", "detectron2", ".pkl"),
                ("numpy.pkl", "torchvision", ".pth"),
            ]
        )
    ]
    run = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(jobs)],
        capture_output=True,
        text=True,
        # malloc keeps what is freed for later unless told to map large blocks one by one; held is what counts here
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)},
    )
    assert run.returncode == 0, run.stderr
    for (source, destination, _), (code, memory) in zip(jobs, json.loads(run.stdout), strict=True):
        assert code == 0, f"{source} to {destination}: {run.stderr}"
        assert memory <= 2 * os.path.getsize(source) + BESIDE, f"{source} to {destination}: {memory:,} bytes"
