"""A training step of CLSA as the paper's public code takes it, and as this program does, side by side.

    python benchmarks/step.py                                   # one CPU core, small views
    python benchmarks/step.py --device cuda                     # one GPU, full size, CLSA-Single
    python benchmarks/step.py --device cuda --method clsa_multi
    python benchmarks/step.py --device cuda --images imagenet/train --workers 16

The literal side is a plain reading of how the public code works: float32, contiguous NCHW; as many weak and strong
views as it uses; for each weak query, and again for each pair with a strong one, the queue is cloned and the logits
joined; log(softmax); a loop over the parameters for the key network; ``loss.item()`` and the queue pointer's value taken from the device each step; SGD. Bank and weak queries are those of its scripts (clsa_multi: five).

Ours is the training loop's step with the same options: bfloat16 with channels_last, the losses in float32 by their
closed form, one grouped update of the key network, nothing taken from the device; on a GPU the step is taken once under
``torch.cuda``'s check that it waits for nothing. First both take a step in float32 with equal weights, views and bank,
and their losses are compared; then they are timed in turn. --images times ours again, fed by its loader.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from literal_losses import literal_losses
from torch import Tensor
from torch.nn import functional as F

from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.pretrain.config import get_cfg, strong_view_count, weak_query_sizes_and_scales
from clsa.pretrain.data import Normalise, batches
from clsa.pretrain.sources import open_source
from clsa.pretrain.step import train_step
from clsa.pretrain.training_state import TrainingState

#: Images per second of 8 V100, from the paper's hours for 200 epochs of ImageNet (70 and 166).
PAPER = {"clsa_single": 1017, "clsa_multi": 429}
TAU = 0.2


def config(args: argparse.Namespace, *more: object):
    """Of ``args.method`` as the public code has it, at the sizes of ``args``."""
    name = "clsa_single_public_code" if args.method == "clsa_single" else "clsa_multi_public_code"
    keys = {"MODEL.DEPTH": args.depth, "SOLVER.BATCH_SIZE": args.batch, "LOSS.QUEUE_LENGTH": args.queue}
    keys |= {"DATA.WORKERS": args.workers, "DATA.TRAIN": args.images}
    if args.scale != 1:
        strong = [max(32, round(size * args.scale)) for size in get_sizes(name, "STRONG.SIZES")]
        weak = [max(32, round(size * args.scale)) for size in get_sizes(name, "WEAK.QUERY_SIZES")]
        keys |= {"WEAK.SIZE": max(32, round(224 * args.scale)), "STRONG.SIZES": tuple(strong)}
        keys |= {"WEAK.QUERY_SIZES": tuple(weak)}
    words = [str(word) for pair in keys.items() for word in pair]
    return load_config(get_cfg(), f"configs/pretrain/{name}.yaml", [*words, *map(str, more)])


def get_sizes(name: str, key: str) -> tuple[int, ...]:
    section, _, leaf = key.partition(".")
    return load_config(get_cfg(), f"configs/pretrain/{name}.yaml")[section][leaf]


def random_views(cfg, device: torch.device) -> list[Tensor]:
    """Key view, weak views, strong views: N x 3 x S x S, contiguous."""
    chance = torch.Generator().manual_seed(0)
    sizes = [cfg.WEAK.SIZE, *(size for size, _ in weak_query_sizes_and_scales(cfg))]
    sizes += cfg.STRONG.SIZES[: strong_view_count(cfg)]
    return [torch.randn(cfg.SOLVER.BATCH_SIZE, 3, size, size, generator=chance).to(device) for size in sizes]


def literal_step(state: TrainingState, views: list[Tensor], weak_count: int) -> float:
    """One step, as described above; the loss's value. The queue lies as C x K in ``state.literal_queue``."""
    method = state.method
    key_view, weak_views, strong_views = views[0], views[1 : 1 + weak_count], views[1 + weak_count :]
    weak = [F.normalize(method.query(view), dim=1) for view in weak_views]
    strong = [F.normalize(method.query(view), dim=1) for view in strong_views]
    with torch.no_grad():
        for followed, kept in zip(method.query.parameters(), method.key.parameters(), strict=True):
            kept.data = kept.data * 0.999 + followed.data * (1.0 - 0.999)
        keys = F.normalize(method.key(key_view), dim=1)
    contrastive, ddm, _ = literal_losses(weak, strong, keys, state.literal_queue, TAU)
    loss = contrastive + ddm
    value = loss.item()
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    first = int(state.literal_pointer)
    state.literal_queue[:, first : first + len(keys)] = keys.T
    state.literal_pointer[0] = (first + len(keys)) % state.literal_queue.shape[1]
    return value


def our_step(state: TrainingState, views: list[Tensor], iteration: int) -> Tensor:
    """One step of the training loop; its loss, on the device."""
    return train_step(state.method, state, views, iteration, beta=1.0)[1]


