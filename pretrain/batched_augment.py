"""The views' operations on a batch of uint8 crops at once, where the crops are: with the pixels that Pillow makes.

Shapes:
    N: crops of one view in a batch
    S: side of a crop, in pixels
    R: operations of each view, one after the other
    M: of the N, the crops that undergo the same operation in one round
    P: numbers that an operation needs to know of each crop

It pays on a GPU; on a CPU, Pillow itself is quicker.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import batched_operations as on_pixels
from .augment import VOCABULARY, DrawnView

#: By the operation's name, its place in the vocabulary.
CODES = {operation.name: code for code, operation in enumerate(VOCABULARY)}


def encode(drawn: list[DrawnView]) -> tuple[Tensor, Tensor]:
    """The operations of N views as codes, uint8 N x R, and magnitudes, float64 N x R."""
    codes = [[CODES[operation.name] for operation, _ in view.operations] for view in drawn]
    magnitudes = [[magnitude for _, magnitude in view.operations] for view in drawn]
    return torch.tensor(codes, dtype=torch.uint8), torch.tensor(magnitudes, dtype=torch.float64)


def apply_batch(pixels: Tensor, codes: Tensor, magnitudes: Tensor) -> Tensor:
    """Carry out N x R operations (see :func:`encode`) on ``pixels``, uint8 N x S x S x 3 on any device; a new tensor.

    ``codes`` and ``magnitudes`` are on the CPU: which crops undergo what is known there, so nobody waits for the
    device. All that it must know of a round is sent in two copies.
    """
    pixels = pixels.clone()
    for codes_of_round, magnitudes_of_round in zip(codes.numpy().T, magnitudes.numpy().T, strict=True):
        groups = []
        for operation in BATCHED:
            rows = np.flatnonzero(np.isin(codes_of_round, operation.codes))
            if len(rows):
                settings = operation.settings(codes_of_round[rows], magnitudes_of_round[rows], pixels.shape[1])
                groups.append((operation, rows, settings))
        rows_on_device = _send([rows for _, rows, _ in groups], pixels.device)
        settings_on_device = _send([settings for _, _, settings in groups], pixels.device)
        for (operation, _, _), rows, settings in zip(groups, rows_on_device, settings_on_device, strict=True):
            changed = operation.apply(pixels.index_select(0, rows), settings)
            pixels.index_copy_(0, rows, changed)
    return pixels


def _send(arrays: list[np.ndarray], device: torch.device) -> list[Tensor]:
    """The arrays (equal dtype) on ``device``, in one copy."""
    if not arrays:
        return []
    joined = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    if device.type == "cuda":
        joined = joined.pin_memory().to(device, non_blocking=True)
    parts = joined.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


# What each operation needs to know: from the codes and magnitudes (M each) and S, a float64 M x P.


def _as_drawn(codes: np.ndarray, magnitudes: np.ndarray, side: int) -> np.ndarray:
    return magnitudes[:, None]


def _nothing(codes: np.ndarray, magnitudes: np.ndarray, side: int) -> np.ndarray:
    return np.empty((len(codes), 0))


def _bit_masks(codes: np.ndarray, magnitudes: np.ndarray, side: int) -> np.ndarray:
    return np.array([[float(~(2 ** (8 - int(bits)) - 1) & 255)] for bits in magnitudes])


def _hue_shifts(codes: np.ndarray, magnitudes: np.ndarray, side: int) -> np.ndarray:
    return (magnitudes * 255).astype(np.int32).astype(np.float64)[:, None]


def _matrices(codes: np.ndarray, magnitudes: np.ndarray, side: int) -> np.ndarray:
    """Of output pixels to input pixels, in 1 / 65536, for pixels counted by their corners."""
    return np.array([_matrix(VOCABULARY[c].name, float(m), side) for c, m in zip(codes, magnitudes, strict=True)])


def _matrix(name: str, magnitude: float, side: int) -> list[float]:
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    if name == "ShearX":
        b = magnitude
    elif name == "ShearY":
        d = magnitude
    elif name == "TranslateX":
        c = int(magnitude * side)
    elif name == "TranslateY":
        f = int(magnitude * side)
    else:  # Rotate, about the centre
        angle, centre = -math.radians(magnitude % 360.0), side / 2
        a, b, d, e = (round(v, 15) for v in (math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)))
        c, f = a * -centre + b * -centre + centre, d * -centre + e * -centre + centre
    to_middle = (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)
    return [math.floor(v * 65536 + 0.5) for v in to_middle]


def _tap_weights(codes: np.ndarray, sigmas: np.ndarray, side: int) -> np.ndarray:
    """Of the box filters' taps 0, 1, ... pixels away, in 1 / 2^24, by Pillow's single-precision formula."""
    one = np.float32(1)
    variance = sigmas.astype(np.float32) * sigmas.astype(np.float32) / np.float32(3)  # of each of three passes
    length = np.sqrt(12.0 * variance.astype(np.float64) + 1.0).astype(np.float32)
    whole = np.floor((length.astype(np.float64) - 1.0) / 2.0).astype(np.float32)  # the radius's whole part
    part = (2 * whole + one) * (whole * (whole + one) - 3 * variance)
    part /= 6 * (variance - (whole + one) * (whole + one))
    radius = whole + part
    inner = (np.float32(2**24) / (radius * 2 + one)).astype(np.int64)
    reach = radius.astype(np.int64)
    outer = (2**24 - (reach * 2 + 1) * inner) // 2
    weights = np.zeros((len(sigmas), reach.max() + 2))
    for row, (full, partial, taps) in enumerate(zip(inner, outer, reach, strict=True)):
        weights[row, : taps + 1], weights[row, taps + 1] = full, partial
    return weights


class Batched(NamedTuple):
    """One or several operations of the vocabulary, done together."""

    codes: list[int]
    apply: Callable[[Tensor, Tensor], Tensor]
    settings: Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _batched(names: str, apply: Callable, settings: Callable = _nothing) -> Batched:
    return Batched([CODES[name] for name in names.split()], apply, settings)


#: All of the vocabulary but Identity.
BATCHED = (
    _batched("Brightness", on_pixels.brightness, _as_drawn),
    _batched("Contrast", on_pixels.contrast, _as_drawn),
    _batched("Color", on_pixels.color, _as_drawn),
    _batched("Hue", on_pixels.hue, _hue_shifts),
    _batched("Gray", on_pixels.gray),
    _batched("Blur", on_pixels.blur, _tap_weights),
    _batched("Flip", on_pixels.flip),
    _batched("ShearX ShearY TranslateX TranslateY Rotate", on_pixels.affine, _matrices),
    _batched("AutoContrast", on_pixels.auto_contrast),
    _batched("Invert", on_pixels.invert),
    _batched("Equalize", on_pixels.equalize),
    _batched("Solarize", on_pixels.solarize, _as_drawn),
    _batched("Posterize", on_pixels.posterize, _bit_masks),
    _batched("Sharpness", on_pixels.sharpness, _as_drawn),
)
