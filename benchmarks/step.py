"""A training step of CLSA as the paper's public code takes it, and as this program does, side by side.

    python benchmarks/step.py                                   # one CPU core, small views
    python benchmarks/step.py --device cuda                     # one GPU, full size, CLSA-Single
    python benchmarks/step.py --device cuda --method clsa_multi
    python benchmarks/step.py --device cuda --images imagenet/train --workers 16
    python benchmarks/step.py --device cuda --images made --workers 16    # JPEGs made on the spot

The literal side is a plain reading of how the public code works: float32, contiguous NCHW; as many weak and strong
views as it uses; for each weak query, and again for each pair with a strong one, the queue is cloned and the logits
joined; log(softmax); a loop over the parameters for the key network; ``loss.item()`` and the queue pointer's value
taken from the device each step; SGD. Bank and weak queries are those of its scripts (clsa_multi: five).

Ours is the training loop's step with the same options: bfloat16 with channels_last, the losses in float32 by their
closed form, one grouped update of the key network, nothing taken from the device; on a GPU the step is taken once under
``torch.cuda``'s check that it waits for nothing. First both take a step in float32 with equal weights, views and bank,
and their losses are compared; then they are timed in turn.

A step begins with what the side's loader hands over, in pinned memory where there is a GPU: the literal side's views as
float32; our crops as uint8, with the operations drawn for them, which are done first (DATA.AUGMENT_ON: by the device if
it is a GPU; on the CPU the workers have done them). Without --images the crops are smooth random ones, always the same.

--images times the whole of it: in turn the literal loader with the literal step and our loader with ours, on the same
JPEGs with as many workers. Each turn starts its loader afresh and is timed after --warm-up steps; on the CPU it is the
CPU time of all of it, the workers' and their start's included.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from literal_loader import scaled
from loaded_images import cpu_seconds, find_jpegs, write_jpegs
from PIL import Image
from step_sides import LiteralSide, OurSide

from clsa.configs.loading import load_config
from clsa.pretrain.augment import apply, build_views
from clsa.pretrain.batched_augment import encode
from clsa.pretrain.config import get_cfg
from clsa.pretrain.data import ViewBatch, augments_on_device

#: Images per second of 8 V100, from the paper's hours for 200 epochs of ImageNet (70 and 166).
PAPER = {"clsa_single": 1017, "clsa_multi": 429}
FAST = ["SOLVER.PRECISION", "bfloat16", "MODEL.CHANNELS_LAST", True]
Seconds = dict[str, list[tuple[float, float]]]  # of each side and round (CPU, wall)


def config(args: argparse.Namespace, *more: object) -> CfgNode:
    """Of ``args.method`` as the public code has it, at the sizes of ``args``."""
    path = f"configs/pretrain/{args.method}_public_code.yaml"
    full = load_config(get_cfg(), path)
    keys = {"MODEL.DEPTH": args.depth, "SOLVER.BATCH_SIZE": args.batch, "LOSS.QUEUE_LENGTH": args.queue}
    keys |= {"DATA.WORKERS": args.workers, "DATA.DECODER": args.decoder, "DATA.AUGMENT_ON": args.augment_on}
    keys |= {"WEAK.SIZE": scaled(full.WEAK.SIZE, args.scale)}
    for key, sizes in [("STRONG.SIZES", full.STRONG.SIZES), ("WEAK.QUERY_SIZES", full.WEAK.QUERY_SIZES)]:
        keys[key] = tuple(scaled(size, args.scale) for size in sizes)
    words = [str(word) for pair in keys.items() for word in pair]
    return load_config(get_cfg(), path, [*words, *map(str, more)])


def drawn_views(cfg: CfgNode, device: torch.device) -> list[ViewBatch]:
    """What our loader would hand over, of smooth random crops: with operations as drawn, or done where workers do."""
    chance, views = np.random.default_rng(0), []
    for view in build_views(cfg):
        coarse = chance.integers(0, 256, (cfg.SOLVER.BATCH_SIZE, 7, 7, 3), dtype=np.uint8)
        crops = [Image.fromarray(one).resize((view.size, view.size), Image.Resampling.BICUBIC) for one in coarse]
        drawn = [view.draw((500, 375), chance) for _ in crops]
        codes, magnitudes = encode(drawn)
        if not augments_on_device(cfg, device):
            crops = [apply(crop, one.operations) for crop, one in zip(crops, drawn, strict=True)]
            codes, magnitudes = codes[:, :0], magnitudes[:, :0]
        pixels = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops]))
        views.append(ViewBatch(pinned(pixels, device), codes, magnitudes))
    return views


def pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On the CPU, as a loader hands it over that feeds ``device``."""
    return tensor.cpu().pin_memory() if device.type == "cuda" else tensor


