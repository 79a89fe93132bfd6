"""One process or several: started by torchrun, by this module (one for each GPU of this machine), or alone."""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import distributed as dist

from clsa.configs.command import InputError


@dataclass(frozen=True)
class Process:
    """Which of the ``world_size`` processes this is, and where it computes."""

    rank: int
    world_size: int
    device: str

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, numbers: torch.Tensor) -> torch.Tensor:
        """Elementwise sum of the tensors of all processes."""
        if self.world_size > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers


def launch(work: Callable[..., None], num_gpus: int | None, *args) -> None:
    """Run ``work(process, *args)`` in every process, and return when all are done.

    Args:
        work: a function of a module: it is pickled for the processes that are started here.
        num_gpus: 0 computes on the CPU. Under torchrun, which decides the number of processes, only 0 or not matters;
            elsewhere that many are started, None meaning one, on a GPU if there is one.

    Raises:
        InputError: fewer GPUs than asked for.
        SystemExit: a started process failed; it has said why.
    """
    if num_gpus is None:
        num_gpus = min(1, torch.cuda.device_count())
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        _require_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if num_gpus else 0)
        _join(work, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), local_rank, num_gpus > 0, "env://", args)
        return
    _require_gpus(num_gpus)
    if num_gpus > 1:
        start_processes(work, num_gpus, True, *args)
    else:
        work(Process(0, 1, "cuda:0" if num_gpus else "cpu"), *args)


def start_processes(work: Callable[..., None], count: int, use_gpus: bool, *args) -> None:
    """Start ``count`` processes on this machine, joined in one group. If one fails the others are ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    try:
        torch.multiprocessing.spawn(_started, (work, count, use_gpus, address, args), nprocs=count)
    except torch.multiprocessing.ProcessExitedException as error:
        raise SystemExit(1) from error


def _started(rank: int, work: Callable[..., None], count: int, use_gpus: bool, address: str, args: tuple) -> None:
    try:
        _join(work, rank, count, rank, use_gpus, address, args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error


def _join(
    work: Callable[..., None], rank: int, world_size: int, local_rank: int, use_gpus: bool, address: str, args: tuple
) -> None:
    if use_gpus:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if use_gpus else "gloo", init_method=address, rank=rank, world_size=world_size)
    work(Process(rank, world_size, f"cuda:{local_rank}" if use_gpus else "cpu"), *args)
    # Only after success: after a failure the others may wait in a collective, and leaving politely could hang.
    dist.destroy_process_group()


def _require_gpus(needed: int) -> None:
    if needed > (available := torch.cuda.device_count()):
        raise InputError(
            f"{needed} GPUs are asked for, PyTorch sees {available}. Give --num-gpus {available}"
            + (" to compute on the CPU." if available == 0 else ".")
        )
