"""Results that differ in nothing but trial, seed, or (where the user says so) the pretraining: one sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """The values of one metric over the trials of one method, percent; never empty."""

    values: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / self.count

    @property
    def std(self) -> float | None:
        """Of the population that the trials are drawn from (n - 1); None for one trial."""
        return float(np.std(self.values, ddof=1)) if self.count > 1 else None

    @property
    def spread_is_known(self) -> bool:
        """False for one trial, and for trials that are equal to the last digit: nothing was random in them."""
        return self.count > 1 and len(set(self.values)) > 1


def sample(values: Sequence[float | None]) -> Sample | None:
    """Without the undefined values; None where nothing is left."""
    defined = tuple(value for value in values if value is not None)
    return Sample(defined) if defined else None
