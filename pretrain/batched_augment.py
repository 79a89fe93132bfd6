"""The views' operations on a batch of uint8 crops at once, where the crops are: with the pixels that Pillow makes.

Shapes:
    N: crops of one view in a batch
    S: side of a crop, in pixels
    R: operations of each view, one after the other
    M: of the N, the crops that undergo the same operation at a time
    P: numbers that an operation needs to know of each crop

It pays on a GPU; on a CPU, Pillow itself is quicker.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import batched_operations as on_pixels
from .augment import VOCABULARY, DrawnView
from .batch_schedule import schedule
from .to_device import to_device

#: By the operation's name, its place in the vocabulary.
CODES = {operation.name: code for code, operation in enumerate(VOCABULARY)}


def encode(drawn: list[DrawnView]) -> tuple[Tensor, Tensor]:
    """The operations of N views as codes, uint8 N x R, and magnitudes, float64 N x R."""
    codes = [[CODES[operation.name] for operation, _ in view.operations] for view in drawn]
    magnitudes = [[magnitude for _, magnitude in view.operations] for view in drawn]
    return torch.tensor(codes, dtype=torch.uint8), torch.tensor(magnitudes, dtype=torch.float64)


def side_by_side(encoded: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Codes and magnitudes of several views, one view after the other; Identity fills the rounds that one lacks."""
    rounds = max(codes.shape[1] for codes, _ in encoded)
    padded = [
        [F.pad(part, (0, rounds - part.shape[1]), value=fill) for part in parts]
        for parts, fill in zip(zip(*encoded, strict=True), (CODES["Identity"], 0.0), strict=True)
    ]
    codes, magnitudes = (torch.cat(parts) for parts in padded)
    return codes, magnitudes


def apply_batch(pixels: Tensor, codes: Tensor, magnitudes: Tensor) -> Tensor:
    """Carry out N x R operations (see :func:`encode`) on ``pixels``, uint8 N x S x S x 3 on any device; a new tensor.

    ``codes`` and ``magnitudes`` are on the CPU: which crops undergo what is known there, so nobody waits for the
    device. All that it must know is sent in two copies.
    """
    codes, magnitudes, side = codes.numpy(), magnitudes.numpy(), pixels.shape[1]
    turns = schedule(KINDS[codes], [operation.launches for operation in BATCHED])
    settings = [
        BATCHED[kind].settings(codes[rows, rounds], magnitudes[rows, rounds], side) for kind, rows, rounds in turns
    ]
    rows_on_device = _send([turn.rows for turn in turns], pixels.device)
    settings_on_device = _send(settings, pixels.device)
    pixels = pixels.clone()
    for turn, rows, settings in zip(turns, rows_on_device, settings_on_device, strict=True):
        changed = BATCHED[turn.kind].apply(pixels.index_select(0, rows), settings)
        pixels.index_copy_(0, rows, changed)
    return pixels


def _send(arrays: list[np.ndarray], device: torch.device) -> list[Tensor]:
    """The arrays (equal dtype) on ``device``, in one copy."""
    if not arrays:
        return []
    joined = to_device(np.concatenate([array.ravel() for array in arrays]), device)
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
    """One or several operations of the vocabulary, done together.

    Attributes:
        codes: of the operations.
        launches: operations on the device that it takes for any number of crops.
        apply: of pixels, uint8 M x S x S x 3, and settings, float64 M x P, both on the device; it gives pixels.
        settings: of M codes, M magnitudes, and S.
    """

    codes: list[int]
    launches: int
    apply: Callable[[Tensor, Tensor], Tensor]
    settings: Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _batched(names: str, launches: int, apply: Callable, settings: Callable = _nothing) -> Batched:
    return Batched([CODES[name] for name in names.split()], launches, apply, settings)


#: All of the vocabulary but Identity.
BATCHED = (
    _batched("Brightness", 12, on_pixels.brightness, _as_drawn),
    _batched("Contrast", 23, on_pixels.contrast, _as_drawn),
    _batched("Color", 19, on_pixels.color, _as_drawn),
    _batched("Hue", 80, on_pixels.hue, _hue_shifts),
    _batched("Gray", 12, on_pixels.gray),
    _batched("Blur", 62, on_pixels.blur, _tap_weights),
    _batched("Flip", 4, on_pixels.flip),
    _batched("ShearX ShearY TranslateX TranslateY Rotate", 29, on_pixels.affine, _matrices),
    _batched("AutoContrast", 22, on_pixels.auto_contrast),
    _batched("Invert", 4, on_pixels.invert),
    _batched("Equalize", 26, on_pixels.equalize),
    _batched("Solarize", 9, on_pixels.solarize, _as_drawn),
    _batched("Posterize", 5, on_pixels.posterize, _bit_masks),
    _batched("Sharpness", 22, on_pixels.sharpness, _as_drawn),
)

#: By an operation's code, its place in BATCHED; Identity's is -1.
KINDS = np.full(len(VOCABULARY), -1)
for _kind, _operation in enumerate(BATCHED):
    KINDS[_operation.codes] = _kind
