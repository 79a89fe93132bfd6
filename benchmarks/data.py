"""The loader's CPU time for a sample, beside that of the paper's public code's way of working.

    python benchmarks/data.py
    python benchmarks/data.py --method clsa_multi
    python benchmarks/data.py --images imagenet/val --rounds 3

Both sides run in turn, in loaders with one worker, over the same JPEGs, from the file to the batch that the training
loop receives. Time is CPU time of the loader's two processes; what the training process does later on a GPU is not in
it. The literal side is a plain reading of the public code: torchvision's transforms on the whole image for each view;
weak operations before the strong ones; for CLSA-Single five views (key 224, weak 224 and 96, strong 224 and 96), of
which training uses three, for CLSA-Multi eleven (key, five weak, five strong); float32, normalised in the worker. Ours
decodes once and makes the three, or seven, views of the paper's method:

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

At the end: for the same draws, the largest
difference of the literal transforms' result from what the training loop makes of our batches, and the differences of
simplejpeg's crops.
"""

import argparse
import random
import resource
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.transforms import functional as TF
from tqdm import tqdm

from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.pretrain.augment import DrawnView, apply, build_views
from clsa.pretrain.config import get_cfg
from clsa.pretrain.data import PIXEL_MEAN, PIXEL_STD, Normalise, ViewDataset, batches
from clsa.pretrain.decoding import DECODERS
from clsa.pretrain.sources import ImageFiles
from clsa.pretrain.strong_augment import POOLS

CONFIGS = {"clsa_single": "clsa_single_200ep", "clsa_multi": "clsa_multi_200ep"}
CPU = torch.device("cpu")
FINISH = transforms.Compose(
    [
        transforms.ToTensor(),
        transforms.Normalize([mean / 255 for mean in PIXEL_MEAN], [std / 255 for std in PIXEL_STD]),
    ]
)


class PillowBlur:
    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class TenthsOfFourteen:
    """Five rounds of one of 14 operations with probability 0.5, magnitudes in tenths."""

    def __call__(self, image: Image.Image) -> Image.Image:
        for operation in random.choices(POOLS["identity"], k=5):
            if random.random() < 0.5:
                image = operation.apply(image, operation.draw(self.chance, "tenths"))
        return image

    chance = np.random.default_rng(0)


def literal_views(method: str) -> list[transforms.Compose]:
    """The public code's transforms of one image."""
    sizes, scales = (224, 96), ((0.2, 1.0), (0.086, 0.429))
    if method == "clsa_multi":
        sizes = (224, 192, 160, 128, 96)
        scales = ((0.2, 1.0), (0.172, 0.86), (0.143, 0.715), (0.114, 0.571), (0.086, 0.429))

    def view(size: int, scale: tuple[float, float], strong: bool) -> transforms.Compose:
        return transforms.Compose(
            [
                transforms.RandomResizedCrop(size, scale),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
                transforms.RandomGrayscale(0.2),
                transforms.RandomApply([PillowBlur()], 0.5),
                transforms.RandomHorizontalFlip(),
                *([TenthsOfFourteen()] if strong else []),
                FINISH,
            ]
        )

    crops = list(zip(sizes, scales, strict=True))
    return [
        view(224, (0.2, 1.0), False),
        *(view(*crop, False) for crop in crops),
        *(view(*crop, True) for crop in crops),
    ]


class LiteralDataset(Dataset):
    def __init__(self, paths: list[str], method: str) -> None:
        self.paths, self.views = paths, literal_views(method)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        with open(self.paths[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        return [view(image) for view in self.views]


def cpu_seconds() -> float:
    """Of this process and of its children that have ended: the loaders' workers."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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


def write_jpegs(folder: Path, count: int) -> list[str]:
    """500 x 375 images of smooth shapes, edges and grain, about 100 kB each: a photograph's size in ImageNet."""
    chance, paths = np.random.default_rng(0), []
    for number in range(count):
        pixels = np.zeros((375, 500, 3))
        for coarse in (4, 16, 64):
            patches = Image.fromarray(chance.integers(0, 256, (3 * coarse, 4 * coarse, 3), dtype=np.uint8))
            pixels += np.asarray(patches.resize((500, 375), chance.choice([0, 3]))) / 3
        pixels += chance.normal(0, 6, pixels.shape)
        paths.append(str(folder / f"{number:04d}.JPEG"))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


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
        if args.images:
            found = sorted(p for p in Path(args.images).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
            paths = [str(path) for path in found[: args.count]]
        else:
            paths = write_jpegs(Path(folder), args.count)
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
