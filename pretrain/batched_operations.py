"""The operations on the pixels of a batch, each with a magnitude for each crop: what Pillow makes, bit for bit.

Shapes:
    M: crops that undergo the operation
    S: side of a crop, in pixels
    P: numbers that an operation needs to know of each crop

Each takes pixels, uint8 M x S x S x 3 on any device, and settings, float64 M x P there, and gives pixels. Pillow works
with whole numbers and single precision, so its results can be had exactly on any device: each function follows the
arithmetic of Pillow's C code, roundings included.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from .to_device import to_device


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
    rounding = 2**23 - 128 * lost
    reach, side = len(weights) - 1, pixels.shape[1]
    # Values less 128, so that a product with weights of sum 2^24 keeps within 32 bits.
    values = pixels.int() - 128
    for dimension in (2, 1):
        for _ in range(3):
            first, last = values.narrow(dimension, 0, 1), values.narrow(dimension, side - 1, 1)
            wide = torch.cat([first] * reach + [values] + [last] * reach, dim=dimension)
            total = values * weights[0]
            for away in range(1, reach + 1):
                left, right = (wide.narrow(dimension, reach + step, side) for step in (-away, away))
                total.addcmul_(left + right, weights[away])
            values = total.add_(rounding).bitwise_right_shift_(24)
    return (values + 128).to(torch.uint8)


@functools.cache
def hue_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each of the 256 hues, on ``device``: which of (value, low, falling, rising) red, green and blue are, int64
    256 x 3; how far into its sixth of the circle it lies, float32 256.
    """
    value, low, falling, rising = range(4)
    of_sixth = [(value, rising, low), (falling, value, low), (low, value, rising)]
    of_sixth += [(low, falling, value), (rising, low, value), (value, low, falling)]
    turns = np.arange(256) * 6.0 / 255.0
    sixth = np.floor(turns)
    which = np.array(of_sixth)[sixth.astype(int) % 6]
    return to_device(which, device), to_device((turns - sixth).astype(np.float32), device)


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

    which, within = (table[hue_byte] for table in hue_tables(pixels.device))  # M x S x S x 3, M x S x S
    saturation = (saturation_byte.double() / 255.0).float()
    value = value.double()

    def mixed(share: Tensor) -> Tensor:
        return (value * (1.0 - share.double()) + 0.5).floor()  # rounded half up

    low, falling = mixed(saturation), mixed(saturation * within)
    rising = mixed(saturation.double() * (1.0 - within.double()))
    mixes = torch.stack([value, low, falling, rising], dim=3).to(torch.uint8)
    # Without saturation there is no hue: Pillow gives the value alone.
    return torch.where((saturation_byte == 0)[..., None], mixes[..., :1], mixes.gather(3, which))
