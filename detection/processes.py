"""One process or several, on GPUs or on the CPU: starting them, and the few words that they exchange."""

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from clsa.configs.command import InputError


def launch(function: Callable[..., Any], processes: int, *args: Any) -> None:
    """Call ``function(*args)`` in ``processes`` local processes; in this one for 1 or 0, and under ``torchrun``.

    Raises:
        SystemExit: a process failed; it has printed why.
    """
    if processes <= 1 or "RANK" in os.environ:
        function(*args)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        torch.multiprocessing.spawn(_child, (processes, port, function, args), nprocs=processes)
    except torch.multiprocessing.ProcessExitedException as error:
        raise SystemExit(1) from error


def _child(rank: int, processes: int, port: int, function: Callable[..., Any], args: tuple) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
    )
    try:
        function(*args)
    except InputError as error:
        print(f"error in process {rank}: {error}", file=sys.stderr)
        sys.exit(1)


def join_processes(device: str) -> torch.device:
    """Join the process group that the environment describes, if any; the device of this process.

    Raises:
        InputError: ``device`` is cuda and there is no GPU.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"MODEL.DEVICE is {device!r}, but PyTorch sees no GPU. Give --num-gpus 0 to run on the CPU.")
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", 0))
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return torch.device(device)


def leave_processes() -> None:
    """Close the process group, if one was joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 for the main one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather(value: Any) -> list[Any] | None:
    """The value of every process, by rank, on the main process; None on the others."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, values)
    return values


def broadcast(value: Any) -> Any:
    """The main process's value, on every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def broadcast_buffers(model: torch.nn.Module) -> None:
    """Give every process the main one's buffers: BN statistics differ between processes after training."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
