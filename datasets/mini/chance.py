"""Where all randomness of the miniature world comes from: (seed, split, index), so the order of drawing is free."""

import zlib

import numpy as np

from ..categories import VOC_CLASSES


def generator(seed: int, split: str, index: int) -> np.random.Generator:
    """The generator of one picture. Two pictures never share one, whoever draws them and in whatever order."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index])


def class_in_turn(seed: int, split: str, index: int) -> str:
    """The class of the main object of a picture: each once in every twenty, in an order that changes."""
    block, place = divmod(index, len(VOC_CLASSES))
    order = generator(seed, f"{split}/classes", block).permutation(len(VOC_CLASSES))
    return VOC_CLASSES[order[place]]
