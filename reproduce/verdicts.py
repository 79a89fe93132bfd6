"""Does A stand where a claim puts it beside B? One of four words, by a rule that is written down.

The rule: Welch's 95 % interval of the difference of the two means over trials (Welch, Biometrika 34, 1947: unequal
variances, degrees of freedom by Satterthwaite). With n trials a side it is about two standard errors wide for large n,
and rightly wider for few: 2.8 of them for two times three trials of equal spread.

- The claim is a difference above 0. The interval holds 0: *within noise*. It lies below 0: *not reproduced*. It lies
  above 0: *reproduced*, unless it also lies below the margin that the claim gives: then the direction holds and the
  margin does not, *not reproduced*.
- The claim is "at most m below". The interval reaches to m below at its lower end: *reproduced*. It lies wholly lower:
  *not reproduced*. Else *within noise*.
- With one trial on a side, or with trials that are equal to the last digit (nothing in them was random), the spread is
  unknown: *within noise*, whatever the difference is.
- What must not be subtracted is *not comparable*, with the reason: see :mod:`.claims`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from .trials import Sample

Word = Literal["reproduced", "within noise", "not reproduced", "not comparable"]
RULE = "Welch's 95 % interval of the difference of means over trials"

#: Papers print one decimal: a printed margin may be this much smaller than the true one, in points.
ROUNDING = 0.05


@dataclass(frozen=True)
class Verdict:
    """``delta`` A - B in points, ``interval`` its 95 % interval; None where they are not known."""

    word: Word
    reason: str
    delta: float | None = None
    interval: tuple[float, float] | None = None


def welch_interval(a: Sample, b: Sample) -> tuple[float, float] | None:
    """The 95 % interval of mean(a) - mean(b); None where the spread of either is unknown."""
    if not (a.spread_is_known and b.spread_is_known):
        return None
    of_a, of_b = a.std**2 / a.count, b.std**2 / b.count
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (a.count - 1) + of_b**2 / (b.count - 1))
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(of_a + of_b)
    delta = a.mean - b.mean
    return delta - half, delta + half


def above(a: Sample, b: Sample, margin: float = 0.0) -> Verdict:
    """Whether A is above B, and if a ``margin`` in points is claimed, whether by as much."""
    delta, interval = a.mean - b.mean, welch_interval(a, b)
    if interval is None:
        return Verdict("within noise", _unknown(a, b, delta), delta)
    low, high = interval
    said = _said(a, b, delta, interval)
    if high < 0:
        return Verdict("not reproduced", f"{said}: below, beyond noise", delta, interval)
    if low <= 0:
        return Verdict("within noise", f"{said}: it holds 0", delta, interval)
    if high < margin - ROUNDING:
        reason = f"{said}: the direction holds, the claimed margin of {margin:+.1f} lies outside"
        return Verdict("not reproduced", reason, delta, interval)
    return Verdict("reproduced", f"{said}: above, beyond noise", delta, interval)


def at_most_below(a: Sample, b: Sample, margin: float) -> Verdict:
    """Whether A is no more than ``margin`` points (positive) below B."""
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


def _said(a: Sample, b: Sample, delta: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{_points(delta)}, 95 % interval {_points(low)} to {_points(high)} ({a.count} and {b.count} trials)"


def _unknown(a: Sample, b: Sample, delta: float) -> str:
    if a.count == 1 or b.count == 1:
        counts = "one trial each" if a.count == b.count else f"{a.count} and {b.count} trials"
        return f"{_points(delta)}, with {counts}: the spread is unknown, so no difference stands out from it"
    return f"{_points(delta)}, but trials equal to the last digit: nothing in them was random, the spread is unknown"


def _points(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