def timed(step: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """(CPU seconds of the process, wall seconds), all of the device's work included."""
    finish(device)
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    finish(device)
    return time.process_time() - cpu, time.perf_counter() - wall


def timed_with_loader(side: LiteralSide | OurSide, paths: list[str], args: argparse.Namespace) -> tuple[float, float]:
    """Seconds of a step, fed by the side's loader: (CPU with the workers' and their start, wall after the warm-up)."""
    before, steps = cpu_seconds(), args.warm_up + args.loaded_steps
    began = time.perf_counter()
    for number, views in enumerate(side.loader(paths, steps), 1):
        side.step(views, number)
        if number == args.warm_up:
            finish(side.device)
            began = time.perf_counter()
    finish(side.device)
    return (cpu_seconds() - before) / steps, (time.perf_counter() - began) / args.loaded_steps


def peak_memory(step: Callable[[], object], device: torch.device) -> str:
    """Of a GPU during a step, after one to warm up; of the CPU nothing is known, both sides share a process."""
    step()
    if device.type != "cuda":
        return ""
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return f"  peak memory {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB"


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


def report(seconds: Seconds, args: argparse.Namespace, memory: dict[str, str], what: str) -> Iterator[str]:
    """Lines: each side's medians, and the ratio of the two over the rounds."""
    gpu = args.device == "cuda"
    for side, both in seconds.items():
        cpu, wall = (statistics.median(column) for column in zip(*both, strict=True))
        share = f" ({args.batch / wall / PAPER[args.method]:.2f} of 8 V100)" if gpu else ""
        rate = f"{args.batch / wall:7.1f} images/s{share}{memory.get(side, '')}"
        yield f"{side + what:<16} CPU {cpu:7.3f} s  wall {wall:7.3f} s  {rate}"
    word, clock = ("wall", 1) if gpu else ("CPU", 0)  # a GPU's work is not the process's CPU time
    ratios = [one[clock] / other[clock] for one, other in zip(*seconds.values(), strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds)"
    yield f"literal / ours{what}, {word} time: {spread}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--method", default="clsa_single", choices=sorted(PAPER))
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--batch", type=int, help="default: 256 on a GPU, 8 on the CPU")
    parser.add_argument("--queue", type=int, help="default: 65536 on a GPU, 4096 on the CPU")
    parser.add_argument("--scale", type=float, help="of the views' sizes; default: 1 on a GPU, 0.5 on the CPU")
    parser.add_argument("--rounds", type=int, help="default: 20 on a GPU, 5 on the CPU")
    parser.add_argument("--compile", action="store_true", help="ours with SOLVER.COMPILE")
    parser.add_argument("--augment-on", default="auto", choices=["auto", "device", "workers"], help="DATA.AUGMENT_ON")
    parser.add_argument("--images", default="", metavar="DIR", help="also load its JPEGs; made: some made on the spot")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--decoder", default="pil", choices=["pil", "simplejpeg"], help="DATA.DECODER")
    parser.add_argument("--loaded-rounds", type=int, default=3)
    parser.add_argument("--loaded-steps", type=int, help="of a round; default: 50 on a GPU, 5 on the CPU")
    parser.add_argument("--warm-up", type=int, help="steps; default: 2 for each worker on a GPU, 1 on the CPU")
    parser.add_argument("--threads", type=int, default=1, help="on the CPU")
    args = parser.parse_args()
    defaults = [("batch", 256, 8), ("queue", 65536, 4096), ("scale", 1.0, 0.5), ("rounds", 20, 5)]
    defaults += [("loaded_steps", 50, 5), ("warm_up", 2 * args.workers, 1)]
    for name, of_gpu, of_cpu in defaults:
        if getattr(args, name) is None:
            setattr(args, name, of_gpu if args.device == "cuda" else of_cpu)
    return args


def main() -> None:
    args = parse()
    device = torch.device(args.device)
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    handed = drawn_views(config(args), device)
    sizes = " ".join(str(view.pixels.shape[1]) for view in handed)
    print(f"{args.method}, ResNet-{args.depth}, batch {args.batch}, queue {args.queue}, views {sizes}, {args.device}")

    literal, exact = LiteralSide(config(args), device, args.scale), OurSide(config(args), device)
    views = [pinned(view, device) for view in exact.normalise.together(handed)]
    values = literal.step(views), exact.step(handed).item()
    print(f"loss of the first step, both float32: literal {values[0]:.6f}, ours {values[1]:.6f}")
    if abs(values[0] - values[1]) > 1e-4 * abs(values[0]):
        raise SystemExit("the two sides do not compute the same")
    del exact

    ours = OurSide(config(args, *FAST, "SOLVER.COMPILE", args.compile), device)
    steps = {"literal": lambda: literal.step(views), "ours": lambda: ours.step(handed)}
    memory = {side: peak_memory(step, device) for side, step in steps.items()}
    without_waiting(steps["ours"], device)
    seconds = {side: [] for side in steps}
    for _ in range(args.rounds):
        for side, step in steps.items():
            seconds[side].append(timed(step, device))
    print(*report(seconds, args, memory, ""), sep="\n")
    if args.images:
        with tempfile.TemporaryDirectory() as folder:
            paths = write_jpegs(Path(folder), 64) if args.images == "made" else find_jpegs(args.images)
            seconds = {"literal": [], "ours": []}
            for _ in range(args.loaded_rounds):
                for name, side in zip(seconds, (literal, ours), strict=True):
                    seconds[name].append(timed_with_loader(side, paths, args))
            print(*report(seconds, args, {}, ", loaded"), sep="\n")


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
