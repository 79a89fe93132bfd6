"""Run by torchrun for test_pretrain_distributed: what two processes do.

Each embeds and enqueues its share of what a single process would, then both train; one is asked to stop; one is killed,
which makes torchrun start both again.
"""

import contextlib
import importlib.util
import io
import os
import runpy
import signal
import sys
import tarfile
from pathlib import Path
from unittest import mock

import torch

from clsa.configs.command import InputError
from clsa.configs.launch import launch
from clsa.configs.loading import load_config
from clsa.pretrain import networks
from clsa.pretrain.config import get_cfg
from clsa.pretrain.key_queue import KeyQueue
from clsa.pretrain.methods import MomentumContrast
from clsa.pretrain.shards import Shards
from clsa.pretrain.train import pretrain

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def signal_after(step, number):
    """This process sends itself a signal when it has done so many steps."""
    done, enqueue = [], MomentumContrast.enqueue

    def and_signal(self, keys):
        enqueue(self, keys)
        done.append(1)
        if len(done) == step:
            os.kill(os.getpid(), number)

    return mock.patch.object(MomentumContrast, "enqueue", and_signal)


def train(process, overrides, folder, *more, resume=False):
    pretrain(process, load_config(get_cfg(), None, [*overrides, "OUTPUT_DIR", folder, *more]), resume)


def work(process, output, overrides):
    restarted = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    if not restarted:
        share(process, output)
        if importlib.util.find_spec("webdataset"):
            open_shards(process, output)
        train(process, overrides, f"{output}/whole")
    networks.build_backbone = runpy.run_path(str(BENCHMARKS / "kill_resume.py"))["small_backbone"]
    if not restarted:
        for norm in ("FrozenBN", "BN"):
            train(process, overrides, f"{output}/{norm}", "MODEL.NORM", norm, "SOLVER.MAX_ITER", "5")
        with signal_after(2, signal.SIGUSR1) if process.rank == 1 else contextlib.nullcontext():
            try:
                train(process, overrides, f"{output}/signalled", "SOLVER.MAX_ITER", "6")
            except SystemExit as left:
                torch.save(left.code, f"{output}/code_{process.rank}.pth")
    with signal_after(3, signal.SIGKILL) if process.rank == 1 and not restarted else contextlib.nullcontext():
        train(process, overrides, f"{output}/killed", "SOLVER.MAX_ITER", "6", resume=True)


def share(process, output):
    torch.manual_seed(0)
    queue = KeyQueue(10, 3)
    for step in range(7):
        rows = torch.arange(6 * step, 6 * step + 6.0).chunk(2)[process.rank][:, None].repeat(1, 3)
        queue.enqueue(process.concatenated(rows))
    cfg = get_cfg()
    cfg.merge_from_list(["METHOD", "moco_v2", "MODEL.DEPTH", 18, "LOSS.QUEUE_LENGTH", 10])
    method = MomentumContrast(cfg, process).eval()  # running statistics: the embedding of an image is its own
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1)).chunk(2)[process.rank]
    (keys,) = method.embed_keys(images, images, iteration=1)
    step = method(images, [images], [], [keys])
    mean = process.mean(torch.tensor([1.0 + process.rank]))
    torch.save(
        {
            "queue": queue.state_dict(),
            "keys": keys,
            "acc1_batch": step.acc1_batch,
            "acc1_bank": step.acc1_bank,
            "mean": mean,
        },
        f"{output}/{process.rank}.pth",
    )


def open_shards(process, output):
    """Three shards, of which one process reads the headers of two; then one of them is no tar file."""
    if process.is_main:
        for number in range(3):
            with tarfile.open(f"{output}/{number}.tar", "w") as tar:
                for name in "ab"[: number + 1]:
                    member = tarfile.TarInfo(f"{name}{number}.jpg")
                    member.size = 10 + number
                    tar.addfile(member, io.BytesIO(f"image {name}{number}".ljust(10 + number).encode()))
    process.broadcast("written")
    source = Shards(f"{output}/{{0..2}}.tar", process)
    order = source.order_sha256
    images = [(source.name(index), source.read(index).decode()) for index in range(len(source))]
    process.gather("read")
    if process.is_main:
        Path(f"{output}/1.tar").write_bytes(b"no tar file" * 100)
    process.broadcast("damaged")
    try:
        Shards(f"{output}/{{0..2}}.tar", process)
    except InputError as error:
        torch.save({"images": images, "order": order, "error": str(error)}, f"{output}/shards_{process.rank}.pth")


if __name__ == "__main__":
    launch(work, 0, sys.argv[1], sys.argv[2:])
