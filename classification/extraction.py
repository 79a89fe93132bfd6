"""Images of one split through a frozen network, batch by batch, into arrays that a killed process can go on with.

N images, D feature dimensions, S input side
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.datasets.images import open_rgb

from .feature_cache import CachedSplit
from .labels import LabelledSplit
from .layers import pooled_layers
from .transforms import normalise_pixels

SECONDS_BETWEEN_SAVES = 20

#: FEATURES.PRECISION -> type of the stored features. full: float32 throughout. half: matrix products under autocast, in
#: float16 on a GPU and bfloat16 elsewhere (CPUs have no fast float16), BatchNorm's and the pools' sums in float32.
STORED_TYPES = {"full": np.dtype(np.float32), "half": np.dtype(np.float16)}


@dataclass
class Speed:
    """What extraction took: images done here, seconds in all, and seconds in which the network waited for images."""

    images: int = 0
    seconds: float = 0.0
    waiting: float = 0.0


class ImageList(Dataset):
    """Item i: ``function`` of the i-th image, decoded as RGB."""

    def __init__(self, paths: Sequence[Path], function: Callable[[Image.Image], torch.Tensor | np.ndarray]) -> None:
        self.paths = paths
        self.function = function

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.as_tensor(self.function(open_rgb(self.paths[index])))


def network_features(
    network: nn.Module, pixels: torch.Tensor, layers: Sequence[str], precision: str, device: str
) -> dict[str, torch.Tensor]:
    """Pooled features (N, D) float32 of each layer.

    Args:
        pixels: (N, 3, S, S) uint8; or (N, 10, 3, S, S), whose features are averaged over the crops.
    """
    crops = pixels.shape[1] if pixels.ndim == 5 else 1
    images = normalise_pixels(pixels.to(device, non_blocking=True).flatten(0, -4))
    kind = torch.device(device).type
    half = torch.float16 if kind == "cuda" else torch.bfloat16
    with torch.autocast(kind, half, enabled=precision == "half"):
        found = pooled_layers(network, images.contiguous(memory_format=torch.channels_last), layers)
    return {name: x.float().unflatten(0, (-1, crops)).mean(dim=1) for name, x in found.items()}


@torch.inference_mode()
def extract_split(
    compute: Callable[[torch.Tensor, Sequence[str]], Mapping[str, torch.Tensor]],
    split: LabelledSplit,
    item: Callable[[Image.Image], torch.Tensor | np.ndarray],
    layers: Sequence[str],
    cfg: CfgNode,
    cached: CachedSplit | None,
    speed: Speed,
) -> dict[str, np.ndarray]:
    """Arrays (N, D) by layer, rows in the order of the split; from ``cached`` what is there, and into it the rest.

    Args:
        compute: batch of items, layers -> features (batch, D) by layer.
        item: RGB image -> item.
        cfg: the ``FEATURES`` node.
        speed: is added to.
    """
    if cached is None:
        return _fill(compute, split, item, layers, cfg, None, speed)
    with cached.locked():
        missing = [layer for layer in layers if cached.complete(layer) is None]
        if missing:
            _fill(compute, split, item, missing, cfg, cached, speed)
            cached.finish(missing)
        return {layer: cached.complete(layer) for layer in layers}


def _fill(compute, split, item, layers, cfg, cached: CachedSplit | None, speed: Speed) -> dict[str, np.ndarray]:
    dtype = STORED_TYPES[cfg.PRECISION]
    done = cached.resumable_rows(layers, cfg.BATCH_SIZE) if cached else 0
    arrays = {layer: cached.open_partial(layer) for layer in layers} if done else {}
    started = saved = time.perf_counter()
    with tqdm(total=len(split.paths), initial=done, desc=f"features, {split.name}", unit="image", leave=False) as bar:
        for items, waited in _batches(split.paths, item, cfg, done):
            for layer, rows in compute(items, layers).items():
                if layer not in arrays:
                    shape = (len(split.paths), rows.shape[1])
                    arrays[layer] = cached.create_partial(layer, shape[1], dtype) if cached else np.empty(shape, dtype)
                rows = rows.cpu().numpy()
                with np.errstate(over="ignore"):  # infinite in float16: refused by the next line
                    arrays[layer][done : done + len(rows)] = rows
                _refuse_broken(arrays[layer][done : done + len(rows)], layer, split, done, cfg.PRECISION)
            done += len(items)
            bar.update(len(items))
            speed.images += len(items)
            speed.waiting += waited
            if cached and time.perf_counter() - saved > SECONDS_BETWEEN_SAVES:
                cached.save_progress(arrays, done, cfg.BATCH_SIZE)
                saved = time.perf_counter()
    if cached:
        cached.save_progress(arrays, done, cfg.BATCH_SIZE)
    speed.seconds += time.perf_counter() - started
    return arrays


def _batches(paths: Sequence[Path], item: Callable, cfg: CfgNode, start: int) -> Iterator[tuple[torch.Tensor, float]]:
    """Batches from image ``start`` on, each with the seconds that it was waited for."""
    images = Subset(ImageList(paths, item), range(start, len(paths)))
    loader = iter(DataLoader(images, batch_size=cfg.BATCH_SIZE, num_workers=cfg.WORKERS, pin_memory=_pins(cfg)))
    while True:
        asked = time.perf_counter()
        batch = next(loader, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - asked


def _pins(cfg: CfgNode) -> bool:
    return torch.cuda.is_available() and cfg.DEVICE != "cpu"


def _refuse_broken(rows: np.ndarray, layer: str, split: LabelledSplit, start: int, precision: str) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        raise InputError(
            f"{layer} features of {split.name} are not finite, the first those of image "
            f"{split.image_ids[start + broken[0]]}. The weights hold broken numbers, or were trained for another input "
            "scale" + ("; or they exceed float16's 65504: FEATURES.PRECISION full." if precision == "half" else ".")
        )
