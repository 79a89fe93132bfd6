"""The loader's CPU time for a sample, beside that of the paper's public code's way of working.

    python benchmarks/data.py
    python benchmarks/data.py --method clsa_multi
    python benchmarks/data.py --images imagenet/val --rounds 3

Both sides run in turn, in loaders with one worker, over the same JPEGs, from the file to the batch that the training
loop receives. Time is CPU time of the loader's two processes; what the training process does later on a GPU is not in
it. The literal side is ``literal_loader``: of the views that it makes for CLSA-Single, five, training uses three; for
CLSA-Multi it makes eleven. Ours decodes once and makes the three, or seven, views of the paper's method:

    device     the worker crops; the crops travel as uint8, with the operations that the GPU is to do on them
    workers    the worker does the operations as well, as it must where there is no GPU

each with Pillow (crops exactly torchvision's) and with simplejpeg. A worker's start counts, on both sides.

One core of an AMD EPYC with AVX-512, beside other jobs, Pillow 13.0, PyTorch 2.14, literal / ours, median of five
rounds (lowest to highest):

                          CLSA-Single            CLSA-Multi
    device, pil           5.4 (5.3 to 5.7)        6.0 (5.6 to 6.7)
    device, simplejpeg    8.3 (8.1 to 9.2)       11.5 (8.6 to 13.7)
    workers, pil          2.3 (2.1 to 2.3)        3.0 (2.7 to 3.4)
    workers, simplejpeg   2.4 (2.2 to 2.7)        3.6 (3.2 to 4.0)

Of a worker's time for Single with Pillow a third is decoding and half is resampling; with simplejpeg half is decoding.

At the end: for the same draws, the largest difference of the literal transforms' result from what the training loop
makes of our batches, and the differences of simplejpeg's crops.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from literal_loader import FINISH, LiteralDataset
from loaded_images import cpu_seconds, find_jpegs, write_jpegs
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import functional as TF
from tqdm import tqdm

from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.pretrain.augment import DrawnView, apply, build_views
from clsa.pretrain.config import get_cfg
from clsa.pretrain.data import Normalise, ViewDataset, batches
from clsa.pretrain.decoding import DECODERS
from clsa.pretrain.sources import ImageFiles

CONFIGS = {"clsa_single": "clsa_single_200ep", "clsa_multi": "clsa_multi_200ep"}
CPU = torch.device("cpu")


def literal_epoch(paths: list[str], args: argparse.Namespace) -> None:
    dataset = Subset(LiteralDataset(paths, args.method), torch.randperm(len(paths)).tolist())
    for _ in DataLoader(dataset, args.batch, num_workers=1, drop_last=True):
        pass


def our_epoch(paths: list[str], cfg: CfgNode, augment_on: str, decoder: str) -> None:
    cfg = cfg.clone()
    cfg.DATA.AUGMENT_ON, cfg.DATA.DECODER = augment_on, decoder
    for _ in batches(cfg, ImageFiles(paths), Process(0, 1, CPU), 0, len(paths) // cfg.SOLVER.BATCH_SIZE):
        pass


def literal_of_drawn(image: Image.Image, drawn: DrawnView, size: int) -> torch.Tensor:
    """By torchvision and Pillow, what ``drawn`` says: 3 x S x S."""
    left, top, right, bottom = drawn.box
    crop = TF.resized_crop(image, top, left, bottom - top, right - left, [size, size], antialias=True)
    return FINISH(apply(crop, drawn.operations))


def largest_difference(paths: list[str], cfg: CfgNode) -> float:
    """Of the normalised views of some images, between the literal transforms and ours, batched operations included."""
    normalise, views, largest = Normalise(CPU, channels_last=False), build_views(cfg), 0.0
    dataset = ViewDataset(ImageFiles(paths), views, cfg.SEED, DECODERS["pil"], operate=False)
    for index, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        ours = [normalise(view)[0] for view in dataset.views_of(dataset[[(0, index)]])]
        for number, drawn in enumerate(dataset.draw(image.size, 0, index)):
            literal = literal_of_drawn(image, drawn, views[number].size)
            largest = max(largest, (ours[number] - literal).abs().max().item())
    return largest


def decoders_apart(paths: list[str], cfg: CfgNode) -> tuple[int, float, float]:
    """simplejpeg's crops beside Pillow's: largest and mean difference in grey levels, share of values that differ."""
    differences = []
    for number, path in enumerate(paths):
        data, chance = Path(path).read_bytes(), np.random.default_rng(number)
        one, other = (DECODERS[name](data, path) for name in ("pil", "simplejpeg"))
        for view in build_views(cfg):
            box = view.draw(one.size, chance).box
            crops = [decoded.crop(box, view.size).astype(np.int16) for decoded in (one, other)]
            differences.append(np.abs(crops[0] - crops[1]).ravel())
    joined = np.concatenate(differences)
    return int(joined.max()), float(joined.mean()), float((joined > 0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=sorted(CONFIGS), default="clsa_single")
    parser.add_argument(
        "--images", metavar="DIR", help="JPEGs of this folder, at any depth (default: made on the spot)"
    )
    parser.add_argument("--count", type=int, default=64, help="different images")
    parser.add_argument(
        "--repeat", type=int, default=16, help="how often an epoch has each, so that the start is little"
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = load_config(get_cfg(), f"configs/pretrain/{CONFIGS[args.method]}.yaml", [])
    cfg.defrost()
    cfg.SOLVER.BATCH_SIZE, cfg.DATA.WORKERS = args.batch, 1

    with tempfile.TemporaryDirectory() as folder:
        paths = find_jpegs(args.images)[: args.count] if args.images else write_jpegs(Path(folder), args.count)
        few = paths[:8]
        paths *= args.repeat
        sides = {"literal": lambda: literal_epoch(paths, args)}
        for augment_on in ("device", "workers"):
            for decoder in DECODERS:
                sides[f"{augment_on}, {decoder}"] = lambda a=augment_on, d=decoder: our_epoch(paths, cfg, a, d)
        samples = len(paths) // args.batch * args.batch
        seconds = {side: [] for side in sides}
        our_epoch(paths[: args.batch], cfg, "device", "simplejpeg")  # libraries' first use
        for _ in tqdm(range(args.rounds), desc="rounds", disable=None):
            for side, epoch in sides.items():
                before = cpu_seconds()
                epoch()
                seconds[side].append(cpu_seconds() - before)
        size = statistics.mean(Path(path).stat().st_size for path in paths) / 1000
        print(
            f"{args.method}, {samples} JPEGs of {Image.open(paths[0]).size}, mean {size:.0f} kB, {args.rounds} rounds"
        )
        for side, of_side in seconds.items():
            ratios = [a / b for a, b in zip(seconds["literal"], of_side, strict=True)]
            print(
                f"{side:<20} {1000 * statistics.median(of_side) / samples:6.2f} ms CPU a sample "
                f"({1000 * min(of_side) / samples:.2f} to {1000 * max(of_side) / samples:.2f}), "
                f"literal / this {statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        print(f"same draws, pil: normalised views differ by {largest_difference(few, cfg):.1e} at most")
        largest, mean, share = decoders_apart(few, cfg)
        print(
            f"simplejpeg's crops: at most {largest}, on average {mean:.3f} grey levels apart, in {share:.1%} of values"
        )


if __name__ == "__main__":
    main()
