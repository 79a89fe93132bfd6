"""``load_features``: labelled splits to feature matrices, computed by one forward pass or found in the cache.

N images, D feature dimensions

Every probe starts with::

    features = load_features(cfg.FEATURES, weights, [train, test], seed=cfg.SEED, cache=cache)
    train_x, test_x = features.matrices["avgpool"]     # by layer of FEATURES.LAYERS, then one a split: (N, D)
    features.weights, features.details                 # for the result: where the weights come from, what was done

A split needs no more than ``name``, ``image_ids`` and ``paths``. With a cache the matrices are read-only memory maps,
so a probe on ImageNet reads what it needs; float16 with FEATURES.PRECISION half.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch.utils.data import DataLoader

from clsa.configs.command import InputError
from clsa.convert.backbone_file import Backbone, read_backbone

from .backbone import asserted_frozen, build_frozen, reestimate_batch_norm
from .extraction import STORED_TYPES, ImageList, Speed, extract_split, network_features
from .feature_cache import CachedSplit, images_identity
from .handmade import colour_histogram, hog
from .labels import LabelledSplit
from .layers import POOLS, check_layers
from .transforms import build_geometry, build_network_input, build_pixels, describe_transform

HANDMADE = {"colour_histogram": colour_histogram, "hog": hog}
KINDS = ("backbone", *HANDMADE, "chance")

#: Counts up when the same weights and images would give other features.
FEATURES_VERSION = 1


@dataclass(frozen=True)
class Features:
    """``matrices``: layer -> one (N, D) array a split, float32 or float16, rows in the order of the split.

    ``weights`` and ``details`` say in a result where they come from; ``folders`` where they are cached, by split.
    """

    matrices: dict[str, tuple[np.ndarray, ...]]
    weights: dict[str, Any]
    details: dict[str, Any]
    folders: dict[str, str]


def load_features(
    cfg: CfgNode,
    weights: str | os.PathLike | None,
    splits: Sequence[LabelledSplit],
    seed: int = 0,
    cache: str | os.PathLike | None = None,
) -> Features:
    """The features of FEATURES.KIND and FEATURES.LAYERS for all splits.

    Args:
        cfg: the ``FEATURES`` node.
        weights: backbone weights in torchvision's names; None for the handmade kinds.
        splits: the first one is the one that FEATURES.REESTIMATE_BN takes its statistics from.
        seed: of the order of the images in the BatchNorm pass.
        cache: folder of cached features (see :mod:`.feature_cache`); None keeps them in memory. Handmade features,
            which take seconds, are not cached.

    Raises:
        InputError: weights of the wrong kind, an image that cannot be read, a device that is not there, features that
            are not finite, a layer that is too small for its pool.
    """
    check_settings(cfg)
    if cfg.KIND != "backbone":
        return _handmade(cfg, splits)
    device = choose_device(cfg.DEVICE)
    backbone = read_backbone(weights, target="torchvision")
    network = build_frozen(backbone, device)
    if cfg.REESTIMATE_BN:
        shuffled = torch.Generator().manual_seed(seed)
        images = ImageList(splits[0].paths, build_network_input(cfg))
        loader = DataLoader(images, cfg.BATCH_SIZE, shuffle=True, generator=shuffled, num_workers=cfg.WORKERS)
        reestimate_batch_norm(network, loader, device)

    caches = [
        None if cache is None else CachedSplit(cache, split.name, split.image_ids, identity)
        for split in splits
        for identity in [_identity(cfg, backbone, split, splits[0], seed, device)]
    ]
    speed, layers = Speed(), list(cfg.LAYERS)
    item = build_pixels(cfg)
    with asserted_frozen(network):
        by_split = [
            extract_split(
                lambda pixels, layers: network_features(network, pixels, layers, cfg.PRECISION, device),
                split,
                item,
                layers,
                cfg,
                cached,
                speed,
            )
            for split, cached in zip(splits, caches, strict=True)
        ]
    return Features(
        matrices={layer: tuple(arrays[layer] for arrays in by_split) for layer in layers},
        weights=describe_weights(backbone),
        details={
            "features": cfg.KIND,
            "transform": describe_transform(cfg),
            "layers": {layer: _describe_layer(layer, by_split[0][layer].shape[1]) for layer in layers},
            "precision": f"{cfg.PRECISION}, stored as {STORED_TYPES[cfg.PRECISION].name}",
            "batch_norm": f"re-estimated on {splits[0].name}, seed {seed}"
            if cfg.REESTIMATE_BN
            else "as in the weights",
            "device": device,
            **describe_speed(speed),
        },
        folders={s.name: str(c.folder) for s, c in zip(splits, caches, strict=True) if c is not None},
    )


def check_settings(cfg: CfgNode) -> None:
    """Refuse impossible values of the ``FEATURES`` node, before any image is read."""
    check_layers(cfg.LAYERS)
    if cfg.PRECISION not in STORED_TYPES:
        raise InputError(f"FEATURES.PRECISION {cfg.PRECISION!r} is unknown. Give {' or '.join(STORED_TYPES)}.")
    if cfg.BATCH_SIZE < 1 or cfg.WORKERS < 0:
        raise InputError(
            f"FEATURES.BATCH_SIZE {cfg.BATCH_SIZE} must be at least 1, FEATURES.WORKERS {cfg.WORKERS} at least 0"
        )
    if cfg.TRANSFORM == "ten_crop" and (cfg.REESTIMATE_BN or cfg.KIND in HANDMADE):
        what = "FEATURES.REESTIMATE_BN True" if cfg.REESTIMATE_BN else f"features {cfg.KIND}"
        raise InputError(f"{what} and FEATURES.TRANSFORM ten_crop do not go together. Give square or center_crop.")
    build_geometry(cfg)


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


def describe_speed(speed: Speed) -> dict[str, Any]:
    """Of what was computed now; null where all came from the cache."""
    return {
        "images_computed": speed.images,
        "images_per_second": round(speed.images / speed.seconds, 1) if speed.seconds else None,
        "share_of_time_waiting_for_images": round(speed.waiting / speed.seconds, 3) if speed.seconds else None,
    }


class _Handmade:
    """PIL image -> feature vector; a class, so that worker processes can be sent it."""

    def __init__(self, cfg: CfgNode) -> None:
        self.geometry = build_geometry(cfg)
        self.function = HANDMADE[cfg.KIND]

    def __call__(self, image: Image.Image) -> np.ndarray:
        return self.function(self.geometry(image))


def _handmade(cfg: CfgNode, splits: Sequence[LabelledSplit]) -> Features:
    """One "layer" named like the kind, so that a probe treats it as any other."""
    speed, item = Speed(), _Handmade(cfg)
    by_split = [
        extract_split(lambda vectors, layers: {cfg.KIND: vectors}, split, item, [cfg.KIND], cfg, None, speed)
        for split in splits
    ]
    matrices = tuple(arrays[cfg.KIND] for arrays in by_split)
    details = {
        "features": cfg.KIND,
        "transform": describe_transform(cfg),
        "layers": {cfg.KIND: {"dimensions": matrices[0].shape[1], "pool": "none"}},
        **describe_speed(speed),
    }
    return Features({cfg.KIND: matrices}, {"file": None, "sha256": None}, details, {})


def _identity(
    cfg: CfgNode, backbone: Backbone, split: LabelledSplit, bn_split: LabelledSplit, seed: int, device: str
) -> dict[str, Any]:
    """Everything that a row depends on; the layer is the file's name."""
    batch_norm: str | dict[str, Any] = "as in the weights"
    if cfg.REESTIMATE_BN:
        images = images_identity(bn_split.image_ids, bn_split.paths)
        batch_norm = {"images": images, "seed": seed, "batch_size": cfg.BATCH_SIZE}
    return {
        "features_version": FEATURES_VERSION,
        "weights_sha256": backbone.sha256,
        "batch_norm": batch_norm,
        "transform": describe_transform(cfg),
        "precision": cfg.PRECISION,
        "device": torch.device(device).type,
        "versions": {name: metadata.version(name) for name in ("torch", "torchvision", "pillow")},
        "images": images_identity(split.image_ids, split.paths),
    }


def _describe_layer(layer: str, dimensions: int) -> dict[str, Any]:
    if layer not in POOLS:
        return {"dimensions": dimensions, "pool": "global average"}
    kernel, stride, padding = POOLS[layer]
    return {"dimensions": dimensions, "pool": f"average, kernel {kernel}, stride {stride}, pad {padding}"}
