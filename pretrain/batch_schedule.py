"""When each crop of a batch has operations of its own: in which turns to do them, as many crops at once as possible.

Shapes:
    N: crops
    R: rounds, places for an operation of each crop, one after the other
    M: of the N, the crops that undergo an operation of one kind in the same turn

On a GPU it is the number of operations launched that costs, hardly the number of crops that they work on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Turn(NamedTuple):
    """Operations that are done together.

    Attributes:
        kind: of all of them.
        rows: M, int64, the crops.
        rounds: M, int64, which of its R operations it is to each crop.
    """

    kind: int
    rows: np.ndarray
    rounds: np.ndarray


def schedule(kinds: np.ndarray, costs: Sequence[float]) -> list[Turn]:
    """Turns in which every operation is done once, and those of a crop in the order of its rounds.

    A crop need not wait until others are through with a round. The cheapest turns of all would be as hard to find as a
    shortest common supersequence; so each turn goes to the kind that looks best. That is one for which every crop that
    still needs it waits; otherwise the one whose waiting crops have the most operations before them, for its cost.

    Args:
        kinds: N x R integers, from 0 to ``len(costs) - 1``; -1 where nothing is to be done.
        costs: of a turn of each kind, above 0, in any unit.
    """
    idle_last = np.argsort(kinds < 0, axis=1, kind="stable")  # N x R, rounds
    kinds = np.take_along_axis(kinds, idle_last, axis=1)
    still = np.stack([(kinds == kind).sum(axis=1) for kind in range(len(costs))], axis=1)  # N x kinds
    kinds = np.pad(kinds, ((0, 0), (0, 1)), constant_values=-1)
    done, left, crops, costs = np.zeros(len(kinds), np.int64), still.sum(axis=1), np.arange(len(kinds)), np.array(costs)
    turns = []
    while left.any():
        following = kinds[crops, done] + 1  # 0: this crop is finished
        waiting = np.bincount(following, minlength=len(costs) + 1)[1:]
        before_them = np.bincount(following, weights=left, minlength=len(costs) + 1)[1:]
        complete = (waiting > 0) & (waiting == (still > 0).sum(axis=0))
        kind = int(np.where(complete, np.inf, before_them / costs).argmax())
        rows = np.flatnonzero(following == kind + 1)
        turns.append(Turn(kind, rows, idle_last[rows, done[rows]]))
        still[rows, kind] -= 1
        done[rows] += 1
        left[rows] -= 1
    return turns
