"""Labelled splits to feature matrices, computed once and kept in memory.

N images, D feature dimensions
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.convert.backbone_file import Backbone, read_backbone
from clsa.datasets.images import open_rgb

from .backbone import asserted_frozen, build_frozen, reestimate_batch_norm
from .handmade import colour_histogram, hog
from .labels import LabelledSplit
from .transforms import build_geometry, build_network_input

HANDMADE = {"colour_histogram": colour_histogram, "hog": hog}
KINDS = ("backbone", *HANDMADE, "chance")


@dataclass(frozen=True)
class Features:
    """Float32 matrices (N, D) of the two splits, and what a result says about them."""

    train: np.ndarray
    test: np.ndarray
    weights: dict[str, Any]
    details: dict[str, Any]


class ImageList(Dataset):
    """Item i: ``function`` of the i-th image, decoded as RGB."""

    def __init__(self, paths: Sequence[Path], function: Callable[[Image.Image], torch.Tensor | np.ndarray]) -> None:
        self.paths = paths
        self.function = function

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.as_tensor(self.function(open_rgb(self.paths[index])))


def compute_features(
    cfg: CfgNode, weights: str | os.PathLike | None, train: LabelledSplit, test: LabelledSplit, seed: int
) -> Features:
    """The features of FEATURES.KIND for both splits.

    Args:
        cfg: the ``FEATURES`` node.
        weights: backbone weights in torchvision's names; None for the handmade kinds.
        seed: of the order of the images in the BatchNorm pass.

    Raises:
        InputError: weights of the wrong kind, an image that cannot be read, a device that is not there, features that
            are not finite.
    """
    details: dict[str, Any] = {"features": cfg.KIND, "transform": _describe_transform(cfg)}
    device = choose_device(cfg.DEVICE)
    network = nn.Identity().eval()
    if cfg.KIND == "backbone":
        backbone = read_backbone(weights, target="torchvision")
        network = build_frozen(backbone, device)
        item = build_network_input(cfg)
        record = describe_weights(backbone)
        if cfg.REESTIMATE_BN:
            shuffled = torch.Generator().manual_seed(seed)
            reestimate_batch_norm(network, _loader(train.paths, item, cfg, shuffle=shuffled), device)
        details |= {
            "layer": "global average pool",
            "batch_norm": f"re-estimated on {train.name}, seed {seed}" if cfg.REESTIMATE_BN else "as in the weights",
            "device": device,
        }
    else:
        item = _Handmade(cfg)
        record = {"file": None, "sha256": None}

    started = time.perf_counter()
    with asserted_frozen(network):
        matrices = [_extract(network, split, item, cfg, device) for split in (train, test)]
    seconds = time.perf_counter() - started
    details |= {
        "feature_dimensions": matrices[0].shape[1],
        "images_per_second": round((len(train.paths) + len(test.paths)) / seconds, 1),
    }
    return Features(*matrices, weights=record, details=details)


def choose_device(name: str, key: str = "FEATURES.DEVICE") -> str:
    """``auto`` becomes the first GPU or the CPU; a device that PyTorch does not have here is refused."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{key} {name!r} cannot be used here: {reason}. Give auto, cpu or cuda.") from error
    return name


def describe_weights(backbone: Backbone) -> dict[str, Any]:
    """What a result says of its weights: the file, and what the manifest beside it says of where it came from."""
    source = (backbone.manifest or {}).get("source") or {}
    return {
        "file": str(backbone.path),
        "sha256": backbone.sha256,
        "architecture": {"depth": backbone.depth, "width_per_group": backbone.width_per_group},
        "source": source or None,
        "method": source.get("method"),
    }


class _Handmade:
    """PIL image -> feature vector; a class, so that worker processes can be sent it."""

    def __init__(self, cfg: CfgNode) -> None:
        self.geometry = build_geometry(cfg)
        self.function = HANDMADE[cfg.KIND]

    def __call__(self, image: Image.Image) -> np.ndarray:
        return self.function(self.geometry(image))


def _loader(paths: Sequence[Path], item: Callable, cfg: CfgNode, shuffle: torch.Generator | None = None) -> DataLoader:
    return DataLoader(
        ImageList(paths, item),
        batch_size=cfg.BATCH_SIZE,
        num_workers=cfg.WORKERS,
        shuffle=shuffle is not None,
        generator=shuffle,
    )


@torch.inference_mode()
def _extract(network: nn.Module, split: LabelledSplit, item: Callable, cfg: CfgNode, device: str) -> np.ndarray:
    """Float32 (N, D) in the order of the split."""
    batches = []
    with tqdm(total=len(split.paths), desc=f"features, {split.name}", unit="image", leave=False) as progress:
        for batch in _loader(split.paths, item, cfg):
            batches.append(network(batch.to(device)).float().cpu())
            progress.update(len(batch))
    features = torch.cat(batches).numpy()
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if broken.size:
        raise InputError(
            f"{broken.size} of {len(features)} feature rows of {split.name} are not finite, the first that of image "
            f"{split.image_ids[broken[0]]}. The weights hold broken numbers, or were trained for another input scale."
        )
    return features


def _describe_transform(cfg: CfgNode) -> str:
    last = f"resize to {cfg.SIZE}x{cfg.SIZE}" if cfg.TRANSFORM == "square" else f"centre crop {cfg.SIZE}"
    return f"{cfg.TRANSFORM}: shorter side {cfg.RESIZE}, {last}"
