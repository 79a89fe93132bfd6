"""The losses against the equations written as loops in float64, and against closed forms."""

import math

import pytest
import torch

from clsa.pretrain.losses import (
    batch_bank_logits,
    ddm_loss,
    entropy,
    info_nce_loss,
    positive_bank_logits,
    top1_percent,
)

TAU = 0.2


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def distribution(query, bank):
    """Eq. 3: probabilities of a query over a bank, one exponential at a time."""
    weights = [math.exp(dot(query, key) / TAU) for key in bank]
    return [weight / sum(weights) for weight in weights]


def contrastive_loop(queries, banks, positives):
    """Eq. 1."""
    return -sum(
        math.log(distribution(query, bank)[positive])
        for query, bank, positive in zip(queries, banks, positives, strict=True)
    ) / len(queries)


def ddm_loop(weak, strong, banks):
    """Eq. 4."""
    total = 0.0
    for w, s, bank in zip(weak, strong, banks, strict=True):
        total -= sum(p * math.log(q) for p, q in zip(distribution(w, bank), distribution(s, bank), strict=True))
    return total / len(weak)


def slope(function, point, step=1e-5):
    """Gradient of ``function`` at a nested list by central differences."""
    gradient = [[0.0] * len(row) for row in point]
    for i, row in enumerate(point):
        for j, value in enumerate(row):
            row[j] = value + step
            above = function(point)
            row[j] = value - step
            gradient[i][j] = (above - function(point)) / (2 * step)
            row[j] = value
    return torch.tensor(gradient, dtype=torch.float64)


@pytest.fixture
def vectors():
    """Weak and strong queries, keys (3 x 4) and a queue (5 x 4), float64 unit vectors."""
    chance = torch.Generator().manual_seed(3)

    def unit(rows):
        return torch.nn.functional.normalize(torch.randn(rows, 4, generator=chance, dtype=torch.float64), dim=1)

    return unit(3), unit(3), unit(3), unit(5)


@pytest.mark.parametrize("bank", ["positive", "batch"])
def test_contrastive_loss_and_gradient_equal_the_loop(vectors, bank):
    weak, _, keys, queue = vectors
    weak.requires_grad_(True)
    if bank == "positive":
        logits, positives = positive_bank_logits(weak, keys, queue, TAU), [0, 0, 0]
        banks = [[key, *queue.tolist()] for key in keys.tolist()]
    else:
        logits, positives = batch_bank_logits(weak, keys, queue, TAU), [0, 1, 2]
        banks = [[*keys.tolist(), *queue.tolist()]] * 3
    loss = info_nce_loss(logits, torch.tensor(positives))
    loss.backward()
    assert loss.item() == pytest.approx(contrastive_loop(weak.tolist(), banks, positives), abs=1e-6)
    expected = slope(lambda queries: contrastive_loop(queries, banks, positives), weak.tolist())
    torch.testing.assert_close(weak.grad, expected, atol=1e-6, rtol=0)


def test_ddm_loss_and_gradient_equal_the_loop_and_the_target_gets_none(vectors):
    weak, strong, keys, queue = vectors
    weak.requires_grad_(True)
    strong.requires_grad_(True)
    banks = [[key, *queue.tolist()] for key in keys.tolist()]
    loss = ddm_loss(positive_bank_logits(weak, keys, queue, TAU), [positive_bank_logits(strong, keys, queue, TAU)])
    loss.backward()
    assert loss.item() == pytest.approx(ddm_loop(weak.tolist(), strong.tolist(), banks), abs=1e-6)
    expected = slope(lambda queries: ddm_loop(weak.tolist(), queries, banks), strong.tolist())
    torch.testing.assert_close(strong.grad, expected, atol=1e-6, rtol=0)
    assert weak.grad is None


def test_float32_losses_equal_the_loop(vectors):
    weak, strong, keys, queue = vectors
    banks = [[key, *queue.tolist()] for key in keys.tolist()]
    weak_logits = positive_bank_logits(weak.float(), keys.float(), queue.float(), TAU)
    strong_logits = positive_bank_logits(strong.float(), keys.float(), queue.float(), TAU)
    contrastive = info_nce_loss(weak_logits, torch.zeros(3, dtype=torch.long))
    assert contrastive.item() == pytest.approx(contrastive_loop(weak.tolist(), banks, [0, 0, 0]), abs=2e-6)
    ddm = ddm_loss(weak_logits, [strong_logits])
    assert ddm.item() == pytest.approx(ddm_loop(weak.tolist(), strong.tolist(), banks), abs=2e-6)


def test_ddm_of_several_strong_views_is_the_sum():
    weak, first, second = torch.randn(3, 4, 9).unbind()
    both = ddm_loss(weak, [first, second])
    torch.testing.assert_close(both, ddm_loss(weak, [first]) + ddm_loss(weak, [second]))


def test_equal_similarities_give_log_of_the_bank():
    keys, queue = torch.eye(4)[:1].repeat(3, 1), torch.eye(4)[:1].repeat(7, 1)
    query = torch.randn(3, 4, dtype=torch.float64).float()
    logits = positive_bank_logits(query, keys, queue, TAU)
    expected = pytest.approx(math.log(7 + 1), abs=1e-6)
    assert info_nce_loss(logits, torch.zeros(3, dtype=torch.long)).item() == expected
    assert ddm_loss(logits, [logits]).item() == expected
    assert entropy(logits).item() == expected


def test_ddm_survives_probabilities_that_underflow():
    """log(softmax) would be -inf here."""
    weak = torch.tensor([[0.0, 0.0]])
    strong = torch.tensor([[0.0, 300.0]])
    assert ddm_loss(weak, [strong]).item() == pytest.approx(150.0)


def test_top1_counts_a_tie_as_a_miss():
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [3.0, 0.0]])
    assert top1_percent(logits, torch.zeros(4, dtype=torch.long)).item() == 50.0
