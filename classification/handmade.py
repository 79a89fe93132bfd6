"""Features that nobody trained: what a learned one has to beat, through the same probe."""

import numpy as np
from PIL import Image

HISTOGRAM_BINS = 8
HOG_SIDE, HOG_CELL, HOG_ORIENTATIONS = 96, 16, 9


def colour_histogram(image: Image.Image) -> np.ndarray:
    """Joint RGB histogram of 8 x 8 x 8 bins: (512,) float32, sum 1. Nothing of shape or place."""
    bins = np.asarray(image, dtype=np.int64) * HISTOGRAM_BINS // 256  # H x W x 3
    joint = (bins[..., 0] * HISTOGRAM_BINS + bins[..., 1]) * HISTOGRAM_BINS + bins[..., 2]
    return (np.bincount(joint.ravel(), minlength=HISTOGRAM_BINS**3) / joint.size).astype(np.float32)


def hog(image: Image.Image) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs, 2005) of the grey image at 96 x 96: (900,) float32.

    Cells of 16 x 16 pixels, 9 unsigned orientations, blocks of 2 x 2 cells at every cell, L2 norm clipped at 0.2. Votes
    are shared between the two nearest orientations, and not between cells as in the paper.
    """
    grey = np.asarray(image.convert("L").resize((HOG_SIDE, HOG_SIDE), Image.Resampling.BILINEAR), dtype=np.float64)
    down, right = np.gradient(grey / 255)
    size = np.hypot(down, right)
    orientation = np.arctan2(down, right) % np.pi / np.pi * HOG_ORIENTATIONS - 0.5  # whole numbers at bin centres
    lower = np.floor(orientation).astype(np.int64)

    cells = HOG_SIDE // HOG_CELL
    row = np.arange(HOG_SIDE) // HOG_CELL
    first_bin = (row[:, None] * cells + row[None]) * HOG_ORIENTATIONS
    histogram = np.zeros(cells * cells * HOG_ORIENTATIONS)
    for bins, share in ((lower, lower + 1 - orientation), (lower + 1, orientation - lower)):
        votes = (first_bin + bins % HOG_ORIENTATIONS).ravel()
        histogram += np.bincount(votes, (size * share).ravel(), minlength=histogram.size)

    grid = histogram.reshape(cells, cells, HOG_ORIENTATIONS)
    blocks = np.concatenate([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], axis=-1)  # 5 x 5 x 36
    clipped = np.minimum(_unit(blocks), 0.2)
    return _unit(clipped).ravel().astype(np.float32)


def _unit(blocks: np.ndarray) -> np.ndarray:
    return blocks / (np.linalg.norm(blocks, axis=-1, keepdims=True) + 1e-6)
