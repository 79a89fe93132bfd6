"""Low-shot SVMs: the samples and their files, both choices of the cost, and scikit-learn's machines beside ours."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

from clsa.classification.average_precision import average_precisions
from clsa.classification.config import get_cfg
from clsa.classification.liblinear import linear_svc
from clsa.classification.low_shot_samples import draw_sample, read_sample
from clsa.classification.lowshot import COST_OF_ONE, SampleFit, fit_sample, summarise
from clsa.classification.lowshot_probe import check_settings, protocol
from clsa.classification.svm import normalise_rows
from clsa.configs.command import InputError

CLASSES = ("aeroplane", "bicycle", "bird")
COSTS = (0.01, 0.1, 1.0, 10.0)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Of 60 images, images 0..3 difficult for all classes."""
    chance = np.random.default_rng(0)
    labels = np.where(chance.random((60, 3)) < 0.3, 1, -1).astype(np.int8)
    labels[:4] = 0
    return labels


def test_a_sample_has_k_positives_and_two_k_negatives_and_no_difficult_image(labels) -> None:
    drawn = draw_sample(labels, CLASSES, 4, 1, seed=0)
    assert [(int((c == 1).sum()), int((c == -1).sum())) for c in drawn.T] == [(4, 8)] * 3
    assert ((drawn == 0) | (drawn == labels)).all()
    assert not drawn[:4].any()
    np.testing.assert_array_equal(drawn, draw_sample(labels, CLASSES, 4, 1, seed=0))
    for other in (draw_sample(labels, CLASSES, 4, 2, 0), draw_sample(labels, CLASSES, 4, 1, 1)):
        assert not np.array_equal(drawn, other)


def test_too_few_positives(labels) -> None:
    positives = int((labels[:, 0] == 1).sum())
    with pytest.raises(InputError, match=rf"k = 40 needs 40 positive .* aeroplane has {positives}. Leave 40 out"):
        draw_sample(labels, CLASSES, 40, 1, 0)


def benchmark_file(folder, sample: np.ndarray, image_ids: list[str]) -> None:
    """As the benchmark writes it: rows by sorted id; 1 positive, 0 negative, -1 not in the sample."""
    theirs = np.full(sample.shape, -1, dtype=np.int32)
    theirs[sample == 1], theirs[sample == -1] = 1, 0
    np.save(folder / "train_targets_sample1_k4.npy", theirs[np.argsort(image_ids)])


def test_the_benchmarks_files(labels, tmp_path) -> None:
    image_ids = [f"{number:06d}" for number in np.random.default_rng(1).permutation(len(labels))]
    sample = draw_sample(labels, CLASSES, 4, 1, 0)
    benchmark_file(tmp_path, sample, image_ids)
    np.testing.assert_array_equal(read_sample(tmp_path, labels, image_ids, CLASSES, 4, 1), sample)
    with pytest.raises(InputError, match=r"must hold one file \*_sample2_k4.npy, has none"):
        read_sample(tmp_path, labels, image_ids, CLASSES, 4, 2)
    with pytest.raises(InputError, match=r"contradicts the labels in \d+ places"):  # the rows in another order
        read_sample(tmp_path, labels[::-1], image_ids, CLASSES, 4, 1)

    path = tmp_path / "train_targets_sample1_k4.npy"
    np.save(path, sample)  # VOC's convention, in place of the benchmark's
    with pytest.raises(InputError, match="VOC's own files mean -1 and 0 the other way round"):
        read_sample(tmp_path, labels, sorted(image_ids), CLASSES, 4, 1)
    np.save(path, np.where(sample == 1, -1, np.where(sample == -1, 0, -1)))
    with pytest.raises(InputError, match="aeroplane has 0 positives and 8 negatives; k = 4 means 4 and 8"):
        read_sample(tmp_path, labels, sorted(image_ids), CLASSES, 4, 1)
    np.save(path, sample[:5])
    with pytest.raises(InputError, match="it must be 60 images x 3 classes"):
        read_sample(tmp_path, labels, image_ids, CLASSES, 4, 1)


