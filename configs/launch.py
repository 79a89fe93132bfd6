"""Starts one process or several: alone, one for each GPU, joined by torchrun, or on several machines by hand.

The work is a function ``work(process, *args)`` of a module, for other processes import it. They exchange by NCCL on
GPUs and by gloo on the CPU. PyTorch is imported when it is needed: a command line must not wait for it.
"""

import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.stop_signals import handled

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machines:
    """The machines that share the work, each of which was given the same command: detectron2's three options.

    Attributes:
        count: ``--num-machines``.
        rank: ``--machine-rank``, 0 to ``count`` - 1.
        address: ``--dist-url``, where machine 0 listens: tcp://HOST:PORT. With one machine it may be ``auto``.

    Raises:
        InputError: these do not go together.
    """

    count: int = 1
    rank: int = 0
    address: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise InputError(
                f"--machine-rank is {self.rank} with --num-machines {self.count}: the machines are numbered from 0, so "
                f"it must be 0 to {max(self.count, 1) - 1}, another one on each of them."
            )
        if not re.fullmatch(r"tcp://[^/]+:\d+" if self.count > 1 else r"auto|tcp://[^/]+:\d+", self.address):
            raise InputError(
                f"--dist-url is {self.address} with --num-machines {self.count}: give tcp://HOST:PORT, a free port of "
                "machine 0, the same on all of them."
            )


class LeaveTogether(SystemExit):
    """Raised by the work in every process after the same step: none is waiting for another, so the group may close."""


def launch(
    work: Callable[..., None], num_gpus: int, *args: Any, on_cpu: bool = False, machines: Machines | None = None
) -> None:
    """Run ``work(process, *args)`` in every process, and return when all of this machine are done.

    Args:
        num_gpus: processes of this machine, each on a GPU of its own; 0 is one process on the CPU. Under torchrun,
            which decides the number of processes, only 0 or not matters.
        on_cpu: the processes compute on the CPU, whatever their number.
        machines: where there are several, and torchrun does not describe them.

    Raises:
        InputError: fewer GPUs than asked for, or machines described twice.
        SystemExit: a process failed, it has said why; or all of them raised :class:`LeaveTogether`, with its code.
    """
    if num_gpus < 0:
        raise InputError(f"--num-gpus is {num_gpus}, it must be 0 (CPU) or more.")
    machines = machines or Machines()
    on_gpus = num_gpus > 0 and not on_cpu
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        if machines.count > 1:
            raise InputError(
                f"--num-machines is {machines.count} under torchrun, which describes the machines itself (--nnodes, "
                "--rdzv-endpoint): leave it out, or start without torchrun."
            )
        _require_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if on_gpus else 0)
        device = _device(int(os.environ.get("LOCAL_RANK", 0)), on_gpus)
        process = Process(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), device)
        _join_group_or_say_why(work, process, "env://", args)
        return
    count = max(1, num_gpus)
    _require_gpus(count if on_gpus else 0)
    if machines.count > 1:
        print(f"machine {machines.rank} of {machines.count}, which meet at {machines.address}", flush=True)
    if count > 1:
        start_processes(work, count, on_gpus, *args, machines=machines)
    elif machines.count > 1:
        process = Process(machines.rank, machines.count, _device(0, on_gpus))
        _join_group_or_say_why(work, process, machines.address, args)
    else:
        work(Process(0, 1, _device(0, on_gpus)), *args)


def start_processes(
    work: Callable[..., None], count: int, on_gpus: bool, *args: Any, machines: Machines | None = None
) -> None:
    """Start ``count`` processes on this machine, in one group with those of the other machines.

    If one fails, the others of this machine are ended. The signals that ask for a stop are handed on to them.

    Raises:
        SystemExit: see :func:`launch`.
    """
    import torch

    machines = machines or Machines()
    address = _free_local_address() if machines.address == "auto" else machines.address
    first = machines.rank * count
    handed_on = set()
    try:
        started = torch.multiprocessing.spawn(
            _started, (first, machines.count * count, on_gpus, address, work, args), nprocs=count, join=False
        )

        def hand_on(number: int, _: Any) -> None:
            handed_on.add(number)
            for process in started.processes:
                if process.is_alive():
                    os.kill(process.pid, number)

        with handled(hand_on):
            while not started.join():
                pass
    except torch.multiprocessing.ProcessRaisedException as error:
        print(error, file=sys.stderr)  # the traceback of the process that failed first
        raise SystemExit(1) from error
    except torch.multiprocessing.ProcessExitedException as error:
        if error.exit_code >= 0:
            raise SystemExit(error.exit_code) from error
        number = -error.exit_code
        if number not in handed_on:
            hint = " (too little memory?)" if number == signal.SIGKILL else ""
            print(f"error: process {first + error.error_index} was ended by {error.signal_name}{hint}", file=sys.stderr)
        raise SystemExit(128 + number) from error  # as a shell says it


def _started(
    local_rank: int,
    first_rank: int,
    world_size: int,
    on_gpus: bool,
    address: str,
    work: Callable[..., None],
    args: tuple,
) -> None:
    """In a process that was started here. What is no user's error PyTorch carries to the process that started it."""
    process = Process(first_rank + local_rank, world_size, _device(local_rank, on_gpus))
    try:
        _join_group(work, process, address, args)
    except InputError as error:
        _print_error(process, error)
        raise SystemExit(1) from error


def _join_group_or_say_why(work: Callable[..., None], process: Process, address: str, args: tuple) -> None:
    """In a process that somebody else has started beside others."""
    try:
        _join_group(work, process, address, args)
    except Exception as error:
        if process.world_size == 1:
            raise
        if isinstance(error, InputError):
            _print_error(process, error)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        # torchrun waits for this process before it starts all of them again, and the end of the interpreter would wait
        # for collectives that a dead process has left under way.
        os._exit(1)


def _join_group(work: Callable[..., None], process: Process, address: str, args: tuple) -> None:
    import torch
    from torch import distributed

    on_gpu = process.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(process.device)
    store, _, _ = next(distributed.rendezvous(address, process.rank, process.world_size))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun on one machine keeps its store when it restarts: without a name of its own for each attempt a process
        # may find the address of one that is dead. (On several machines the count of restarts differs between them.)
        store = distributed.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    backend = "nccl" if on_gpu else "gloo"
    distributed.init_process_group(backend, store=store, rank=process.rank, world_size=process.world_size)
    try:
        work(process, *args)
    except LeaveTogether:
        distributed.destroy_process_group()
        raise
    # Only after success: after a failure the others may be waiting in a collective, and leaving politely could hang.
    distributed.destroy_process_group()


def _device(index: int, on_gpus: bool) -> "torch.device":
    import torch

    return torch.device("cuda", index) if on_gpus else torch.device("cpu")


def _require_gpus(needed: int) -> None:
    import torch

    if needed > (available := torch.cuda.device_count()):
        raise InputError(
            f"{needed} GPUs are asked for, PyTorch sees {available}. Give --num-gpus {available}"
            + (" to compute on the CPU." if available == 0 else ".")
        )


def _free_local_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def _print_error(process: Process, error: InputError) -> None:
    print(f"error in process {process.rank}: {error}" if process.rank else f"error: {error}", file=sys.stderr)
