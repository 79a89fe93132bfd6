"""The exact SVM solver against LinearSVC, and against certificates computed anew, on problems made to break it."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from clsa.classification.exact_svm import dual, primal
from clsa.classification.exact_svm.images import Images
from clsa.classification.exact_svm.line_search import best_step
from clsa.classification.exact_svm.minimiser import Minimiser
from clsa.classification.exact_svm.path import fit_path
from clsa.classification.exact_svm.preconditioner import Preconditioner
from clsa.classification.exact_svm.problem import Problems
from clsa.classification.exact_svm.ranking import step_average_precision
from clsa.classification.svm import fit_and_score, normalise_rows, stratified_folds

TOLERANCE = 1e-4


def certificate(features: np.ndarray, target: np.ndarray, weight: np.ndarray, w: np.ndarray) -> float:
    """|g| / |w| by the equation, an image at a time; ``features`` with the column of ones."""
    gradient = w.copy()
    for x, y, s in zip(features.astype(np.float64), target, weight, strict=True):
        gradient -= 2 * s * y * max(0.0, 1 - y * float(x @ w)) * x
    gradient, size, length = np.linalg.norm(gradient), np.linalg.norm(w), np.linalg.norm(features, axis=1)
    noise = 1e-14 * weight @ length
    w_is_rounding_error = size <= noise and gradient <= noise * (1 + weight @ length**2)
    return 0.0 if w_is_rounding_error else float(gradient / size)


def with_ones(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1), features.dtype)], axis=1)


def as_problems(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Problems:
    """``features`` (N, D - 1); ``targets`` and ``weights`` (P, N)."""
    images = Images(torch.as_tensor(features), bias=True)
    return Problems(images, torch.as_tensor(targets).double(), torch.as_tensor(weights).double(), images.longest())


@pytest.fixture(scope="module")
def voc_like() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """400 + 200 images of 60 features, normalised, and the labels of 4 classes of falling frequency."""
    rng = np.random.default_rng(1)
    labels = np.where(rng.random((600, 4)) < (0.4, 0.15, 0.08, 0.04), 1, -1)
    signal = (labels == 1) @ rng.normal(size=(4, 60))
    features = normalise_rows(np.maximum(0, rng.normal(size=(600, 60)) * np.arange(1, 61) ** -0.5 + 0.5 * signal))
    return features[:400], labels[:400], features[400:]


@pytest.mark.parametrize("cost", [1e-3, 1.0, 30.0])
def test_weights_are_those_of_linear_svc(voc_like, cost: float) -> None:
    train, labels, test = voc_like
    got = fit_path(train, labels, stratified_folds(labels), (cost,))
    assert not got.uncertified
    for k in range(4):
        machine = LinearSVC(
            C=cost, dual=True, class_weight={1: 2, -1: 1}, tol=1e-9, max_iter=1_000_000, random_state=0
        ).fit(train, labels[:, k])
        reference = np.append(machine.coef_[0], machine.intercept_)
        assert np.linalg.norm(got.weights[:, k] - reference) <= TOLERANCE * np.linalg.norm(reference)
        scores = test @ got.weights[:-1, k] + got.weights[-1, k]
        np.testing.assert_allclose(scores, machine.decision_function(test), atol=2e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_protocol_chooses_as_scikit_learn_does(voc_like, dtype: type) -> None:
    train, labels, test = (part.astype(dtype) if part.dtype == float else part for part in voc_like)
    costs = (0.01, 0.1, 1.0, 10.0, 100.0)
    exact, sklearn = (fit_and_score(train, labels, test, "abcd", costs, solver=name) for name in ("exact", "sklearn"))
    assert exact.costs == sklearn.costs
    assert exact.cross_validated == pytest.approx(sklearn.cross_validated, abs=5e-3)
    np.testing.assert_allclose(exact.scores, sklearn.scores, atol=5e-3)
    assert (exact.fits, exact.not_converged) == (4 * (3 * 5 + 1), 0)
    assert exact.solver["certificate"] <= exact.solver["tolerance"] == TOLERANCE
    assert exact.solver["uncertified"] == []


def test_certificates_hold_for_the_features_as_given(voc_like) -> None:
    """More features than images: solved in a rotated, smaller space, certified in the original one."""
    rng = np.random.default_rng(2)
    train, labels, _ = voc_like
    wide = np.concatenate([train, rng.normal(size=(400, 500)) / 30], axis=1).astype(np.float32)
    fit = fit_path(wide, labels, stratified_folds(labels), (0.1, 10.0))
    assert not fit.uncertified
    for k in range(4):
        weight = fit.costs[k] * np.where(labels[:, k] == 1, 2.0, 1.0)
        found = certificate(with_ones(wide), labels[:, k], weight, fit.weights[:, k])
        assert found == pytest.approx(fit.certificates[k], abs=1e-9)
        assert found <= TOLERANCE


@pytest.mark.parametrize("kind", ["wide", "bias", "triangular"])
@pytest.mark.parametrize("features", [torch.float32, torch.float64])
@pytest.mark.parametrize("vectors", [torch.float32, torch.float64])
def test_products_in_blocks_are_the_products(kind: str, features: torch.dtype, vectors: torch.dtype) -> None:
    """300 rows: two whole blocks and a part of one."""
    draw = torch.Generator().manual_seed(0)
    matrix = torch.randn(300, 300, generator=draw, dtype=features) / 17  # rows of norm 1
    images = Images(matrix.tril() if kind == "triangular" else matrix, kind == "bias", kind == "triangular")
    x = images.dense(torch.float64)
    w = torch.randn(4, images.dimensions, generator=draw, dtype=vectors)
    b = torch.randn(4, 300, generator=draw, dtype=vectors)
    for found, expected in ((images.scores(w), w.double() @ x.T), (images.combination(b), b.double() @ x)):
        assert found.dtype == vectors
        digits = 1e-12 if vectors == torch.float64 else 1e-5
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=digits)
    torch.testing.assert_close(images.gram(vectors).double(), x @ x.T, rtol=0, atol=digits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_primal_and_dual_meet_at_the_same_minimum(voc_like, dtype: torch.dtype) -> None:
    train, labels, _ = voc_like
    problems = as_problems(torch.as_tensor(train, dtype=dtype), labels.T, np.where(labels.T == 1, 2.0, 1.0))
    images = problems.images
    by_primal, _ = primal.minimise(problems, images, torch.zeros(4, 61), Preconditioner(images, rank=20), 1e-5)
    start = torch.zeros(4, 400, dtype=torch.float64)
    by_dual, _ = dual.minimise(problems, start, images.gram(dtype), 1e-5)
    torch.testing.assert_close(by_primal, images.combination(by_dual), rtol=0, atol=5e-5)


def objectives(features: np.ndarray, labels: np.ndarray, costs: tuple[float, ...], weights: np.ndarray) -> np.ndarray:
    """(K,) values of what is minimised, for weights (D, K), with positives weighted twice."""
    loss = np.where(labels == 1, 2, 1) * np.maximum(0, 1 - labels * (with_ones(features) @ weights)) ** 2
    return (weights**2).sum(axis=0) / 2 + costs * loss.sum(axis=0)


@pytest.mark.parametrize("trouble", ["separable", "one positive a fold", "constant column", "duplicated", "n < d"])
@pytest.mark.parametrize("cost", [1e-7, 1.0, 1e3])
def test_objective_is_never_above_liblinears(voc_like, trouble: str, cost: float) -> None:
    features, labels = voc_like[0][:90].copy(), voc_like[1][:90, :1].copy()
    if trouble == "separable":
        features[:, 0] = labels[:, 0]
    elif trouble == "one positive a fold":
        labels[:] = -1
        labels[::30] = 1
    elif trouble == "constant column":
        features[:, 7:] = 0.5
    elif trouble == "duplicated":
        features[45:], labels[45:] = features[:45], labels[:45]
    else:
        features = np.concatenate([features, features[:, ::-1] ** 2], axis=1)
    fit = fit_path(features, labels, stratified_folds(labels), (cost,))
    assert not fit.uncertified
    machine = LinearSVC(C=cost, dual=False, class_weight={1: 2, -1: 1}, tol=1e-8, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(features, labels[:, 0])
    reference = np.append(machine.coef_[0], machine.intercept_)[:, None]
    ours, theirs = (objectives(features, labels, (cost,), w)[0] for w in (fit.weights, reference))
    assert ours <= theirs * (1 + 1e-6)


def test_warm_starts_keep_the_active_images(voc_like) -> None:
    """From the last cost's active images few rounds lead on; from those of the best multiple of its w, a dozen did."""
    train, labels, _ = voc_like
    fit = fit_path(train, labels, stratified_folds(labels), (10.0, 100.0, 1000.0))
    assert fit.work["factorisations"] <= 5 * fit.fits


