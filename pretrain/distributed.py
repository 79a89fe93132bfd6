"""One process or several: started by torchrun, by this module (one for each GPU of one machine), or alone."""

import os
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from clsa.configs.command import InputError

from .interruption import RESUME_EXIT_CODE, Interrupted, handled


@dataclass(frozen=True)
class Process:
    """Which of the ``world_size`` training processes this is, and where it computes."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def launch(work: Callable[..., None], num_gpus: int | None, *args) -> None:
    """Run ``work(process, *args)`` in every training process, and return when all are done.

    Args:
        work: a function of a module (it is pickled for the processes that are started here).
        num_gpus: 0 computes on the CPU. Under torchrun, which decides the number of processes, only 0 or not matters;
            elsewhere that many processes are started, None meaning 1.

    Raises:
        InputError: fewer GPUs than asked for.
        SystemExit: a started process failed, it has said why; or all were interrupted (``interruption``).
    """
    use_gpus = num_gpus != 0
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        needed = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        _require_gpus(needed if use_gpus else 0)
        _join_group(work, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), local_rank, use_gpus, "env://", args)
        return
    count = 1 if num_gpus is None else num_gpus
    _require_gpus(count)
    if count > 1:
        start_processes(work, count, use_gpus, *args)
    else:
        work(Process(0, 1, torch.device("cuda", 0) if use_gpus else torch.device("cpu")), *args)


def start_processes(work: Callable[..., None], count: int, use_gpus: bool, *args) -> None:
    """Start ``count`` processes on this machine, joined in one group. If one fails the others are ended.

    The signals that ask for a stop are handed on to them.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    try:
        started = torch.multiprocessing.spawn(
            _started, (work, count, use_gpus, address, args), nprocs=count, join=False
        )

        def hand_on(number: int, _) -> None:
            for process in started.processes:
                if process.is_alive():
                    os.kill(process.pid, number)

        with handled(hand_on):
            while not started.join():
                pass
    except torch.multiprocessing.ProcessExitedException as error:
        raise SystemExit(RESUME_EXIT_CODE if error.exit_code == RESUME_EXIT_CODE else 1) from error


def gather(tensor: Tensor, process: Process) -> Tensor:
    """The tensors of all processes (equal shapes), joined along dimension 0 in rank order. Without gradient."""
    if process.world_size == 1:
        return tensor.detach()
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(process.world_size)]
    dist.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts)


def mean_over_processes(tensor: Tensor, process: Process) -> Tensor:
    """Elementwise mean of the tensors of all processes."""
    if process.world_size > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        tensor /= process.world_size
    return tensor


def gather_objects(value, process: Process) -> list:
    """The picklable ``value`` of every process, in rank order."""
    if process.world_size == 1:
        return [value]
    values = [None] * process.world_size
    dist.all_gather_object(values, value)
    return values


def _started(rank: int, work: Callable[..., None], count: int, use_gpus: bool, address: str, args: tuple) -> None:
    try:
        _join_group(work, rank, count, rank, use_gpus, address, args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error


def _join_group(
    work: Callable[..., None],
    rank: int,
    world_size: int,
    local_rank: int,
    use_gpus: bool,
    init_method: str,
    args: tuple,
) -> None:
    device = torch.device("cuda", local_rank) if use_gpus else torch.device("cpu")
    if use_gpus:
        torch.cuda.set_device(device)
    backend = "nccl" if use_gpus else "gloo"
    store, _, _ = next(dist.rendezvous(init_method, rank, world_size))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun on one machine keeps its store when it restarts: without a name of its own for each attempt a process
        # may find the address of one that is dead. (On several machines the count of restarts differs between them.)
        store = dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    try:
        work(Process(rank, world_size, device), *args)
    except Interrupted:
        dist.destroy_process_group()  # all of them are leaving
        raise
    except Exception as error:
        if init_method != "env://" or world_size == 1:
            raise
        # torchrun waits for this process before it starts all of them again, and the end of the interpreter would wait
        # for collectives that a dead process has left under way.
        if isinstance(error, InputError):
            print(f"error: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    # Only after success: after a failure the others may be waiting in a collective, and leaving politely could hang.
    dist.destroy_process_group()


def _require_gpus(needed: int) -> None:
    available = torch.cuda.device_count()
    if needed > available:
        raise InputError(
            f"{needed} GPUs are asked for, PyTorch sees {available}. Give --num-gpus {available}"
            + (" to compute on the CPU." if available == 0 else ".")
        )
