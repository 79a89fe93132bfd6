"""For the benchmarks that load images: which ones, and the CPU time with the loader's workers."""

import resource
from pathlib import Path

import numpy as np
from PIL import Image


def cpu_seconds() -> float:
    """Of this process and of its children that have ended: the loaders' workers."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def find_jpegs(folder: str) -> list[str]:
    """Paths of the JPEGs in ``folder``, at any depth."""
    return [str(path) for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]


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
