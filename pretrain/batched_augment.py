"""The views' operations on a batch of uint8 crops at once, where the crops are: with the pixels that Pillow makes.

Shapes:
    N: crops of one view in a batch
    S: side of a crop, in pixels
    R: operations of each view, one after the other
    M: of the N, the crops that undergo the same operation in one round
    P: numbers that an operation needs to know of each crop

Pillow works with whole numbers and single precision, so its results can be had exactly on any device: each function
here follows the arithmetic of Pillow's C code, roundings included, with a magnitude for each crop. It pays on a GPU;
on a CPU, Pillow itself is quicker.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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


# The operations. Each takes pixels, uint8 M x S x S x 3, and settings, float64 M x P, and gives pixels.


def gray_levels(pixels: Tensor) -> Tensor:
    """Luma as Pillow's conversion to L has it, int32 M x S x S x 1: 16-bit weights, rounded."""
    red, green, blue = pixels.int().split(1, dim=3)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def blend(degenerate: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:
    """Between the two or beyond, in single precision, then truncated (Pillow's ImageEnhance). ``factor``: M x 1."""
    start = degenerate.float()
    mixed = start + factor.float().view(-1, 1, 1, 1) * (pixels.float() - start)
    return mixed.clamp_(0, 255).to(torch.uint8)


def brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    return blend(torch.zeros_like(pixels[:1]), pixels, factor)


def contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    levels = gray_levels(pixels)
    sums, count = levels.sum(dim=(1, 2, 3)), levels[0].numel()
    mean = (2 * sums + count) // (2 * count)  # rounded
    return blend(mean.view(-1, 1, 1, 1), pixels, factor)


def color(pixels: Tensor, factor: Tensor) -> Tensor:
    return blend(gray_levels(pixels), pixels, factor)


def sharpness(pixels: Tensor, factor: Tensor) -> Tensor:
    """Towards, or away from, the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, except its outermost pixels."""
    whole = pixels.int()
    rows = whole[:, :-2] + whole[:, 1:-1] + whole[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * whole[:, 1:-1, 1:-1]
    whole[:, 1:-1, 1:-1] = (2 * total + 13) // 26  # rounded; a tie cannot be
    return blend(whole, pixels, factor)


def invert(pixels: Tensor, _: Tensor) -> Tensor:
    return 255 - pixels


def solarize(pixels: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(pixels.int() < threshold.ceil().int().view(-1, 1, 1, 1), pixels, 255 - pixels)


def posterize(pixels: Tensor, mask: Tensor) -> Tensor:
    return pixels & mask.to(torch.uint8).view(-1, 1, 1, 1)


def gray(pixels: Tensor, _: Tensor) -> Tensor:
    return gray_levels(pixels).to(torch.uint8).expand_as(pixels)


def flip(pixels: Tensor, _: Tensor) -> Tensor:
    return pixels.flip(2)


def auto_contrast(pixels: Tensor, _: Tensor) -> Tensor:
    """Of each channel the darkest value to 0 and the brightest to 255."""
    low = pixels.amin(dim=(1, 2)).double()[:, None]  # M x 1 x 3
    high = pixels.amax(dim=(1, 2)).double()[:, None]
    scale = torch.full_like(low, 255.0) / (high - low)  # a number over a tensor would be rounded twice
    values = torch.arange(256, device=pixels.device, dtype=torch.float64)[:, None]  # 256 x 1
    table = (values * scale + -low * scale).trunc().clamp(0, 255)  # M x 256 x 3
    return look_up(torch.where(high > low, table, values), pixels)


def equalize(pixels: Tensor, _: Tensor) -> Tensor:
    """Of each channel the values spread so that each share of 0..255 is as frequent as any other."""
    count = len(pixels)
    histogram = torch.zeros(count, 256, 3, dtype=torch.int64, device=pixels.device)
    at = pixels.view(count, -1, 3).long()
    histogram.scatter_add_(1, at, torch.ones((), dtype=torch.int64, device=pixels.device).expand_as(at))
    values = torch.arange(256, device=pixels.device)[:, None]
    brightest = (values * (histogram > 0)).amax(dim=1, keepdim=True)  # M x 1 x 3
    step = (at.shape[1] - histogram.gather(1, brightest)) // 255
    below = histogram.cumsum(dim=1) - histogram
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return look_up(torch.where(step > 0, table, values), pixels)


def look_up(table: Tensor, pixels: Tensor) -> Tensor:
    """``table[m, value, channel]`` for each value of ``pixels``; table: M x 256 x 3."""
    at = pixels.view(len(pixels), -1, 3).long()
    return table.to(torch.uint8).gather(1, at).view_as(pixels)


def affine(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Output pixel (x, y) is input pixel (a x + b y + c, d x + e y + f), black outside; ``matrix`` in 1 / 65536."""
    count, side = pixels.shape[:2]
    a, b, c, d, e, f = matrix.int().view(count, 6, 1, 1).unbind(1)
    x = torch.arange(side, device=pixels.device, dtype=torch.int32)
    y = x[:, None]
    from_x, from_y = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16  # M x S x S
    inside = (from_x >= 0) & (from_x < side) & (from_y >= 0) & (from_y < side)
    at = torch.where(inside, from_y * side + from_x, 0).long().view(count, -1, 1)
    moved = pixels.view(count, -1, 3).gather(1, at.expand(-1, -1, 3)).view_as(pixels)
    return moved * inside[..., None]


def blur(pixels: Tensor, weights: Tensor) -> Tensor:
    """Pillow's Gaussian: three box filters in each direction, whose outermost taps count in part, edges repeated.

    Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended Box Filtering". ``weights`` of the
    taps 0, 1, 2, ... pixels away, in 1 / 2^24.
    """
    weights = weights.int().T[..., None, None, None]  # P x M x 1 x 1 x 1
    lost = 2**24 - (weights[0] + 2 * weights[1:].sum(dim=0))  # Pillow rounds the weights down: 0 or 1
    reach = len(weights) - 1
    # Values less 128, so that a product with weights of sum 2^24 keeps within 32 bits.
    values = pixels.int() - 128
    for dimension in (2, 1):
        last = values.shape[dimension] - 1
        places = torch.arange(last + 1, device=pixels.device)
        for _ in range(3):
            total = values * weights[0]
            for away in range(1, reach + 1):
                left = values.index_select(dimension, (places - away).clamp(min=0))
                right = values.index_select(dimension, (places + away).clamp(max=last))
                total += (left + right) * weights[away]
            values = (total - 128 * lost + 2**23) >> 24
    return (values + 128).to(torch.uint8)


def hue(pixels: Tensor, shift: Tensor) -> Tensor:
    """To HSV of 8 bits each, the hue moved by ``shift`` of 256, and back."""
    channels = pixels.float().unbind(3)  # each M x S x S
    red, green, blue = channels
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = chroma.clamp(min=1)
    from_red, from_green, from_blue = ((value - channel) / divisor for channel in channels)
    sixths = torch.where(
        red == value,
        from_blue - from_green,
        torch.where(
            green == value,
            (2.0 + from_red.double() - from_blue.double()).float(),
            (4.0 + from_green.double() - from_red.double()).float(),
        ),
    )
    turns = (sixths.double() / 6.0 + 1.0).fmod(1.0).float()
    hue_byte = (turns.double() * 255.0).int()
    hue_byte = (torch.where(chroma == 0, 0, hue_byte) + shift.int().view(-1, 1, 1)) & 255
    saturation_byte = ((chroma / value.clamp(min=1)).double() * 255.0).int()

    # Of each of the 256 hues: the sixth of the circle, and how far into it.
    hues = torch.arange(256, device=pixels.device, dtype=torch.float64) * 6.0 / 255.0
    sector_of, within_of = hues.floor(), (hues - hues.floor()).float()
    sector = (sector_of.int() % 6)[hue_byte]
    within = within_of[hue_byte]
    saturation = (saturation_byte.double() / 255.0).float()
    value = value.double()

    def mixed(share: Tensor) -> Tensor:
        return (value * (1.0 - share.double()) + 0.5).floor()  # rounded half up

    low, falling = mixed(saturation), mixed(saturation * within)
    rising = mixed(saturation.double() * (1.0 - within.double()))
    of_sector = (  # which of the four are red, green, blue in each sixth
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    )
    mixes = [torch.stack(mix, dim=3) for mix in of_sector]
    result = mixes[0]
    for number, mix in enumerate(mixes[1:], 1):
        result = torch.where((sector == number)[..., None], mix, result)
    # Without saturation there is no hue: Pillow gives the value alone.
    return torch.where((saturation_byte == 0)[..., None], value[..., None], result).to(torch.uint8)


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
    _batched("Brightness", brightness, _as_drawn),
    _batched("Contrast", contrast, _as_drawn),
    _batched("Color", color, _as_drawn),
    _batched("Hue", hue, _hue_shifts),
    _batched("Gray", gray),
    _batched("Blur", blur, _tap_weights),
    _batched("Flip", flip),
    _batched("ShearX ShearY TranslateX TranslateY Rotate", affine, _matrices),
    _batched("AutoContrast", auto_contrast),
    _batched("Invert", invert),
    _batched("Equalize", equalize),
    _batched("Solarize", solarize, _as_drawn),
    _batched("Posterize", posterize, _bit_masks),
    _batched("Sharpness", sharpness, _as_drawn),
)
