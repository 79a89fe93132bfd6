"""One image file to one RGB image, or one clear error."""

import os

from PIL import Image

from clsa.configs.command import InputError


def open_rgb(path: str | os.PathLike) -> Image.Image:
    """Decode the whole file as RGB, ``uint8``. Grayscale, CMYK and palette files are converted, as torchvision does.

    Raises:
        InputError: the file is missing, no image, or cut off: the message names it.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist. Complete the data, or correct its list.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"image {path} cannot be read: {reason}. Replace or remove it.") from error
