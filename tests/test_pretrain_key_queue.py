"""First in, first out, across the end of the queue."""

from collections import deque

import pytest
import torch

from clsa.pretrain.key_queue import KeyQueue


def test_starts_with_unit_vectors():
    queue = KeyQueue(10, 4)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(10))
    assert queue.oldest.item() == 0


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 10])
def test_first_in_first_out_across_the_end(batch):
    queue, expected = KeyQueue(10, 2), deque(maxlen=10)
    expected.extend(queue.keys.tolist())
    for step in range(12):
        keys = torch.full((batch, 2), float(step)) + torch.arange(batch)[:, None] / 100
        queue.enqueue(keys)
        expected.extend(keys.tolist())
        oldest_first = torch.roll(queue.keys, -int(queue.oldest), dims=0)
        assert oldest_first.tolist() == list(expected)


def test_refuses_more_keys_than_it_holds():
    with pytest.raises(ValueError, match="11 keys do not fit into a queue of 10"):
        KeyQueue(10, 2).enqueue(torch.zeros(11, 2))
