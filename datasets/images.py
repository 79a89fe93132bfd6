"""One image file to one RGB image, or one clear error."""

import os
from typing import BinaryIO

from PIL import Image

from clsa.configs.command import InputError


def open_rgb(file: str | os.PathLike | BinaryIO, name: str = "") -> Image.Image:
    """Decode the whole file as RGB, ``uint8``. Grayscale, CMYK and palette files are converted, as torchvision does.

    ``name`` is what a message calls the image, its path if that is what ``file`` is.

    Raises:
        InputError: the file is missing, no image, or cut off: the message names it.
    """
    path = name or file
    try:
        with Image.open(file) as image:
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist. Complete the data, or correct its list.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"image {path} cannot be read: {reason}. Replace or remove it.") from error
