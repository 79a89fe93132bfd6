"""How an image becomes the square that a backbone sees: no randomness, so that features can be computed once.

``square`` keeps all of the image and loses its aspect (vissl's SVM benchmark). ``center_crop`` keeps the aspect and
loses the border (torchvision's evaluation). Objects at the border make the two different measurements. ``ten_crop`` is
the four corners and the centre, and their mirror images, of the image whose shorter side was resized; the ten features
are averaged before anything else is done with them. DeepCluster's VOC07 evaluation sums the classifier's scores over
these ten crops instead: for a linear classifier the same ranking, except where each feature row is normalised first.
"""

from collections.abc import Callable

import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, TenCrop, ToTensor
from torchvision.transforms.functional import normalize, pil_to_tensor

from clsa.configs.command import InputError

TRANSFORMS = ("square", "center_crop", "ten_crop")
INTERPOLATIONS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}

#: Of RGB in [0, 1]; what torchvision's, MoCo's and CLSA's backbones were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build_geometry(cfg: CfgNode) -> Compose:
    """PIL image -> PIL image of SIZE x SIZE (``ten_crop``: a tuple of ten), resized with antialiasing, as PIL does.

    Args:
        cfg: the ``FEATURES`` node.
    """
    if cfg.SIZE < 32 or cfg.RESIZE < cfg.SIZE:
        raise InputError(
            f"FEATURES.SIZE {cfg.SIZE} and FEATURES.RESIZE {cfg.RESIZE}: SIZE must be at least 32, "
            "and RESIZE at least SIZE"
        )
    if cfg.INTERPOLATION not in INTERPOLATIONS:
        raise InputError(
            f"FEATURES.INTERPOLATION {cfg.INTERPOLATION!r} is unknown. Give {' or '.join(INTERPOLATIONS)}."
        )
    interpolation = INTERPOLATIONS[cfg.INTERPOLATION]
    shorter_side = Resize(cfg.RESIZE, interpolation)
    if cfg.TRANSFORM == "square":
        return Compose([shorter_side, Resize((cfg.SIZE, cfg.SIZE), interpolation)])
    if cfg.TRANSFORM == "center_crop":
        return Compose([shorter_side, CenterCrop(cfg.SIZE)])
    if cfg.TRANSFORM == "ten_crop":
        return Compose([shorter_side, TenCrop(cfg.SIZE)])
    raise InputError(f"FEATURES.TRANSFORM {cfg.TRANSFORM!r} is unknown. Give one of {', '.join(TRANSFORMS)}.")


def build_network_input(cfg: CfgNode) -> Compose:
    """PIL image -> float32 tensor (3, SIZE, SIZE), RGB, in ImageNet's mean and deviation; not for ten crops."""
    return Compose([build_geometry(cfg), ToTensor(), Normalize(IMAGENET_MEAN, IMAGENET_STD)])


def build_pixels(cfg: CfgNode) -> Callable[[Image.Image], torch.Tensor]:
    """PIL image -> uint8 tensor (3, SIZE, SIZE), or (10, 3, SIZE, SIZE).

    A quarter of the bytes that a float tensor would take from a decoding process to the network.
    """
    return Compose([build_geometry(cfg), _stack if cfg.TRANSFORM == "ten_crop" else pil_to_tensor])


def normalise_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, S, S) on any device -> what :func:`build_network_input` gives."""
    return normalize(pixels.float() / 255, IMAGENET_MEAN, IMAGENET_STD, inplace=True)


def describe_transform(cfg: CfgNode) -> str:
    """What a result says of it, and what the cache's key holds."""
    last = {
        "square": f"resize to {cfg.SIZE}x{cfg.SIZE}",
        "center_crop": f"centre crop {cfg.SIZE}",
        "ten_crop": f"mean feature of ten crops {cfg.SIZE}",
    }
    return f"{cfg.TRANSFORM}: shorter side {cfg.RESIZE}, {last[cfg.TRANSFORM]}, {cfg.INTERPOLATION} with antialiasing"


def _stack(crops: tuple[Image.Image, ...]) -> torch.Tensor:
    return torch.stack([pil_to_tensor(crop) for crop in crops])
