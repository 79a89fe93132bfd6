"""Kill a training with SIGKILL at random moments, resume it each time, and compare what it ends with.

    python benchmarks/kill_resume.py --kills 20
    python benchmarks/kill_resume.py --kills 20 --workers 2

A run on random images writes a checkpoint every other step, so that many kills fall into the writing of one. It is
killed as often as asked for, each time at a moment drawn uniformly, and resumed; then it runs to its end. Its last
checkpoint must hold the bytes of the run that nobody disturbed, after each kill ``last_checkpoint`` must name a whole
one, and no unfinished file may be left in the end. With loader workers, which live on for some seconds after the kill
of their trainer, beside its successor, the undisturbed run still has none: they must not change anything either. The
loop, the files and the loader are those of ``clsa-pretrain``; only the network is a small one in place of a ResNet,
because what it computes is not in question and a checkpoint of a ResNet-18 takes 130 MB.

Processes are forked from one that has imported everything: so a kill lands in the run, not in its imports.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.utils.tensorboard
from PIL import Image
from torch import nn

from clsa.pretrain import networks
from clsa.pretrain.checkpointing import last_checkpoint, load_checkpoint
from clsa.pretrain.cli import main as clsa_pretrain


def small_backbone(*_, **__) -> nn.Module:
    """3 x S x S to the 512 features of a ResNet-18, with BN and a max pool as that has."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 512, 3, stride=2, bias=False), nn.BatchNorm2d(512), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def words(folder: Path, output: Path, steps: int, workers: int) -> list[str]:
    keys = {"DATA.TRAIN": folder / "images", "OUTPUT_DIR": output, "DATA.WORKERS": workers, "MODEL.DEPTH": 18}
    keys |= {"MODEL.HEAD_HIDDEN": 16, "MODEL.HEAD_OUTPUT": 8, "MODEL.BN_STATISTICS": "re_estimated"}
    keys |= {"MODEL.BN_REESTIMATION_STEPS": 2, "LOSS.QUEUE_LENGTH": 22, "WEAK.SIZE": 24, "STRONG.SIZES": "(16,)"}
    keys |= {"SOLVER.BATCH_SIZE": 4, "SOLVER.MAX_ITER": steps, "SOLVER.LOG_PERIOD": 5}
    keys |= {"SOLVER.CHECKPOINT_PERIOD": 2, "SOLVER.CHECKPOINT_KEEP": 2}
    pairs = [str(word) for pair in keys.items() for word in pair]
    return ["--config-file", "configs/pretrain/base_imagenet.yaml", "--num-gpus", "0", "--resume", *pairs]


def start(folder: Path, output: Path, steps: int, workers: int) -> int:
    """Number of a forked process that runs ``clsa-pretrain`` and says nothing."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            code = clsa_pretrain(words(folder, output, steps, workers))
    finally:
        os._exit(code)


def whole_run(folder: Path, output: Path, steps: int, workers: int) -> float:
    """Let a run reach its end; the seconds that it took."""
    began = time.perf_counter()
    _, status = os.waitpid(start(folder, output, steps, workers), 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"the run in {output} failed")
    return time.perf_counter() - began


def killed_run(folder: Path, output: Path, steps: int, workers: int, after: float) -> bool:
    """Whether the run was still under way ``after`` so many seconds, and was killed then."""
    child = start(folder, output, steps, workers)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def content(output: Path) -> dict | None:
    """What the checkpoint named by ``last_checkpoint`` holds, None if there is none yet; refuses a damaged one."""
    path = last_checkpoint(output)
    return load_checkpoint(path) if path else None


def same(a, b) -> bool:
    """Bit for bit; of the config everything but OUTPUT_DIR and DATA.WORKERS."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(key in ("OUTPUT_DIR", "WORKERS") or same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--workers", type=int, default=0, help="of the loader of the runs that are killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a fork has no other threads
    networks.build_backbone = small_backbone

    with tempfile.TemporaryDirectory() as name:
        folder, moments, chance = Path(name), random.Random(args.seed), np.random.default_rng(0)
        (folder / "images" / "n01").mkdir(parents=True)
        for number in range(14):
            pixels = chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / "n01" / f"{number}.JPEG")

        seconds = whole_run(folder, folder / "whole", args.steps, 0)
        startup = whole_run(folder, folder / "whole", args.steps, 0)  # it is done: nothing but starting and looking
        whole = content(folder / "whole")
        kills, reached, equal, runs, cut_off = 0, [], True, 1, set()
        # On average each life gets 2/3 of its share of the run, so that it is seldom over before the last kill.
        share = 4 / 3 * args.steps / args.kills
        longest, before = startup + share * (seconds - startup) / args.steps, 0
        while kills < args.kills:
            killed = folder / f"killed_{runs}"
            kills += killed_run(folder, killed, args.steps, args.workers, moments.uniform(0.0, longest))
            cut_off.update(killed.glob(".*.partial"))
            found = content(killed)
            reached.append(found["iteration"] if found else 0)
            # Other jobs make the machine slower and quicker; the times measured above soon say little.
            longest *= 1.5 if reached[-1] == before else 1 / 1.5 if reached[-1] > before + share else 1.0
            before = reached[-1]
            if before == args.steps:  # sooner than thought: the rest in another
                equal &= same(whole, found)
                runs, before = runs + 1, 0
        last = folder / f"killed_{runs}"
        whole_run(folder, last, args.steps, args.workers)
        equal &= same(whole, content(last))
        left = len(list(last.glob(".*.partial")))
    print(f"undisturbed: {args.steps} steps in {seconds:.1f} s, {startup:.1f} s of it to start")
    print(f"killed {kills} times, a whole checkpoint each time, of step {', '.join(map(str, reached))}")
    print(f"writings of a file that a kill cut off, never taken for it: {len(cut_off)}, left in the end: {left}")
    print(f"final checkpoint equal bit for bit: {equal}")
    if not equal or left:
        sys.exit(1)


if __name__ == "__main__":
    main()
