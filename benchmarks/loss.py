"""The losses of CLSA-Multi, by the closed form and as the public code computes them, side by side.

    python benchmarks/loss.py
    python benchmarks/loss.py --weak 1 --strong 1

The literal side is a plain reading of how the paper's public code works: for every weak query, and again for every
pair of a weak and a strong query, it clones the queue, multiplies, joins the logits of the batch's keys and of the
queue, and takes log(softmax); and of the first logits it takes the top 5, for the accuracy. PyTorch keeps all of it
for the backward pass. The closed form gives an accuracy, too, and the target's entropy. Both sides get the same unit
vectors, in turn and in one process, forward and backward; CPU time is the process's. The peak of memory is taken in a
fresh process for each side: its growth over what it held before the losses, in steps of 1 MiB.
"""

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
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
    """Contrastive and DDM loss; ``queue`` is K x C, kept as C x K."""
    kept = queue.T.contiguous()
    own = torch.arange(len(keys))

    def logits(query: Tensor) -> Tensor:
        of_batch = torch.einsum("nc,ck->nk", query, keys.T)
        of_queue = torch.einsum("nc,ck->nk", query, kept.clone().detach())
        joined = torch.cat([of_batch, of_queue], dim=1)
        joined /= TAU
        return joined

    contrastive, ddm = 0.0, 0.0
    for number, query in enumerate(weak):
        of_weak = logits(query)
        if number == 0:
            (of_weak.detach().topk(5, dim=1).indices == own[:, None]).any(dim=1).float().mean()
        contrastive = contrastive + F.cross_entropy(of_weak, own)
        target = torch.softmax(of_weak.clone().detach() * TAU / TAU, dim=1)  # there: the temperatures' names differ
        for student in strong:
            probability = torch.softmax(logits(student), dim=1)
            ddm = ddm - torch.mean(torch.sum(torch.log(probability) * target, dim=1))
    return contrastive, ddm


def closed_form(weak: list[Tensor], strong: list[Tensor], keys: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """The same by :func:`query_losses`."""
    bank = Bank(keys, queue, keys)
    losses = query_losses(weak, strong, bank, Temperatures.equal(TAU))
    return losses.contrastive, losses.strong


SIDES: dict[str, Callable] = {"literal": literal, "closed form": closed_form}


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
    data = vectors(args)
    small = argparse.Namespace(**{**vars(args), "queue": 256})
    once(side, vectors(small))  # libraries' own first-use buffers are not the losses'
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
    data = vectors(args)

    print(f"N {args.batch}, K {args.queue}, C {DIMENSION}, {args.weak} weak x {args.strong} strong, float32")
    cpu, wall, answers = {side: [] for side in SIDES}, {side: [] for side in SIDES}, {}
    for _ in range(args.rounds):
        for side in SIDES:
            answers[side], cpu_seconds, wall_seconds = once(side, data)
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
