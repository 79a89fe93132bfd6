"""Features that nobody trained: what a learned one has to beat, through the same probe."""

import cv2
import numpy as np
from PIL import Image

HISTOGRAM_BINS = 8
HOG_SIDE = 64


def colour_histogram(image: Image.Image) -> np.ndarray:
    """Joint RGB histogram of 8 x 8 x 8 bins: (512,) float32, sum 1. Nothing of shape or place."""
    bins = np.asarray(image, dtype=np.int64) * HISTOGRAM_BINS // 256  # H x W x 3
    joint = (bins[..., 0] * HISTOGRAM_BINS + bins[..., 1]) * HISTOGRAM_BINS + bins[..., 2]
    return (np.bincount(joint.ravel(), minlength=HISTOGRAM_BINS**3) / joint.size).astype(np.float32)


def hog(image: Image.Image) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs, 2005) of the grey image at 64 x 64: (1764,) float32.

    Cells of 8 x 8 pixels, 9 unsigned orientations, blocks of 2 x 2 cells at every cell, L2-Hys normalised.
    """
    grey = np.asarray(image.convert("L").resize((HOG_SIDE, HOG_SIDE), Image.Resampling.BILINEAR))
    descriptor = cv2.HOGDescriptor((HOG_SIDE, HOG_SIDE), (16, 16), (8, 8), (8, 8), 9)
    return descriptor.compute(grey).ravel()
