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
    return np.random.default_rng((int(purpose), *numbers))
