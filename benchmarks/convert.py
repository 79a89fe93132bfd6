"""What a conversion costs: ``python benchmarks/convert.py [--depth 50] [--repeat 5] [--bare]``.

A checkpoint in MoCo's layout, query and key network, queue and optimizer, or with ``--bare`` the state dict of a
backbone alone, is converted with all proofs (``docs/checkpoints.md``) for every kind of file, each in a new process.
Printed are the CPU time (user and system, of all threads) and the wall time of the conversion alone; beside it the CPU
time of importing PyTorch and this project; and the peak of memory above what the imports take, as a multiple of the
source's size (Linux only; pages mapped from the source and from the result are in it).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from clsa.convert.backbone_file import build_trunk
from clsa.convert.targets import TARGETS

MEASURE = """
import json, sys, time
from pathlib import Path
began = time.process_time()
from clsa.convert.cli import main
imports = time.process_time() - began
source, destination, target = sys.argv[1:]

def memory(name):
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else [f"{name}: 0"]
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

before, cpu, wall = memory("VmRSS"), time.process_time(), time.perf_counter()
sys.stdout = open("/dev/null", "w")
code = main([source, destination, "--to", target, "--overwrite"])
sys.stdout = sys.__stdout__
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"code": code, "imports": imports, "cpu": cpu, "wall": wall, "memory": memory("VmHWM") - before}))
"""


def write_checkpoint(path: Path, depth: int, bare: bool) -> None:
    """As MoCo's ``main_moco.py`` saves one, more than three times the size of its backbone; or a bare state dict."""
    state = {}
    for seed, encoder in enumerate(("encoder_q", "encoder_k")):
        torch.manual_seed(seed)
        network = build_trunk(depth)
        for tensor in network.buffers():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        state |= {f"module.{encoder}.{name}": tensor for name, tensor in network.state_dict().items()}
    if bare:
        prefix = "module.encoder_q."
        torch.save({n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}, path)
        return
    momentum = {n: {"momentum_buffer": torch.zeros_like(p)} for n, p in enumerate(build_trunk(depth).parameters())}
    state |= {"module.queue": torch.randn(128, 65536), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    torch.save({"epoch": 200, "arch": f"resnet{depth}", "state_dict": state, "optimizer": {"state": momentum}}, path)


def measure(source: Path, destination: Path, target: str) -> dict[str, float]:
    """One conversion in a process of its own."""
    words = [sys.executable, "-c", MEASURE, str(source), str(destination), target]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50, choices=(18, 34, 50, 101, 152))
    parser.add_argument("--bare", action="store_true", help="convert the state dict of a backbone alone")
    parser.add_argument("--repeat", type=int, default=5, help="conversions for each kind of file (default 5)")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        source = Path(folder) / "moco.pth.tar"
        write_checkpoint(source, args.depth, args.bare)
        kinds = [(target, suffix) for target, entry in TARGETS.items() for suffix in entry.suffixes]
        runs = {kind: [] for kind in kinds}
        for number in tqdm(range(args.repeat * len(kinds)), unit="conversion"):
            target, suffix = kinds[number % len(kinds)]
            runs[target, suffix].append(measure(source, Path(folder) / f"out{suffix}", target))
        size = source.stat().st_size
    layout = "torchvision's" if args.bare else "MoCo's"
    print(f"ResNet-{args.depth}, {layout} layout, {size / 1e6:.0f} MB, {os.cpu_count()} cores, {args.repeat} runs each")
    print("median [least, most]")
    print(f"{'target':24s} {'CPU s':>20s} {'wall s':>20s} {'imports, CPU s':>15s} {'memory, x source':>17s}")
    for (target, suffix), results in runs.items():
        cpu, wall = (spread([result[key] for result in results]) for key in ("cpu", "wall"))
        imports = statistics.median(result["imports"] for result in results)
        memory = max(result["memory"] for result in results) / size
        print(f"{target + ' ' + suffix:24s} {cpu:>20s} {wall:>20s} {imports:15.2f} {memory:17.2f}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


if __name__ == "__main__":
    main()
