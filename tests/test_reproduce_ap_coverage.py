"""Whether 95 % intervals of clsa-ap hold the truth in 95 % of test sets, where the truth is known."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from clsa.reproduce.ap.bootstrap import bootstrap, draw_images, spread, spread_around
from clsa.reproduce.ap.matching import Matches

POPULATION, IMAGES, CATEGORIES = 10_000, 150, 2
SIMULATIONS, RESAMPLES = 400, 200


def population(chance: np.random.Generator) -> tuple[list[csr_array], list[Matches]]:
    """Objects, half of them small, and what two detectors found of them; images differ in difficulty for both.

    Area ranges all and small. Three IoU thresholds: each is reached by some of those that reached the one before.
    """
    count = 4 * POPULATION
    image, category = chance.integers(POPULATION, size=count), chance.integers(CATEGORIES, size=count)
    small = chance.random(count) < 0.5
    hardness = chance.normal(0, 0.5, POPULATION)
    shape = (POPULATION, CATEGORIES)
    objects = [csr_array((np.ones(k.sum()), (image[k], category[k])), shape=shape) for k in (small | True, small)]
    files = []
    for skill in (0.6, 0.9):
        quality = skill - 0.5 * small - hardness[image] + chance.normal(0, 1, count)
        found = quality > 0
        reached = quality[found] > np.array([0, 0.5, 1])[:, None]  # (T, found)
        false_image = chance.integers(POPULATION, size=count)
        is_small = np.concatenate([small[found], chance.random(count) < 0.5])
        score = np.concatenate([quality[found], hardness[false_image] + chance.normal(0.3, 0.7, count)])
        is_true = np.pad(reached, ((0, 0), (0, count)))
        every = np.ones_like(is_true)
        all_images = np.concatenate([image[found], false_image])
        all_categories = np.concatenate([category[found], chance.integers(CATEGORIES, size=count)])
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


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AP and AP_S of both files: of the population (F, A), observed (S, F, A), resampled (S, R, F, A)."""
    chance = np.random.default_rng(0)
    objects, files = population(chance)
    truth = bootstrap(files, objects, np.ones((1, POPULATION), dtype=np.int16))[0]
    observed, resampled = [], []
    for seed in range(SIMULATIONS):
        chosen = np.sort(chance.choice(POPULATION, IMAGES, replace=False))
        drawn = np.concatenate([np.ones((1, IMAGES), dtype=np.int16), draw_images(IMAGES, RESAMPLES, seed)])
        sample = [on_images(file, chosen) for file in files]
        values = bootstrap(sample, [counts[chosen] for counts in objects], drawn)
        observed.append(values[0])
        resampled.append(values[1:])
    return truth, np.array(observed), np.array(resampled)


@pytest.mark.parametrize(("metric", "area"), [("AP", 0), ("AP_S", 1)])
def test_interval_of_a_difference(simulated, metric: str, area: int) -> None:
    """The truth is the difference on the whole population."""
    truth, _, resampled = simulated
    spreads = [spread(values[:, 1, area] - values[:, 0, area]) for values in resampled]
    expected = truth[1, area] - truth[0, area]
    assert 0.92 <= np.mean([s.low <= expected <= s.high for s in spreads]) <= 0.98


@pytest.mark.parametrize(("metric", "area"), [("AP", 0), ("AP_S", 1)])
def test_interval_of_one_file(simulated, metric: str, area: int) -> None:
    """The truth is the mean of test sets of this size: average precision is the higher the fewer images there are.

    So few images leave the interval a little short: 91 to 94 % here, hence the lower bound. Both files together.
    """
    truth, observed, resampled = simulated
    expected = observed[:, :, area].mean(axis=0)  # (F,)
    assert (expected > truth[:, area]).all()
    holds = []
    for of_sample, of_resamples in zip(observed[:, :, area], resampled[..., area], strict=True):
        for file, value in enumerate(of_sample):
            found = spread_around(value, of_resamples[:, file])
            holds.append(found.low <= expected[file] <= found.high)
    assert 0.91 <= np.mean(holds) <= 0.98
