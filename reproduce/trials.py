"""Results that differ in nothing but trial, seed or pretraining: one sample, and what in it is independent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """The values of one metric over the trials of one method, percent; never empty.

    Trials of one pretraining share its chance, so they are no independent draws of the method: of several pretrainings
    each is one value, the mean of its trials, and ``count``, ``mean`` and ``std`` are over these. Of one pretraining
    they are over its trials, and say nothing of what another pretraining would give.

    ``pretrainings``: of each value which pretraining it is of; empty: all of one.
    """

    values: tuple[float, ...]
    pretrainings: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[tuple[float, ...], ...]:
        """The values by pretraining, in the order in which these come."""
        found: dict[str, list[float]] = {}
        for value, name in zip(self.values, self.pretrainings or ("",) * len(self.values), strict=True):
            found.setdefault(name, []).append(value)
        return tuple(tuple(group) for group in found.values())

    @property
    def independent(self) -> tuple[float, ...]:
        """The means of the pretrainings where there are several, else the trials."""
        groups = self.groups
        return tuple(math.fsum(group) / len(group) for group in groups) if len(groups) > 1 else self.values

    @property
    def count(self) -> int:
        """Of :attr:`independent`: the n of mean and standard deviation."""
        return len(self.independent)

    @property
    def unit(self) -> str:
        """What ``count`` counts: ``"trials"`` or ``"pretrainings"``."""
        return "pretrainings" if len(self.groups) > 1 else "trials"

    @property
    def mean(self) -> float:
        return math.fsum(self.independent) / self.count

    @property
    def std(self) -> float | None:
        """Of the population that the independent values are drawn from (n - 1); None for one."""
        return float(np.std(self.independent, ddof=1)) if self.count > 1 else None

    @property
    def spread_is_known(self) -> bool:
        """False for one value, and for values that are equal to the last digit: nothing was random in them."""
        return len(set(self.independent)) > 1

    @property
    def made_of(self) -> str:
        """``"5 trials"``, ``"3 pretrainings"``, ``"3 pretrainings x 5 trials"``, ``"… x 1 to 5 trials"``."""
        sizes = [len(group) for group in self.groups]
        trials = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        trials += " trial" if trials == "1" else " trials"
        if len(sizes) == 1:
            return trials
        return f"{len(sizes)} pretrainings" + ("" if max(sizes) == 1 else f" x {trials}")


def sample(values: Sequence[float | None], pretrainings: Sequence[str] = ()) -> Sample | None:
    """Without the undefined values; None where nothing is left. ``pretrainings``: one a value, or none at all."""
    if not pretrainings:
        defined = tuple(value for value in values if value is not None)
        return Sample(defined) if defined else None
    kept = [(v, name) for v, name in zip(values, pretrainings, strict=True) if v is not None]
    return Sample(tuple(v for v, _ in kept), tuple(name for _, name in kept)) if kept else None