def test_wide_float32_features_keep_a_float32_gram_matrix(voc_like) -> None:
    """Twice as fast and half the memory; the rotated features that stand for them are float64."""
    train, labels, _ = voc_like
    wide = torch.as_tensor(np.tile(train[:50], 2), dtype=torch.float32)
    minimiser = Minimiser(Images(wide, bias=True), TOLERANCE)
    assert minimiser.images.matrix.dtype == torch.float64
    assert minimiser.images.triangular
    target = torch.as_tensor(labels[:50].T).double()
    for cost, dtype in ((10.0, torch.float32), (1e6, torch.float64)):
        solved = minimiser.solve(minimiser.problems(target, torch.full_like(target, cost)))
        assert minimiser.gram.dtype == dtype
        assert float(solved.certificate.max()) <= TOLERANCE


def test_every_tensor_is_made_on_the_device_that_was_asked_for(voc_like) -> None:
    """PyTorch's default device set to one that holds no numbers: what forgets to name its device fails here."""
    train, labels, _ = voc_like
    wide = np.concatenate([train[:90], train[90:180], train[180:270]], axis=1)
    for features in (train[:90], wide):
        arguments = features, labels[:90], stratified_folds(labels[:90]), (0.01, 10.0)
        expected = fit_path(*arguments, device="cpu")
        with torch.device("meta"):
            found = fit_path(*arguments, device="cpu")
        np.testing.assert_array_equal(found.weights, expected.weights)