@pytest.fixture(scope="module")
def features(labels) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(2)
    train = (labels == 1) @ chance.normal(size=(3, 12)) + chance.normal(size=(60, 12))
    test = (labels == 1) @ chance.normal(size=(3, 12)) + chance.normal(size=(60, 12))
    return normalise_rows(train), normalise_rows(test)


def by_hand(train, sample, test, folds: int, cost: float) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's own machines: test scores (N, K) and cross-validated AP (K,), a class and a fold at a time."""
    scores, precision = [], []
    for column in sample.T:
        members = np.flatnonzero(column)
        x, y = train[members], column[members]
        scores.append(linear_svc(cost, seed=0).set_params(dual=False).fit(x, y).decision_function(test))
        splits = StratifiedKFold(folds, shuffle=False).split(x, y) if folds > 1 else []
        held_out = []
        for kept, held in splits:
            machine = linear_svc(cost, seed=0).set_params(dual=False).fit(x[kept], y[kept])
            held_out.append(average_precision_score(y[held], machine.decision_function(x[held])))
        precision.append(np.mean(held_out) if held_out else np.nan)
    return np.stack(scores, axis=1), np.array(precision)


@pytest.mark.parametrize(("k", "folds"), [(1, 1), (2, 2), (5, 3)])
def test_against_scikit_learn(labels, features, k: int, folds: int) -> None:
    train, test = features
    sample = draw_sample(labels, CLASSES, k, 1, 0)
    fit = fit_sample(train, sample, test, labels, COSTS, tolerance=1e-6)
    hand = {cost: by_hand(train, sample, test, folds, cost) for cost in COSTS}
    for cost, figures in zip(COSTS, fit.by_cost, strict=True):
        assert figures == pytest.approx(average_precisions(hand[cost][0], labels).means(), abs=1e-9)
    if k == 1:
        assert fit.best_costs == (COST_OF_ONE,) * 3
    else:
        expected = tuple(COSTS[int(np.argmax([hand[cost][1][c] for cost in COSTS]))] for c in range(3))
        assert fit.best_costs == expected
    own = np.stack([hand[cost][0][:, c] for c, cost in enumerate(fit.best_costs)], axis=1)
    assert fit.cross_validated == pytest.approx(average_precisions(own, labels).means(), abs=1e-9)
    assert fit.not_converged == 0


def test_the_oracle_takes_one_cost_for_all_samples_by_the_test_mean() -> None:
    def figures(value: float) -> dict[str, float]:
        return dict.fromkeys(("mAP envelope", "mAP step", "mAP 11-point", "per-image AP"), value)

    fits = [
        SampleFit([figures(0.5), figures(0.4)], figures(0.45), (0.1, 1.0, 1.0), 6, 0),
        SampleFit([figures(0.1), figures(0.4)], figures(0.35), (1.0, 1.0, 0.1), 6, 1),
    ]
    found = summarise(fits, (0.1, 1.0))
    assert found["oracle_cost"] == 1.0  # 0.5 is the best of sample 1, and 0.1's mean is 0.3
    assert found["oracle_c"]["mAP envelope"] == {"mean": 40.0, "std": 0.0, "samples": [40.0, 40.0]}
    assert found["cross_validated"]["mAP step"]["mean"] == pytest.approx(40)
    assert found["cross_validated"]["mAP step"]["std"] == pytest.approx(5)  # divided by 2, not 1
    assert (found["fits"], found["not_converged"]) == (12, 1)


def test_settings_and_protocol() -> None:
    cfg = get_cfg()
    assert cfg.LOWSHOT.K == (1, 2, 4, 8, 16, 32, 64, 96)
    assert protocol(cfg, "splits") == "voc07-lowshot-fair18"
    assert protocol(cfg, None) == "voc07-lowshot-fair18-own-samples"
    cfg.LOWSHOT.K = (0, 1)
    with pytest.raises(InputError, match=r"LOWSHOT.K \(0, 1\) must be different whole numbers above zero"):
        check_settings(cfg)
