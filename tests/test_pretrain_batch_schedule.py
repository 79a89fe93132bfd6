"""Turns that do each crop's operations in its order, with few turns."""

import numpy as np
import pytest

from clsa.pretrain.batch_schedule import schedule


def test_the_turns_of_a_small_batch():
    """Crop 0: a b. Crop 1: b a. Crop 2: c, whose turn need not wait. Crop 3: nothing."""
    kinds = np.array([[0, -1, 1], [-1, 1, 0], [2, -1, -1], [-1, -1, -1]])
    turns = [(turn.kind, turn.rows.tolist(), turn.rounds.tolist()) for turn in schedule(kinds, [1, 1, 1])]
    # c first: everyone who needs it waits. Of a and b, equally good, a; then b by both, then a.
    assert turns == [(2, [2], [0]), (0, [0], [0]), (1, [0, 1], [2, 1]), (0, [1], [2])]


def test_an_expensive_operation_waits_for_all():
    """In each round a third of the crops would need it: once is enough."""
    kinds = np.array([[2, 0, 1], [0, 2, 1], [0, 1, 2]])
    turns = [(turn.kind, turn.rows.tolist()) for turn in schedule(kinds, [1, 1, 50])]
    assert turns == [(0, [1, 2]), (1, [2]), (2, [0, 1, 2]), (0, [0]), (1, [0, 1])]


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_done_once_and_in_order(seed):
    chance = np.random.default_rng(seed)
    kinds = chance.integers(-1, 5, (chance.integers(1, 40), chance.integers(1, 9)))
    costs = chance.uniform(1, 9, 5)
    turns = schedule(kinds, costs)
    done = [[] for _ in kinds]
    for turn in turns:
        assert len(set(turn.rows.tolist())) == len(turn.rows) > 0
        for row, place in zip(turn.rows, turn.rounds, strict=True):
            assert kinds[row, place] == turn.kind
            done[row].append(place)
    assert done == [np.flatnonzero(row >= 0).tolist() for row in kinds]
    assert len(turns) <= sum(len(set(column[column >= 0])) for column in kinds.T)  # round by round


@pytest.mark.parametrize("shape", [(3, 2), (3, 0), (0, 2)])
def test_nothing_to_do(shape):
    assert schedule(np.full(shape, -1), [1.0, 2.0]) == []
