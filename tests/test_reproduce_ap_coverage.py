"""Whether 95 % intervals of clsa-ap hold the truth that they are for in 95 % of test sets, where that is known."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.sparse import csr_array

from clsa.reproduce.ap.bootstrap import bootstrap, draw_images, spread, spread_around
from clsa.reproduce.ap.matching import Matches

RESAMPLES = 200


@dataclass(frozen=True)
class SetUp:
    """``skills`` of the two detectors, ``false`` detections for each object; ``images``: of each of ``test_sets``."""

    skills: tuple[float, float]
    categories: int
    images: int
    test_sets: int
    false: int
    seed: int
    population: int = 8000


SET_UPS = {
    "20 categories, AP 20 and 40": SetUp((0.3, 0.9), 20, 150, 120, 1, 3),
    "10 categories, AP 0.1 and 0.6": SetUp((-1.6, -1.1), 10, 300, 250, 2, 0),
}


def population(chance: np.random.Generator, of: SetUp) -> tuple[list[csr_array], list[Matches]]:
    """Objects, half of them small, and what two detectors found of them; images differ in difficulty for both.

    Area ranges all and small. Three IoU thresholds: each is reached by some of those that reached the one before.
    """
    count = 4 * of.population
    image, category = chance.integers(of.population, size=count), chance.integers(of.categories, size=count)
    small = chance.random(count) < 0.5
    hardness = chance.normal(0, 0.5, of.population)
    shape = (of.population, of.categories)
    objects = [csr_array((np.ones(k.sum()), (image[k], category[k])), shape=shape) for k in (small | True, small)]
    files = []
    for skill in of.skills:
        quality = skill - 0.5 * small - hardness[image] + chance.normal(0, 1, count)
        found = quality > 0
        reached = quality[found] > np.array([0, 0.5, 1])[:, None]  # (T, found)
        false = of.false * count
        false_image = chance.integers(of.population, size=false)
        is_small = np.concatenate([small[found], chance.random(false) < 0.5])
        score = np.concatenate([quality[found], hardness[false_image] + chance.normal(0.3, 0.7, false)])
        is_true = np.pad(reached, ((0, 0), (0, false)))
        every = np.ones_like(is_true)
        all_images = np.concatenate([image[found], false_image])
        all_categories = np.concatenate([category[found], chance.integers(of.categories, size=false)])
        order = np.lexsort((-score, all_categories))
        files.append(
            Matches(
                image=all_images[order],
                category=all_categories[order],
                score=score[order],
                is_true=np.stack([is_true, is_true & is_small])[:, :, order],
                is_counted=np.stack([every, every & is_small])[:, :, order],
            )
        )
    return objects, files


def on_images(matches: Matches, chosen: np.ndarray) -> Matches:
    """What was found on these images, ascending, numbered anew."""
    kept = np.isin(matches.image, chosen)
    return Matches(
        image=np.searchsorted(chosen, matches.image[kept]),
        category=matches.category[kept],
        score=matches.score[kept],
        is_true=matches.is_true[:, :, kept],
        is_counted=matches.is_counted[:, :, kept],
    )


def simulate(of: SetUp) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AP and AP_S of both files: of the population (F, A), observed (S, F, A), resampled (S, R, F, A)."""
    chance = np.random.default_rng(of.seed)
    objects, files = population(chance, of)
    everywhere = bootstrap(files, objects, np.ones((1, of.population), dtype=np.int16))[0]
    observed, resampled = [], []
    for seed in range(of.test_sets):
        chosen = np.sort(chance.choice(of.population, of.images, replace=False))
        drawn = np.concatenate([np.ones((1, of.images), dtype=np.int16), draw_images(of.images, RESAMPLES, seed)])
        values = bootstrap([on_images(file, chosen) for file in files], [counts[chosen] for counts in objects], drawn)
        observed.append(values[0])
        resampled.append(values[1:])
    return everywhere, np.array(observed), np.array(resampled)


@pytest.mark.parametrize("name", SET_UPS)
def test_intervals_hold_the_mean_over_test_sets_of_as_many_images(name: str) -> None:
    """Of differences, and of one file, both files together. On endlessly many images AP is another number."""
    everywhere, observed, resampled = simulate(SET_UPS[name])
    for area in (0, 1):  # AP, AP_S
        mean = observed[:, :, area].mean(axis=0)  # (F,)
        assert (mean > everywhere[:, area]).all()
        spreads = [spread(values[:, 1, area] - values[:, 0, area]) for values in resampled]
        assert 0.92 <= np.mean([s.low <= mean[1] - mean[0] <= s.high for s in spreads]) <= 0.98
        holds = []
        for of_sample, of_resamples in zip(observed[:, :, area], resampled[..., area], strict=True):
            for file, value in enumerate(of_sample):
                found = spread_around(value, of_resamples[:, file])
                holds.append(found.low <= mean[file] <= found.high)
        assert 0.92 <= np.mean(holds) <= 0.98
    if name == "10 categories, AP 0.1 and 0.6":  # AP_S of it: the one that the bias keeps from the endless truth
        expected = everywhere[1, 1] - everywhere[0, 1]
        assert np.mean([s.low <= expected <= s.high for s in spreads]) < 0.85
