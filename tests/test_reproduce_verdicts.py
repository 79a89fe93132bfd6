"""Four words by a written rule: worked intervals, both directions, margins, and when nothing can be said."""

import numpy as np
import pytest
from scipy import stats

from clsa.reproduce.trials import Sample, sample
from clsa.reproduce.verdicts import above, at_most_below, welch_interval

HIGH, LOW = Sample((24.2, 24.4, 24.6)), Sample((20.6, 20.8, 21.0))


def test_a_worked_interval() -> None:
    # std 0.2 and n = 3 on both sides: standard error 0.2 sqrt(2 / 3) = 0.1633, 4 degrees of freedom, t = 2.7764
    assert welch_interval(HIGH, LOW) == pytest.approx((3.6 - 0.45340, 3.6 + 0.45340), abs=1e-4)


def test_the_interval_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(50, 0.3, 5), rng.normal(49.8, 0.9, 3)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    found = welch_interval(Sample(tuple(a)), Sample(tuple(b)))
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "margin", "word", "reason"),
    [
        (HIGH, LOW, 3.6, "reproduced", "+3.60, 95 % interval +3.15 to +4.05 (3 and 3 trials): above"),
        (HIGH, LOW, 4.7, "not reproduced", "the claimed margin of +4.7 lies outside"),
        (LOW, HIGH, 0.0, "not reproduced", "below, beyond noise"),
        (HIGH, Sample((24.0, 24.3, 24.6)), 0.0, "within noise", "it holds 0"),
        (Sample((24.4,)), Sample((20.8,)), 3.6, "within noise", "+3.60, with one trial each: the spread is unknown"),
        (HIGH, Sample((20.8,)), 3.6, "within noise", "with 3 and 1 trials"),
        (HIGH, Sample((20.8, 20.8)), 0.0, "within noise", "trials equal to the last digit"),
    ],
)
def test_above(a, b, margin, word, reason) -> None:
    verdict = above(a, b, margin)
    assert verdict.word == word
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((76.45, 76.5, 76.55), "reproduced"),
        ((76.1, 76.2, 76.3), "within noise"),
        ((74.0, 74.1, 74.2), "not reproduced"),
    ],
)
def test_at_most_below(values, word) -> None:
    supervised = Sample((76.45, 76.5, 76.55))
    assert at_most_below(Sample(values), supervised, 0.3).word == word


def test_undefined_trials_are_no_trials() -> None:
    assert sample([None, None]) is None
    assert sample([None, 3.0]) == Sample((3.0,))
    assert Sample((3.0,)).std is None