def test_folds_are_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        targets = np.where(rng.random((int(rng.integers(12, 40)), 1)) < 0.4, 1, -1)
        targets[rng.permutation(12)[:6], 0] = [1, 1, 1, -1, -1, -1]
        got = stratified_folds(targets)[:, 0]
        for fold, (_, held) in enumerate(StratifiedKFold(3, shuffle=False).split(targets, targets[:, 0])):
            np.testing.assert_array_equal(np.flatnonzero(got == fold), held)


def test_same_bits_every_time(voc_like) -> None:
    train, labels, _ = voc_like
    first, second = (fit_path(train, labels, stratified_folds(labels), (0.01, 1.0)) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_best_step_is_the_minimum_of_the_line() -> None:
    rng = np.random.default_rng(3)
    gap, change, weight = (torch.as_tensor(rng.normal(size=(5, 40))) for _ in range(3))
    weight, w_d, d_d = weight.abs(), -torch.ones(5).double(), torch.full((5,), 0.5).double()
    found = best_step(w_d, d_d, gap, change, weight)

    def objective(t: torch.Tensor) -> torch.Tensor:
        return t * w_d + t * t * d_d / 2 + (weight * (gap - t[:, None] * change).clamp_min(0) ** 2).sum(1)

    along = torch.stack([objective(torch.full((5,), t, dtype=torch.float64)) for t in np.linspace(0, 5, 2001)])
    assert bool((objective(found) <= along.min(0).values + 1e-6).all())


def test_ranking_equals_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        scores, present = rng.integers(0, 6, 12).astype(float), rng.random(12) < 0.4
        present[rng.integers(12)] = True
        assert step_average_precision(scores, present) == pytest.approx(average_precision_score(present, scores))


@st.composite
def awkward(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, D - 1), targets (P, N) and weights (P, N), any of them degenerate."""
    images, dimensions, problems = draw(st.integers(3, 24)), draw(st.integers(1, 30)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    features = rng.normal(size=(images, dimensions)) * 10.0 ** draw(st.integers(-3, 1))
    targets = np.where(rng.random((problems, images)) < draw(st.sampled_from([0.1, 0.5])), 1, -1)
    targets[:, 0] = 1  # one positive at least
    for trouble in draw(st.sets(st.sampled_from(["separable", "one", "constant", "duplicated", "zero", "balanced"]))):
        if trouble == "separable":
            features[:, 0] = 3 * targets[0]
        elif trouble == "one":
            targets[:, 1:] = -1
        elif trouble == "constant":
            features[:, draw(st.integers(0, dimensions - 1)) :] = draw(st.sampled_from([0.0, 1.0, -50.0]))
        elif trouble == "duplicated":
            features[images // 2 :] = features[: images - images // 2]
        elif trouble == "zero":
            features[:] = 0
        elif trouble == "balanced":
            targets[:] = np.where(np.arange(images) % 3 == 0, 1, -1)
    if draw(st.booleans()):
        features = normalise_rows(features)
    weights = np.where(targets == 1, 2.0, 1.0) * (rng.random(targets.shape) < 0.8)
    weights[:, 0] = 2
    return features.astype(draw(st.sampled_from([np.float32, np.float64]))), targets, weights


COSTS = st.lists(st.sampled_from([10.0**power for power in range(-7, 4)]), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(awkward(), COSTS)
def test_converges_and_certifies_or_says_that_it_did_not(data, costs: list[float]) -> None:
    features, targets, weights = data
    minimiser = Minimiser(Images(torch.as_tensor(features), bias=True), TOLERANCE)
    solutions = None
    for cost in costs:
        problems = minimiser.problems(*(torch.as_tensor(part).double() for part in (targets, cost * weights)))
        solutions = minimiser.solve(problems, solutions)
        solved, certificates = minimiser.weights(problems, solutions)
        for target, weight, w, said in zip(targets, cost * weights, solved, certificates, strict=True):
            found = certificate(with_ones(features), target, weight, w.numpy())
            assert bool(torch.isfinite(w).all())
            # Rounding errors of w, which the curvature multiplies: with features of norm 87 and C = 100, 1e-4 |w|.
            length = np.linalg.norm(with_ones(features), axis=1)
            rounding = 1e-15 * cost * (weights @ length).max() * (1 + weight @ length**2) / (np.linalg.norm(w) or 1)
            assert float(said) <= TOLERANCE or rounding > 1e-2 * TOLERANCE, "nothing but digits may be missing"
            assert found <= max(TOLERANCE, float(said)) * 1.001 + rounding


@settings(max_examples=60, deadline=None)
@given(awkward(), st.sampled_from([10.0**power for power in range(-7, 4)]))
def test_primal_certifies_or_is_found_out(data, cost: float) -> None:
    """The method of large problems alone, where it may fail for want of digits: the certificate must say so."""
    features, targets, weights = data
    problems = as_problems(features, targets, cost * weights)
    images = problems.images
    start = torch.zeros(len(targets), images.dimensions)
    w, _ = primal.minimise(problems, images, start, Preconditioner(images), TOLERANCE)
    _, said = problems.certify(w)
    for row, (target, weight) in enumerate(zip(targets, cost * weights, strict=True)):
        found = certificate(with_ones(features), target, weight, w[row].numpy())
        assert (found <= TOLERANCE * 1.001) == (float(said[row]) <= TOLERANCE) or found == pytest.approx(
            float(said[row]), rel=1e-3
        )


def test_a_fit_that_does_not_converge_is_named(voc_like) -> None:
    train, labels, test = voc_like
    got = fit_and_score(train, labels, test, "abcd", (1.0,), solver="exact", tolerance=1e-17)
    assert got.not_converged == len(got.solver["uncertified"]) > 0
    assert "cost 1: |gradient| / |w| = " in got.solver["uncertified"][0]
