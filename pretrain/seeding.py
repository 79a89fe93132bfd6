"""Random numbers that depend on what they are for and on nothing else.

A view of an image is the same whoever draws it: any worker, any process, before or after a resumed run.
"""

import enum

import numpy as np


class Purpose(enum.IntEnum):
    """Keeps the streams apart: the order of epoch 3 shares no number with view 0 of image 3."""

    ORDER = 1
    VIEW = 2
    SHUFFLE = 3


def generator(purpose: Purpose, *numbers: int) -> np.random.Generator:
    """A fresh generator for ``purpose`` at ``numbers`` (all >= 0), for instance ``VIEW, seed, epoch, index, view``."""
    words = (int(purpose), *numbers)
    if max(words) < 2**32:  # then an array is the same seed, and NumPy need not take it apart number by number
        words = np.array(words, dtype=np.uint32)
    return np.random.default_rng(words)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """What ``rng.uniform(low, high)`` gives, to the bit, for a third of its time."""
    return low + (high - low) * rng.random()
