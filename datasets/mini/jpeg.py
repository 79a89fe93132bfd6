"""Pictures to files."""

from pathlib import Path

import cv2
import numpy as np

QUALITY = 92


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """``image`` uint8[H, W, 3], RGB, as JPEG under any suffix."""
    encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise RuntimeError(f"OpenCV could not encode {path.name}, an image of shape {image.shape}")
    path.write_bytes(data.tobytes())