def make_state(cfg, device: torch.device) -> TrainingState:
    state = TrainingState(cfg, Process(0, 1, device))
    state.method.train()
    state.literal_queue = state.method.queue.keys.T.contiguous()
    state.literal_pointer = torch.zeros(1, dtype=torch.long, device=device)
    return state


def timed(step: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """(CPU seconds of the process, wall seconds), all of the device's work included."""
    _finish(device)
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    _finish(device)
    return time.process_time() - cpu, time.perf_counter() - wall


def peak_mib(step: Callable[[], object], device: torch.device) -> str:
    """Of the device while it steps; on the CPU the peak of the process so far, which both sides share."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB"
    step()
    status = Path("/proc/self/status").read_text()
    return f"process so far {int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f} MiB"


def without_waiting(step: Callable[[], object], device: torch.device) -> None:
    """Take the step; on a GPU an operation that waits for it is an error."""
    if device.type != "cuda":
        step()
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def loaded_rate(args: argparse.Namespace, cfg, state: TrainingState, device: torch.device) -> float:
    """Images per second of our step fed by the loader, after the first few steps."""
    source, first, last = open_source(cfg.DATA), 5, 5 + args.loaded_steps
    normalise = Normalise(device, cfg.MODEL.CHANNELS_LAST)
    for iteration, views in enumerate(batches(cfg, source, Process(0, 1, device), 0, last), 1):
        our_step(state, [normalise(view) for view in views], iteration)
        if iteration == first:
            _finish(device)
            began = time.perf_counter()
    _finish(device)
    return cfg.SOLVER.BATCH_SIZE * args.loaded_steps / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--method", default="clsa_single", choices=sorted(PAPER))
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--batch", type=int, help="default: 256 on a GPU, 8 on the CPU")
    parser.add_argument("--queue", type=int, help="default: 65536 on a GPU, 4096 on the CPU")
    parser.add_argument("--scale", type=float, help="of the views' sizes; default: 1 on a GPU, 0.5 on the CPU")
    parser.add_argument("--rounds", type=int, help="default: 20 on a GPU, 5 on the CPU")
    parser.add_argument("--compile", action="store_true", help="ours with SOLVER.COMPILE")
    parser.add_argument("--images", default="", metavar="DIR", help="also load images from here")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--loaded-steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1, help="on the CPU")
    args = parser.parse_args()
    device, gpu = torch.device(args.device), args.device == "cuda"
    for name, of_gpu, of_cpu in [("batch", 256, 8), ("queue", 65536, 4096), ("scale", 1.0, 0.5), ("rounds", 20, 5)]:
        if getattr(args, name) is None:
            setattr(args, name, of_gpu if gpu else of_cpu)
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = gpu

    cfg = config(args)
    fast = ["SOLVER.PRECISION", "bfloat16", "MODEL.CHANNELS_LAST", True, "SOLVER.COMPILE", args.compile]
    weak_count = len(weak_query_sizes_and_scales(cfg))
    views = random_views(cfg, device)
    sizes = " ".join(str(view.shape[-1]) for view in views)
    print(f"{args.method}, ResNet-{args.depth}, batch {args.batch}, queue {args.queue}, views {sizes}, {args.device}")

    literal, exact = make_state(cfg, device), make_state(cfg, device)
    values = literal_step(literal, views, weak_count), our_step(exact, views, 1).item()
    print(f"loss of the first step, both float32: literal {values[0]:.6f}, ours {values[1]:.6f}")
    if abs(values[0] - values[1]) > 1e-4 * abs(values[0]):
        raise SystemExit("the two sides do not compute the same")
    del exact

    ours = make_state(config(args, *fast), device)
    of_ours = [view.contiguous(memory_format=torch.channels_last) for view in views]
    sides = {
        "literal": lambda: literal_step(literal, views, weak_count),
        "ours": lambda: our_step(ours, of_ours, 1),
    }
    memory = {side: peak_mib(step, device) for side, step in sides.items()}  # and a warm-up
    without_waiting(sides["ours"], device)
    seconds = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side, step in sides.items():
            seconds[side].append(timed(step, device))
    for side, both in seconds.items():
        cpu, wall = (statistics.median(column) for column in zip(*both, strict=True))
        rate = args.batch / wall
        share = f" ({rate / PAPER[args.method]:.2f} of 8 V100)" if gpu else ""
        print(
            f"{side:<8} CPU {cpu:7.3f} s  wall {wall:7.3f} s  {rate:7.1f} images/s{share}  peak memory {memory[side]}"
        )
    clock = 1 if gpu else 0  # a GPU's work is not the process's CPU time
    pairs = zip(seconds["literal"], seconds["ours"], strict=True)
    ratios = [one[clock] / other[clock] for one, other in pairs]
    word = "wall" if gpu else "CPU"
    print(f"literal / ours, {word} time: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if args.images:
        rate = loaded_rate(args, config(args, *fast), ours, device)
        print(f"ours, loaded images: {rate:.1f} images/s ({rate / PAPER[args.method]:.2f} of 8 V100)")


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
