"""The SVM protocol against scikit-learn's own cross-validation and against its equation."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from clsa.classification.svm import GRIDS, fit_and_score, grid_of, normalise_rows
from clsa.configs.command import InputError


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and labels of 90 training images, features of 30 test images."""
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(90, 12)), rng.normal(size=(30, 12))
    noisy = normalise_rows(train)[:, :3] + 0.3 * rng.normal(size=(90, 3))
    labels = np.where(noisy > 0.35, 1, -1)
    labels[noisy < -0.6] = 0
    return train, labels, test


def test_grids_are_the_published_ones() -> None:
    halves = {2.0**-power for power in range(4, 20)}
    assert set(GRIDS["fair26"]) == {10.0**power for power in range(-7, 3)} | halves
    assert set(GRIDS["fair18"]) == {0.01, 0.1} | halves
    assert GRIDS["vissl11"] == (0.01, 0.1, 1, 2, 5, 10, 15, 20, 50, 100, 1000)
    assert set(GRIDS["openselfsup19"]) == {1, 10, 100} | halves
    assert [len(GRIDS[name]) for name in ("fair26", "fair18", "vissl11", "openselfsup19", "mini5")] == [
        26,
        18,
        11,
        19,
        5,
    ]
    with pytest.raises(InputError, match=r"'fair27' is unknown. Give one of fair26, fair18"):
        grid_of("fair27")


def test_rows_are_divided_by_their_norm_plus_1e_minus_5() -> None:
    got = normalise_rows(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(got, [[3 / 5.00001, 4 / 5.00001], [0, 0]], rtol=1e-12)
    assert got.dtype == np.float64


def test_equals_the_benchmarks_recipe(problem) -> None:
    """The tool of Goyal et al. in scikit-learn's words: cross_val_score for each cost, argmax, fit on everything."""
    train, labels, test = problem
    costs = (0.1, 1.0, 10.0)
    got = fit_and_score(train, labels, test, ("a", "b", "c"), costs)
    train, test = normalise_rows(train), normalise_rows(test)
    for k in range(3):
        target = np.where(labels[:, k] == 1, 1, -1)
        machines = [
            LinearSVC(C=cost, dual=True, class_weight={1: 2, -1: 1}, tol=1e-4, max_iter=2000, random_state=0)
            for cost in costs
        ]
        by_cost = [cross_val_score(m, train, target, cv=3, scoring="average_precision").mean() for m in machines]
        best = int(np.argmax(by_cost))
        assert got.costs[k] == costs[best]
        assert got.cross_validated[k] == pytest.approx(by_cost[best], abs=1e-12)
        expected = machines[best].fit(train, target).decision_function(test)
        np.testing.assert_allclose(got.scores[:, k], expected, rtol=0, atol=1e-12)
    assert (got.fits, got.not_converged) == (3 * (3 * 3 + 1), 0)


@pytest.mark.parametrize("solver", ["sklearn", "exact"])
def test_both_solvers_minimise_the_equation(problem, solver: str) -> None:
    """1/2 (|w|^2 + b^2) + C sum c_i max(0, 1 - y_i (w.x_i + b))^2, positives twice, by L-BFGS in float64."""
    train, labels, test = problem
    target = np.where(labels[:, 0] == 1, 1.0, -1.0)
    weight, ones = np.where(target == 1, 2.0, 1.0), np.ones((90, 1))
    with_bias = np.concatenate([normalise_rows(train), ones], axis=1)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = np.maximum(0, 1 - target * (with_bias @ w))
        return w @ w / 2 + 3 * weight @ margin**2, w - 6 * with_bias.T @ (weight * margin * target)

    exact = minimize(objective, np.zeros(13), jac=True, options={"gtol": 1e-9, "maxiter": 10_000}).x
    got = fit_and_score(train, labels[:, :1], test, ("a",), (3.0,), solver=solver)
    np.testing.assert_allclose(got.scores[:, 0], normalise_rows(test) @ exact[:-1] + exact[-1], rtol=0, atol=2e-3)


def test_difficult_counts_as_absent_in_training(problem) -> None:
    train, labels, test = problem
    assert (labels == 0).any()
    with_zero = fit_and_score(train, labels, test, ("a", "b", "c"), (1.0,))
    without = fit_and_score(train, np.where(labels == 0, -1, labels), test, ("a", "b", "c"), (1.0,))
    np.testing.assert_array_equal(with_zero.scores, without.scores)


def test_number_of_processes_changes_nothing(problem) -> None:
    one, two = (fit_and_score(*problem, ("a", "b", "c"), (1.0, 10.0), seed=3, jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.scores, two.scores)
    assert one.cross_validated == two.cross_validated


def test_fits_that_stop_at_the_limit_are_counted(problem) -> None:
    got = fit_and_score(*problem, ("a", "b", "c"), (1e7,))
    assert got.fits == 12
    assert got.not_converged == 12


@pytest.mark.parametrize(("label", "what"), [(1, "positive"), (-1, "negative")])
def test_fewer_than_three_images_of_a_kind(problem, label: int, what: str) -> None:
    train, labels, test = problem
    labels = labels.copy()
    labels[:, 1] = -label
    labels[:2, 1] = label
    with pytest.raises(InputError, match=f"class bird has 2 {what} training images: 3-fold .* needs at least 3"):
        fit_and_score(train, labels, test, ("aeroplane", "bird", "cow"), (1.0,))
