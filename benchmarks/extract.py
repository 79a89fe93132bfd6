"""How fast are frozen features extracted, and which share of it is decoding?

    python benchmarks/extract.py                     # ResNet-50, 224 px, 48 images, under a minute on one core
    python benchmarks/extract.py --images 512 --device cuda --workers 8

VOC's images are JPEGs of about 500 x 375 pixels and 85 KB; as many bytes are made here from smoothed noise. On a CPU,
decoding and the network run one after the other in one process, as in `clsa-classify extract` with FEATURES.WORKERS 0:
their CPU times add up. On a GPU the images are decoded by worker processes, and the share is that of the time in which
the GPU waited for them.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clsa.classification.config import get_cfg
from clsa.classification.extraction import ImageList, Speed, extract_split, network_features
from clsa.classification.labels import LabelledSplit
from clsa.classification.layers import LAYERS
from clsa.classification.transforms import build_pixels
from clsa.convert.backbone_file import build_trunk
from clsa.datasets.images import open_rgb


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=4, help="on a GPU; a CPU decodes in the main process")
    parser.add_argument("--threads", type=int, default=1, help="of the network on a CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    on_gpu = not args.device.startswith("cpu")

    cfg = get_cfg().FEATURES
    cfg.BATCH_SIZE, cfg.DEVICE, cfg.WORKERS = args.batch_size, args.device, args.workers if on_gpu else 0
    network = build_trunk(50).eval().to(args.device, memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_images(Path(folder), args.images)
        size = sum(path.stat().st_size for path in paths) / len(paths)
        print(f"{hardware(args)}; {len(paths)} JPEGs of 500 x 375, {size / 1000:.0f} KB each; ResNet-50, 224 px")
        if not on_gpu:
            decode = cpu_seconds(lambda: [open_rgb(path) for path in paths]) / len(paths)
            items = ImageList(paths, build_pixels(cfg))
            prepare = cpu_seconds(lambda: [items[index] for index in range(len(items))]) / len(paths)
            print(f"decoding {1000 * decode:.1f} ms of CPU an image, and resizing {1000 * (prepare - decode):.1f} ms")
        for layers in (("avgpool",), LAYERS):
            for precision in ("full", "half"):
                cfg.PRECISION = precision
                extract(network, paths[: args.batch_size], cfg, layers)  # allocate, choose kernels
                speed = Speed()
                cpu = cpu_seconds(lambda: extract(network, paths, cfg, layers, speed))  # noqa: B023
                what = f"{'all layers' if len(layers) > 1 else layers[0]}, {precision}:"
                if on_gpu:
                    waiting = speed.waiting / speed.seconds
                    print(f"{what:<18}{speed.images / speed.seconds:8.1f} images/s, {waiting:.0%} waiting for images")
                else:
                    each = cpu / len(paths)
                    print(
                        f"{what:<18}{1 / each:8.1f} images per CPU second ({1000 * each:.1f} ms each), decoding "
                        f"{decode / each:.1%}, with resizing {prepare / each:.1%}"
                    )


def extract(network, paths: list[Path], cfg, layers: tuple[str, ...], speed: Speed | None = None) -> None:
    ids = tuple(path.stem for path in paths)
    split = LabelledSplit("images", ids, tuple(paths), ("none",), np.zeros((len(paths), 1), np.int8))
    extract_split(
        lambda pixels, layers: network_features(network, pixels, layers, cfg.PRECISION, cfg.DEVICE),
        split,
        build_pixels(cfg),
        layers,
        cfg,
        None,
        speed or Speed(),
    )


def draw_images(folder: Path, count: int) -> list[Path]:
    """Noise of several scales, which compresses about as well as a photograph."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        layers = []
        for side, weight in ((5, 1.0), (20, 0.7), (80, 0.45), (375, 0.22)):
            noise = Image.fromarray(rng.integers(0, 256, (side, side * 4 // 3, 3), dtype=np.uint8))
            layers.append(weight * (np.asarray(noise.resize((500, 375), Image.Resampling.BICUBIC), np.float32) - 128))
        pixels = np.clip(128 + sum(layers), 0, 255).astype(np.uint8)
        paths.append(folder / f"{number:06d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=85)
    return paths


def cpu_seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def hardware(args: argparse.Namespace) -> str:
    if not args.device.startswith("cpu"):
        return f"{torch.cuda.get_device_name(args.device)}, {args.workers} decoding processes"
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {args.threads} thread(s)"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


if __name__ == "__main__":
    main()
