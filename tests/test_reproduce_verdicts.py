"""Words by a written rule: worked intervals, both directions, margins, and when nothing can be said."""

import numpy as np
import pytest
from scipy import stats

from clsa.reproduce.baseline import PublishedSample
from clsa.reproduce.trials import Sample, sample
from clsa.reproduce.verdicts import above, at_most_below, compare, welch_interval

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
        (HIGH, Sample((20.8, 20.8)), 0.0, "within noise", "values equal to the last digit"),
    ],
)
def test_above(a, b, margin, word, reason) -> None:
    verdict = above(a, b, margin)
    assert verdict.word == word
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        (HIGH, LOW, "above, beyond noise"),
        (LOW, HIGH, "below, beyond noise"),
        (HIGH, Sample((24.0, 24.3, 24.6)), "within noise"),
        (HIGH, Sample((20.8,)), "within noise"),
    ],
)
def test_what_is_no_claim_is_never_called_reproduced(a, b, word) -> None:
    assert compare(a, b).word == word


def test_pretrainings_are_what_is_counted() -> None:
    """Three pretrainings of two trials a side: Welch over the means 57, 58, 59 and 54, 55, 56."""
    names = ("p", "p", "q", "q", "r", "r")
    a = Sample((56.9, 57.1, 57.9, 58.1, 58.9, 59.1), names)
    b = Sample((53.9, 54.1, 54.9, 55.1, 55.9, 56.1), names)
    # standard error sqrt(1 / 3 + 1 / 3) = 0.8165, 4 degrees of freedom, t = 2.7764: half of the interval is 2.267
    said = "+3.00, 95 % interval +0.73 to +5.27 (3 pretrainings x 2 trials and 3 pretrainings x 2 trials)"
    assert compare(a, b).reason == said


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


def test_a_published_mean_with_its_spread_is_a_side() -> None:
    measured = Sample((83.1, 83.2, 83.3))
    expected = stats.ttest_ind_from_stats(83.2, 0.1, 3, 82.4, 0.2, 5, equal_var=False)
    verdict = compare(measured, PublishedSample(82.4, 0.2, 5))
    assert verdict.word == "above, beyond noise"
    assert expected.pvalue < 0.05
    assert verdict.reason.startswith("+0.80, 95 % interval")
    assert verdict.reason.endswith("(3 and 5 trials)")
    assert compare(measured, PublishedSample(82.4)).reason.startswith("+0.80, with 3 and 1 trials: the spread is")


def test_undefined_trials_are_no_trials() -> None:
    assert sample([None, None]) is None
    assert sample([None, 3.0]) == Sample((3.0,))
    assert Sample((3.0,)).std is None
