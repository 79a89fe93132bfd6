"""Which images of a class a low-shot probe may see: drawn from a seed, or read from the benchmark's own files.

    N images, K classes, k positives a class    sample (N, K) int8: 1 a positive, -1 a negative, 0 not in the sample

For every class k of its positives and (K - 1) k of its negatives, the classes independent of each other; images that
are difficult for a class are in none of its samples. So fair_self_supervision_benchmark draws them
(``extra_scripts/create_voc_low_shot_samples.py``), unseeded, into files that later papers share.

**Its files have another convention than VOC's.** ``PREFIX_sample1_k4.npy`` (N, K): 1 positive, 0 negative, -1 not in
the sample, rows by sorted image id. VOC's label files call a negative -1 and a difficult image 0. A file is checked
against the data's labels, entry by entry, so that neither another order of the images nor the other convention can
pass unnoticed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clsa.configs.command import InputError


def draw_sample(labels: np.ndarray, classes: Sequence[str], k: int, sample: int, seed: int) -> np.ndarray:
    """Sample number ``sample`` (from 1) of k positives a class.

    Drawn by NumPy's PCG64 from (seed, sample, k, class number), so that no sample depends on which others are drawn.

    Args:
        labels: (N, K), 1 present, -1 absent, 0 difficult.

    Raises:
        InputError: a class with fewer than k positives, or fewer than (K - 1) k negatives.
    """
    drawn = np.zeros(labels.shape, dtype=np.int8)
    for column, name in enumerate(classes):
        chance = np.random.default_rng((seed, sample, k, column))
        for label, wanted, what in ((1, k, "positive"), (-1, (len(classes) - 1) * k, "negative")):
            candidates = np.flatnonzero(labels[:, column] == label)
            if len(candidates) < wanted:
                raise InputError(
                    f"k = {k} needs {wanted} {what} training images a class; {name} has {len(candidates)}. Leave "
                    f"{k} out of LOWSHOT.K, or train on a larger split."
                )
            drawn[chance.choice(candidates, wanted, replace=False), column] = label
    return drawn


def read_sample(
    folder: str | os.PathLike, labels: np.ndarray, image_ids: Sequence[str], classes: Sequence[str], k: int, sample: int
) -> np.ndarray:
    """The benchmark's ``*_sample{sample}_k{k}.npy`` in ``folder``.

    Raises:
        InputError: no such file or several; no (N, K) array of 1, 0, -1; entries that contradict the labels; another
            number of positives or negatives than k asks for.
    """
    path = sample_path(folder, k, sample)
    try:
        given = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable NumPy file: {error}") from error
    if given.shape != labels.shape or not np.isin(given, (1, 0, -1)).all():
        raise InputError(
            f"{path} has shape {given.shape} and values {np.unique(given)[:5].tolist()}: it must be "
            f"{labels.shape[0]} images x {labels.shape[1]} classes of 1 (positive), 0 (negative) and -1 (not in the "
            "sample)"
        )
    # The files' rows are in the order of the sorted image ids
    by_id = np.argsort(np.array(image_ids), kind="stable")
    chosen = np.empty(labels.shape, dtype=np.int8)
    chosen[by_id] = np.select([given == 1, given == 0], [1, -1], 0)

    wrong = np.argwhere((chosen != 0) & (chosen != labels))
    if len(wrong):
        image, column = wrong[0]
        raise InputError(
            f"{path} contradicts the labels in {len(wrong)} places: image {image_ids[image]}, {classes[column]}, is a "
            f"{'positive' if chosen[image, column] == 1 else 'negative'} there and labelled {labels[image, column]} in "
            "the data. Its rows must be the sorted image ids of the training split, and its values 1 positive, "
            "0 negative, -1 not in the sample (VOC's own files mean -1 and 0 the other way round)."
        )
    for name, column in zip(classes, chosen.T, strict=True):
        counts = (int((column == 1).sum()), int((column == -1).sum()))
        if counts != (k, (len(classes) - 1) * k):
            raise InputError(
                f"{path}: {name} has {counts[0]} positives and {counts[1]} negatives; k = {k} means {k} and "
                f"{(len(classes) - 1) * k}"
            )
    return chosen


def sample_path(folder: str | os.PathLike, k: int, sample: int) -> Path:
    """The one file of that name; a run looks for all of them before it computes anything."""
    pattern = f"*_sample{sample}_k{k}.npy"
    found = sorted(Path(folder).glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(f"{folder} must hold one file {pattern}, has {names}. Leave --splits out to draw the samples.")
    return found[0]
