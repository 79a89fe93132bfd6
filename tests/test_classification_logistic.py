"""The logistic protocol: its C against the softmax that it is defined by, and the pick on val."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from clsa.classification.average_precision import average_precisions
from clsa.classification.labels import LabelledSplit
from clsa.classification.logistic import COSTS, fit_and_score
from clsa.classification.logistic_probe import defaults, protocol, refuse_lone_classes
from clsa.configs.command import InputError


@pytest.fixture(scope="module")
def problem() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    direction = chance.normal(size=(5, 2))
    parts = {}
    for name in ("train", "val", "test"):
        x = chance.normal(size=(50, 5))
        labels = np.where(x @ direction + chance.normal(size=(50, 2)) > 0.8, 1, -1)
        labels[0] = 0
        parts |= {name: x, f"{name}_labels": labels}
    return parts


def two_vector_softmax(x: np.ndarray, present: np.ndarray, cost: float, test: np.ndarray) -> np.ndarray:
    """Score differences at the minimum of 1/2 (|w0|^2 + |w1|^2) + C sum of the cross entropies, biases free."""

    def objective(parameters: np.ndarray) -> float:
        w = parameters.reshape(2, -1)
        logits = x @ w[:, :-1].T + w[:, -1]
        chosen = np.where(present, logits[:, 1], logits[:, 0])
        return (w[:, :-1] ** 2).sum() / 2 + cost * (np.logaddexp(logits[:, 0], logits[:, 1]) - chosen).sum()

    w = minimize(objective, np.zeros(2 * (x.shape[1] + 1)), tol=1e-10).x.reshape(2, -1)
    return test @ (w[1] - w[0])[:-1] + (w[1] - w[0])[-1]


def test_the_protocols_cost_is_that_of_a_softmax_over_two_vectors(problem) -> None:
    cost = 0.3
    fit = fit_and_score(
        problem["train"], problem["train_labels"], problem["val"], problem["val_labels"], problem["test"], (cost,)
    )
    x = np.concatenate([problem["train"], problem["val"]])
    present = np.concatenate([problem["train_labels"], problem["val_labels"]]) == 1  # difficult: absent
    for k in range(2):
        expected = two_vector_softmax(x, present[:, k], cost, problem["test"])
        np.testing.assert_allclose(fit.scores[:, k], expected, atol=0.01)  # at C instead of 2 C: off by 0.3
    assert (fit.cost, fit.fits, fit.not_converged) == (0.3, 4, 0)


def test_one_cost_for_all_classes_by_eleven_points_on_val(problem) -> None:
    costs = tuple(COSTS[10:40:6])
    fit = fit_and_score(
        problem["train"], problem["train_labels"], problem["val"], problem["val_labels"], problem["test"], costs
    )
    by_cost = []
    for cost in costs:
        scores = [
            LogisticRegression(C=2 * cost, max_iter=1000)
            .fit(problem["train"], problem["train_labels"][:, k] == 1)
            .decision_function(problem["val"])
            for k in range(2)
        ]
        absent = np.where(problem["val_labels"] == 1, 1, -1)
        by_cost.append(average_precisions(np.stack(scores, axis=1), absent).means()["mAP 11-point"])
    assert fit.validation == pytest.approx(by_cost, abs=0.01)  # two fits a hair apart may swap two images
    assert fit.cost == costs[int(np.argmax(fit.validation))]


def test_the_45_costs_and_the_images() -> None:
    assert len(COSTS) == 45
    assert COSTS[0] == pytest.approx(1e6)
    assert COSTS[-1] == pytest.approx(1e-5)
    cfg = defaults()
    images = cfg.FEATURES
    assert (images.TRANSFORM, images.RESIZE, images.SIZE, images.INTERPOLATION) == ("center_crop", 224, 224, "bicubic")
    assert protocol(cfg) == "voc07-logistic"
    cfg.FEATURES.RESIZE = 256
    assert protocol(cfg) == "voc07-logistic-center_crop-224of256"


def test_a_class_without_positives() -> None:
    split = LabelledSplit("train", ("a", "b"), (), ("cat",), np.array([[-1], [0]], dtype=np.int8))
    with pytest.raises(InputError, match="class cat: of the 2 images of train, 0 are positive"):
        refuse_lone_classes(split)
