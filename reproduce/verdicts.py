"""Does A stand where it is put beside B? In words, by a rule that is written down.

The rule: Welch's 95 % interval of the difference of the two means (Welch, Biometrika 34, 1947: unequal variances,
degrees of freedom by Satterthwaite), over the trials of a pretraining, or over pretrainings where a method has several.
With n values a side it is about two standard errors wide for large n, and rightly wider for few: 2.8 of them for two
times three of equal spread.

What was measured, whatever it was (:func:`compare`): the interval holds 0: *within noise*; else *above, beyond noise*
or *below, beyond noise*.

A claim, on its own protocol and data (:func:`above`, :func:`at_most_below`):

- It is a difference above 0. The interval holds 0: *within noise*. It lies below 0: *not reproduced*. It lies above 0:
  *reproduced*, unless it also lies below the margin that the claim gives: then the direction holds and the margin does
  not, *not reproduced*.
- It is "at most m below". The interval reaches to m below at its lower end: *reproduced*. It lies wholly lower: *not
  reproduced*. Else *within noise*.
- What must not be subtracted is *not comparable*, with the reason, and where its protocols disagree it is *mixed*: see
  :mod:`.judging`.

With one value on a side, or with values that are equal to the last digit (nothing in them was random), the spread is
unknown: *within noise*, whatever the difference is.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from scipy import stats

Word = Literal[
    "reproduced",
    "above, beyond noise",
    "within noise",
    "mixed",
    "not reproduced",
    "below, beyond noise",
    "not comparable",
]
RULE = "Welch's 95 % interval of the difference of means, over trials or, where there are several, over pretrainings"

#: Papers print one decimal: a printed margin may be this much smaller than the true one, in points.
ROUNDING = 0.05


class Summary(Protocol):
    """What the rule asks of a side: a :class:`~clsa.reproduce.trials.Sample`, or a published mean."""

    @property
    def count(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def std(self) -> float | None: ...
    @property
    def spread_is_known(self) -> bool: ...
    @property
    def made_of(self) -> str: ...


@dataclass(frozen=True)
class Verdict:
    """``delta`` A - B in points, ``interval`` its 95 % interval; None where they are not known, or several."""

    word: Word
    reason: str
    delta: float | None = None
    interval: tuple[float, float] | None = None


def welch_interval(a: Summary, b: Summary) -> tuple[float, float] | None:
    """The 95 % interval of mean(a) - mean(b); None where the spread of either is unknown."""
    if not (a.spread_is_known and b.spread_is_known):
        return None
    of_a, of_b = a.std**2 / a.count, b.std**2 / b.count
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (a.count - 1) + of_b**2 / (b.count - 1))
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(of_a + of_b)
    delta = a.mean - b.mean
    return delta - half, delta + half


def compare(a: Summary, b: Summary) -> Verdict:
    """Where A stands beside B, on whatever both were measured."""
    delta, interval = a.mean - b.mean, welch_interval(a, b)
    if interval is None:
        return Verdict("within noise", _unknown(a, b, delta), delta)
    low, high = interval
    said = _said(a, b, delta, interval)
    if low <= 0 <= high:
        return Verdict("within noise", f"{said}: it holds 0", delta, interval)
    return Verdict("above, beyond noise" if low > 0 else "below, beyond noise", said, delta, interval)


def above(a: Summary, b: Summary, margin: float = 0.0) -> Verdict:
    """Whether a claim holds that A is above B, and if it gives a ``margin`` in points, by as much."""
    found = compare(a, b)
    if found.word == "within noise":
        return found
    (_, high), said = found.interval, found.reason
    if high < 0:
        return Verdict("not reproduced", f"{said}: below, beyond noise", found.delta, found.interval)
    if high < margin - ROUNDING:
        reason = f"{said}: the direction holds, the claimed margin of {margin:+.1f} lies outside"
        return Verdict("not reproduced", reason, found.delta, found.interval)
    return Verdict("reproduced", f"{said}: above, beyond noise", found.delta, found.interval)


def at_most_below(a: Summary, b: Summary, margin: float) -> Verdict:
    """Whether a claim holds that A is no more than ``margin`` points (positive) below B."""
    delta, interval = a.mean - b.mean, welch_interval(a, b)
    if interval is None:
        return Verdict("within noise", _unknown(a, b, delta), delta)
    low, high = interval
    said, limit = _said(a, b, delta, interval), -margin - ROUNDING
    if low >= limit:
        return Verdict("reproduced", f"{said}: at most {margin:g} below", delta, interval)
    if high < limit:
        return Verdict("not reproduced", f"{said}: more than {margin:g} below", delta, interval)
    return Verdict("within noise", f"{said}: it holds {-margin:g}", delta, interval)


def _said(a: Summary, b: Summary, delta: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{_points(delta)}, 95 % interval {_points(low)} to {_points(high)} ({_counts(a, b)})"


def _unknown(a: Summary, b: Summary, delta: float) -> str:
    if a.std is None or b.std is None:
        return f"{_points(delta)}, with {_counts(a, b)}: the spread is unknown, so no difference stands out from it"
    return f"{_points(delta)}, but values equal to the last digit: nothing in them was random, the spread is unknown"


def _counts(a: Summary, b: Summary) -> str:
    """``"3 and 5 trials"``, ``"one trial each"``, ``"3 pretrainings x 5 trials and 2 trials"``."""
    if a.made_of == b.made_of == "1 trial":
        return "one trial each"
    (of_a, unit), (of_b, other) = a.made_of.split(" ", 1), b.made_of.split(" ", 1)
    if unit.rstrip("s") == other.rstrip("s") in ("trial", "pretraining"):
        return f"{of_a} and {of_b} {unit.rstrip('s')}s"
    return f"{a.made_of} and {b.made_of}"


def _points(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
