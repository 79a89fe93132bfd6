"""The four average precisions against slow loops, scikit-learn and numbers worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from clsa.classification.average_precision import FLAVOURS, average_precisions
from clsa.configs.command import InputError


def slow_curve(scores: list[float], present: list[bool]) -> list[tuple[int, float]]:
    """(positives found, precision) at each distinct score, from the highest down."""
    curve = []
    for threshold in sorted(set(scores), reverse=True):
        admitted = [p for s, p in zip(scores, present, strict=True) if s >= threshold]
        curve.append((sum(admitted), sum(admitted) / len(admitted)))
    return curve


def slow_average_precisions(scores: list[float], present: list[bool]) -> tuple[float, float, float]:
    """Envelope, step, 11-point, straight from their definitions."""
    positives = sum(present)
    if positives == 0:
        return (float("nan"),) * 3
    curve = slow_curve(scores, present)
    envelope = step = eleven = 0.0
    before = 0
    for index, (found, precision) in enumerate(curve):
        step += (found - before) / positives * precision
        envelope += (found - before) / positives * max(p for _, p in curve[index:])
        before = found
    for tenths in range(11):
        eleven += max(p for found, p in curve if 10 * found >= tenths * positives) / 11
    return envelope, step, eleven


def random_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ties, absent classes, classes that are only difficult, images without any label."""
    images, classes = rng.integers(1, 30), rng.integers(1, 7)
    scores = rng.integers(0, 8, (images, classes)) / 4 if rng.random() < 0.6 else rng.normal(size=(images, classes))
    labels = rng.choice([1, -1, 0], size=(images, classes), p=[0.25, 0.6, 0.15])
    labels[:, rng.random(classes) < 0.15] = -1
    labels[:, rng.random(classes) < 0.1] = 0
    return scores, labels


@pytest.mark.parametrize("difficult", ["left out", "absent"])
def test_equal_to_slow_loops(difficult: str) -> None:
    """On 500 matrices each way, 1000 different ones."""
    rng = np.random.default_rng(difficult == "absent")
    for _ in range(500):
        scores, labels = random_case(rng)
        got = average_precisions(scores, labels, difficult)
        keep = labels != 0 if difficult == "left out" else np.ones_like(labels, dtype=bool)
        for k in range(labels.shape[1]):
            rows = keep[:, k]
            expected = slow_average_precisions(scores[rows, k].tolist(), (labels[rows, k] == 1).tolist())
            np.testing.assert_allclose(
                [got.envelope[k], got.step[k], got.eleven_point[k]], expected, rtol=0, atol=1e-12
            )
        for i in range(labels.shape[0]):
            columns = keep[i]
            expected = slow_average_precisions(scores[i, columns].tolist(), (labels[i, columns] == 1).tolist())[1]
            np.testing.assert_allclose(got.per_image[i], expected, rtol=0, atol=1e-12)


def test_equal_to_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        scores = rng.integers(0, 12, (60, 5)).astype(float)
        labels = np.where(rng.random((60, 5)) < 0.3, 1, -1)
        labels[:, 0] = np.where(labels.max(axis=1) < 1, 1, labels[:, 0])  # an image without a label counts as 1 there
        got = average_precisions(scores, labels)
        expected = [average_precision_score(labels[:, k] == 1, scores[:, k]) for k in range(5)]
        np.testing.assert_allclose(got.step, expected, rtol=0, atol=1e-12)
        assert got.means()["per-image AP"] == pytest.approx(
            label_ranking_average_precision_score(labels == 1, scores), abs=1e-12
        )


def test_worked_by_hand() -> None:
    """Ranking + - + + -: precision 1, 1/2, 2/3, 3/4 at recall 1/3, 1/3, 2/3, 1; raised: 1, 3/4, 3/4."""
    scores = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]])
    labels = np.array([[1], [-1], [1], [1], [-1]])
    got = average_precisions(scores, labels)
    assert got.step[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert got.envelope[0] == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    assert got.eleven_point[0] == pytest.approx((4 * 1 + 7 * 3 / 4) / 11)  # recall 0 to 0.3, then 0.4 to 1


def test_three_of_ten_reach_recall_three_tenths() -> None:
    """Ten positives, three of them first, then 90 negatives, then the rest: levels 0 to 0.3 have precision 1."""
    labels = np.array([[1]] * 3 + [[-1]] * 90 + [[1]] * 7)
    got = average_precisions(-np.arange(100.0)[:, None], labels)
    assert got.eleven_point[0] == pytest.approx((4 * 1 + 7 * 0.1) / 11)


def test_difficult_images_are_left_out_of_their_class_only() -> None:
    scores = np.array([[9.0, 1.0], [8.0, 2.0], [7.0, 3.0]])
    labels = np.array([[0, 1], [1, -1], [-1, -1]])
    left_out, absent = average_precisions(scores, labels), average_precisions(scores, labels, difficult="absent")
    assert left_out.step.tolist() == pytest.approx([1, 1 / 3])
    assert absent.step.tolist() == pytest.approx([1 / 2, 1 / 3])
    assert left_out.per_image[0] == pytest.approx(1)
    assert absent.per_image[0] == pytest.approx(1 / 2)


def test_all_scores_equal_give_the_share_of_positives() -> None:
    labels = np.array([[1], [-1], [-1], [1], [-1]])
    got = average_precisions(np.zeros((5, 1)), labels)
    assert (got.envelope[0], got.step[0], got.eleven_point[0]) == pytest.approx((0.4, 0.4, 0.4))


def test_absent_classes_are_nan_and_left_out_of_the_mean() -> None:
    scores = np.array([[3.0, 1.0, 0.0], [2.0, 2.0, 1.0]])
    labels = np.array([[1, -1, 0], [-1, -1, 0]])
    got = average_precisions(scores, labels)
    assert np.isnan(got.step).tolist() == [False, True, True]
    assert np.isnan(got.per_image).tolist() == [False, True]
    assert list(got.means()) == list(FLAVOURS)
    assert set(got.means().values()) == {1.0}
    assert np.isnan(list(average_precisions(scores, -np.ones_like(labels)).means().values())).all()


def test_order_of_images_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.integers(0, 3, (40, 4)).astype(float), rng.choice([1, -1], (40, 4))
    shuffled = rng.permutation(40)
    first, second = average_precisions(scores, labels), average_precisions(scores[shuffled], labels[shuffled])
    np.testing.assert_array_equal(first.envelope, second.envelope)


@pytest.mark.parametrize(
    ("scores", "labels", "difficult", "message"),
    [
        (np.zeros((3, 2)), np.ones((2, 3)), "left out", r"\(3, 2\) and labels of shape \(2, 3\) do not fit"),
        (np.zeros((0, 2)), np.ones((0, 2)), "left out", "do not fit"),
        (np.array([[0.0, np.nan]]), np.ones((1, 2)), "left out", "image 0 for class 1 is nan"),
        (np.zeros((1, 2)), np.array([[1, 2]]), "left out", r"1 \(present\), -1 \(absent\) or 0 \(difficult\), got .*2"),
        (np.zeros((1, 1)), np.ones((1, 1)), "present", "difficult 'present' is unknown"),
    ],
)
def test_bad_input(scores: np.ndarray, labels: np.ndarray, difficult: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        average_precisions(scores, labels, difficult)
