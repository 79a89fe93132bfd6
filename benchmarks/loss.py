"""The losses of CLSA-Multi, by the closed form and as the public code computes them, side by side.

    python benchmarks/loss.py
    python benchmarks/loss.py --weak 1 --strong 1

The literal side (``literal_losses``) is a plain reading of how the paper's public code works. The closed form gives an
accuracy, as it does, and the target's entropy. Both sides get the same unit vectors, the queue as each keeps it,
in turn and in one process, forward and backward; CPU time is the process's. The peak of memory is taken in a fresh
process for each side: its growth over what it held before the losses, in steps of 1 MiB.
"""

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from literal_losses import literal_losses
from torch import Tensor
from torch.nn import functional as F

from clsa.pretrain.bank import Bank
from clsa.pretrain.losses import Temperatures, query_losses

TAU = 0.2
DIMENSION = 128


def vectors(args: argparse.Namespace) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Weak and strong queries and the keys near them (N x C), and a queue (K x C); unit rows, seeded."""
    chance = torch.Generator().manual_seed(0)

    def unit(rows: int, near: Tensor | float = 0.0) -> Tensor:
        return F.normalize(near + 0.1 * torch.randn(rows, DIMENSION, generator=chance), dim=1)

    keys = unit(args.batch)
    weak = [unit(args.batch, keys).requires_grad_(True) for _ in range(args.weak)]
    strong = [unit(args.batch, keys).requires_grad_(True) for _ in range(args.strong)]
    return weak, strong, keys, unit(args.queue)


def literal(weak: list[Tensor], strong: list[Tensor], keys: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Contrastive and DDM loss. ``queue`` is C x K."""
    contrastive, ddm, _ = literal_losses(weak, strong, keys, queue, TAU)
    return contrastive, ddm


def closed_form(weak: list[Tensor], strong: list[Tensor], keys: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """The same by :func:`query_losses`. ``queue`` is K x C."""
    bank = Bank(keys, queue, keys)
    losses = query_losses(weak, strong, bank, Temperatures.equal(TAU))
    return losses.contrastive, losses.strong


SIDES: dict[str, Callable] = {"literal": literal, "closed form": closed_form}


def laid_out(side: str, data: tuple) -> tuple:
    """``data`` of :func:`vectors` with the queue as that side keeps it."""
    *others, queue = data
    return (*others, queue.T.contiguous() if side == "literal" else queue)


def once(side: str, data: tuple) -> tuple[list[Tensor], float, float]:
    """(losses and gradients, CPU seconds, wall seconds) of one forward and backward pass."""
    weak, strong, keys, queue = data
    cpu, wall = time.process_time(), time.perf_counter()
    losses = SIDES[side](weak, strong, keys, queue)
    gradients = torch.autograd.grad(sum(losses), [*weak, *strong])
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    return [*(loss.detach() for loss in losses), *gradients], *seconds


def peak_growth(side: str, args: argparse.Namespace, answer) -> None:
    """Bytes by which this process's peak grows while the losses are computed, sent through ``answer``."""
    torch.set_num_threads(args.threads)
    data = laid_out(side, vectors(args))
    small = argparse.Namespace(**{**vars(args), "queue": 256})
    once(side, laid_out(side, vectors(small)))  # libraries' own first-use buffers are not the losses'
    before = peak_bytes()
    once(side, data)
    answer.send(max(2**20, peak_bytes() - before))


def peak_bytes() -> int:
    """The largest resident size that this process has had. (``getrusage`` would count its parent's, too.)"""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status).group(1))


def peak_in_new_process(side: str, args: argparse.Namespace) -> int:
    """:func:`peak_growth` of a process started for it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=peak_growth, args=(side, args, sender))
    process.start()
    answer = receiver.recv()
    process.join()
    return answer


def largest_difference(ours: list[Tensor], literal: list[Tensor]) -> float:
    """Of all losses and gradients, relative to the largest element of the literal one."""
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, literal, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--queue", type=int, default=65536)
    parser.add_argument("--weak", type=int, default=5, help="weak queries")
    parser.add_argument("--strong", type=int, default=5, help="strong queries")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = {side: laid_out(side, vectors(args)) for side in SIDES}

    print(f"N {args.batch}, K {args.queue}, C {DIMENSION}, {args.weak} weak x {args.strong} strong, float32")
    cpu, wall, answers = {side: [] for side in SIDES}, {side: [] for side in SIDES}, {}
    for _ in range(args.rounds):
        for side in SIDES:
            answers[side], cpu_seconds, wall_seconds = once(side, data[side])
            cpu[side].append(cpu_seconds)
            wall[side].append(wall_seconds)
    peak = {side: peak_in_new_process(side, args) for side in SIDES}
    for side in SIDES:
        print(
            f"{side:<12} CPU {statistics.median(cpu[side]):7.3f} s ({min(cpu[side]):.3f} to {max(cpu[side]):.3f})  "
            f"wall {statistics.median(wall[side]):7.3f} s  memory {peak[side] / 2**20:6.0f} MiB"
        )
    ratios = [a / b for a, b in zip(cpu["literal"], cpu["closed form"], strict=True)]
    difference = largest_difference(answers["closed form"], answers["literal"])
    print(
        f"literal / closed form: CPU time {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}), "
        f"memory {peak['literal'] / peak['closed form']:.1f}"
    )
    print(f"largest relative difference of losses and gradients: {difference:.1e}")


if __name__ == "__main__":
    main()
