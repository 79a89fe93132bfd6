"""From an encoded image to its crops: by Pillow, or by a quicker road with slightly different pixels.

``pil`` decodes and resamples with Pillow. ``simplejpeg`` decodes JPEGs with libjpeg-turbo, to the pixels that Pillow
decodes, and resamples with PyTorch's vectorised kernel, the same antialiased filter with coarser weights: a few
values in a hundred differ by one grey level, hardly any by two (``benchmarks/data.py`` prints how many). What is no
plain JPEG, or damaged, is left to Pillow, so that both decoders accept the same files.
"""

import io
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from clsa.configs.command import InputError
from clsa.datasets.images import open_rgb

from .augment import Box


class Decoded(Protocol):
    """An RGB image."""

    size: tuple[int, int]  # width, height

    def crop(self, box: Box, side: int) -> np.ndarray:
        """The box, resampled (bilinear, antialiased) to uint8 ``side`` x ``side`` x 3."""


class PillowImage:
    def __init__(self, image: Image.Image) -> None:
        self.image, self.size = image, image.size

    def crop(self, box: Box, side: int) -> np.ndarray:
        # Cut, then resampled, as torchvision does; resize(box=...) would mix in pixels from around the box.
        return np.asarray(self.image.crop(box).resize((side, side), Image.Resampling.BILINEAR))


class ArrayImage:
    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # 1 x 3 x H x W, strides of NHWC
        self.size = pixels.shape[1], pixels.shape[0]

    def crop(self, box: Box, side: int) -> np.ndarray:
        left, top, right, bottom = box
        # The kernel is quickest, and leaves NHWC, where its input is a whole tensor and not a part of one.
        part = self.pixels[:, :, top:bottom, left:right].contiguous(memory_format=torch.channels_last)
        resized = F.interpolate(part, (side, side), mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).contiguous().numpy()


def decode_with_pillow(data: bytes, name: str) -> Decoded:
    """Raises InputError, with ``name``, for what is no image or cut off."""
    return PillowImage(open_rgb(io.BytesIO(data), name))


def decode_with_simplejpeg(data: bytes, name: str) -> Decoded:
    """As :func:`decode_with_pillow`, which judges what simplejpeg does not take."""
    import simplejpeg

    try:
        if simplejpeg.decode_jpeg_header(data)[2] in ("YCbCr", "Gray"):
            return ArrayImage(simplejpeg.decode_jpeg(data))
    except ValueError:
        pass
    return ArrayImage(np.array(open_rgb(io.BytesIO(data), name)))


#: DATA.DECODER.
DECODERS = {"pil": decode_with_pillow, "simplejpeg": decode_with_simplejpeg}


def decoder(name: str) -> Callable[[bytes, str], Decoded]:
    """The decoder of this name.

    Raises:
        InputError: the package that it needs is missing.
    """
    if name == "simplejpeg":
        try:
            import simplejpeg  # noqa: F401
        except ImportError as error:
            raise InputError(
                "DATA.DECODER simplejpeg needs the package simplejpeg: pip install simplejpeg. "
                "Or take DATA.DECODER pil."
            ) from error
    return DECODERS[name]
