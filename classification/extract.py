"""``clsa-classify extract``: the features of both splits into the cache, and where they are."""

import os

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .features import Features, load_features
from .layouts import read_splits


def run(cfg: CfgNode, weights: str | os.PathLike, data: str | os.PathLike, cache: str | os.PathLike) -> Features:
    """Fill the cache, or find it filled, and print one line an array.

    Raises:
        InputError: features that are not a backbone's, and what the parts refuse.
    """
    if cfg.FEATURES.KIND != "backbone":
        raise InputError(f"features {cfg.FEATURES.KIND} take seconds and are not cached; extract is for a backbone's")
    splits = read_splits(data, cfg.DATA)
    features = load_features(cfg.FEATURES, weights, splits, cfg.SEED, cache)
    for layer, arrays in features.matrices.items():
        for split, array in zip(splits, arrays, strict=True):
            print(f"{split.name:<12}{layer:<9}{len(array):>9} x {array.shape[1]:<6}{array.dtype}  {array.filename}")
    details = features.details
    if details["images_computed"]:
        waiting = 100 * details["share_of_time_waiting_for_images"]
        print(
            f"{details['images_computed']} images at {details['images_per_second']} a second on {details['device']}, "
            f"{waiting:.0f} % of the time waiting for images to be decoded"
        )
    else:
        print("everything was in the cache")
    return features
