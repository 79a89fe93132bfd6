"""Batched operations beside Pillow's, operation by operation: are the pixels the same, and what does it cost?

    python benchmarks/augment.py
    python benchmarks/augment.py --device cuda --batch 256
    python benchmarks/augment.py --hue-cube

Every operation is carried out on the same crops with a magnitude for each crop, drawn as in training: by Pillow, crop
by crop, and in one batch on the device; then whole weak and strong views, from the same draws. Time is per crop: CPU
time of the process for Pillow and for a batch on the CPU, and the time until the device has finished for a GPU. Both
sides run in turn; the medians are printed. --hue-cube also compares the hue's shift for all 16.7 million colours.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from clsa.pretrain.augment import VOCABULARY, DrawnView, apply, build_views, draw_jitter
from clsa.pretrain.batched_augment import apply_batch, encode
from clsa.pretrain.batched_operations import hue
from clsa.pretrain.config import get_cfg


def make_crops(count: int, side: int, chance: np.random.Generator) -> np.ndarray:
    """uint8 count x side x side x 3: smooth shapes, every other one with grain."""
    crops = []
    for number in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        if number % 2:
            pixels = pixels + chance.integers(-20, 21, pixels.shape)
        crops.append(pixels.clip(0, 255).astype(np.uint8))
    return np.stack(crops)


def drawn_magnitude(operation, chance: np.random.Generator) -> float:
    """One as in training: of the strong table's range or of the weak operations'."""
    weak = get_cfg().WEAK
    if operation.name == "Hue":
        return {op.name: factor for op, factor in draw_jitter(chance, weak.JITTER)}["Hue"]
    if operation.name == "Blur":
        return chance.uniform(*weak.BLUR_SIGMA)
    if operation.name in ("Brightness", "Contrast", "Color") and chance.random() < 0.5:
        return chance.uniform(1, 1 + weak.JITTER[0])  # the jitter's half of brighter ones
    return operation.draw(chance, "uniform")


def by_pillow(crops: np.ndarray, drawn: list[DrawnView]) -> np.ndarray:
    views = zip(crops, drawn, strict=True)
    return np.stack([np.asarray(apply(Image.fromarray(crop), view.operations)) for crop, view in views])


def in_a_batch(crops: torch.Tensor, encoded: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    result = apply_batch(crops, *encoded)
    if crops.device.type == "cuda":
        torch.cuda.synchronize()
    return result


def compare(name: str, crops: np.ndarray, drawn: list[DrawnView], device: torch.device, rounds: int) -> str:
    """One line of the table."""
    on_device, encoded = torch.from_numpy(crops).to(device), encode(drawn)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    in_a_batch(on_device, encoded)
    pillow, batched = [], []
    for _ in range(rounds):
        start = time.process_time()
        expected = by_pillow(crops, drawn)
        pillow.append(time.process_time() - start)
        start = clock()
        result = in_a_batch(on_device, encoded)
        batched.append(clock() - start)
    apart = np.abs(result.cpu().numpy().astype(np.int16) - expected)
    of_pillow, of_batch = (1000 * statistics.median(seconds) / len(crops) for seconds in (pillow, batched))
    return f"{name:<14} {apart.max():7d} {(apart > 0).mean():11.4%} {of_pillow:11.3f} {of_batch:12.3f}"


def hue_cube(device: torch.device) -> int:
    """How many of all colours come out differently, for three shifts."""
    operation = next(operation for operation in VOCABULARY if operation.name == "Hue")
    levels, wrong = np.arange(256, dtype=np.uint8), 0
    for red in tqdm(levels, desc="reds", disable=None):
        plane = np.stack(np.meshgrid([red], levels, levels, indexing="ij"), axis=-1)[0]
        for shift in (0, 25, -94):
            expected = np.asarray(operation.apply(Image.fromarray(plane), (shift + 0.5 * np.sign(shift)) / 255))
            result = hue(torch.from_numpy(plane[None]).to(device), torch.tensor([[float(shift)]], device=device))
            wrong += int((result[0].cpu().numpy() != expected).any(axis=-1).sum())
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hue-cube", action="store_true", help="compare the hue's shift for every colour there is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device, chance = torch.device(args.device), np.random.default_rng(0)
    crops = make_crops(args.batch, args.size, chance)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
    print(f"{args.batch} crops of {args.size} x {args.size}, a magnitude for each; batches on {where}")
    print(f"{'':<14} {'largest':>7} {'values that':>11} {'Pillow':>11} {'batch':>12}")
    print(f"{'operation':<14} {'apart':>7} {'differ':>11} {'ms a crop':>11} {'ms a crop':>12}")
    box = (0, 0, args.size, args.size)
    for operation in VOCABULARY[1:]:
        drawn = [DrawnView(box, ((operation, drawn_magnitude(operation, chance)),)) for _ in crops]
        print(compare(operation.name, crops, drawn, device, args.rounds), flush=True)
    cfg = get_cfg()
    cfg.STRONG.WEAK_FIRST = True
    weak, _, weak_then_strong = build_views(cfg)
    cfg.STRONG.WEAK_FIRST = False
    strong = build_views(cfg)[-1]
    for name, view in (("weak view", weak), ("strong view", strong), ("weak + strong", weak_then_strong)):
        drawn = [view.draw((args.size, args.size), chance) for _ in crops]
        print(compare(name, crops, drawn, device, args.rounds), flush=True)
    if args.hue_cube:
        print(f"hue, all 16777216 colours, shifts 0, 25 and -94 of 255: {hue_cube(device)} colours differ")


if __name__ == "__main__":
    main()
