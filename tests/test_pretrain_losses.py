"""The losses against the equations written as loops in float64, and against closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from clsa.pretrain import bank as bank_module
from clsa.pretrain.bank import Bank
from clsa.pretrain.losses import Temperatures, query_losses, top1_percent

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


def bank_of(kind, keys, queue):
    """(the bank, each query's bank as lists, the place of its own key in them)."""
    if kind == "positive":
        return Bank(keys, queue), [[key, *queue.tolist()] for key in keys.tolist()], [0] * len(keys)
    return Bank(keys, queue, keys), [[*keys.tolist(), *queue.tolist()]] * len(keys), list(range(len(keys)))


@pytest.mark.parametrize("kind", ["positive", "batch"])
def test_losses_and_gradients_equal_the_loops(vectors, kind):
    weak, strong, keys, queue = vectors
    bank, banks, positives = bank_of(kind, keys, queue)
    weak.requires_grad_(True)
    strong.requires_grad_(True)
    losses = query_losses([weak], [strong], bank, Temperatures.equal(TAU))
    assert losses.contrastive.item() == pytest.approx(contrastive_loop(weak.tolist(), banks, positives), abs=1e-6)
    assert losses.strong.item() == pytest.approx(ddm_loop(weak.tolist(), strong.tolist(), banks), abs=1e-6)

    (losses.contrastive + 3 * losses.strong).backward()
    # The weak query is the target, a constant: of DDM no gradient reaches it.
    expected = slope(lambda queries: contrastive_loop(queries, banks, positives), weak.tolist())
    torch.testing.assert_close(weak.grad, expected, atol=1e-6, rtol=0)
    expected = slope(lambda queries: 3 * ddm_loop(weak.tolist(), queries, banks), strong.tolist())
    torch.testing.assert_close(strong.grad, expected, atol=1e-6, rtol=0)


def test_float32_losses_equal_the_loops(vectors):
    weak, strong, keys, queue = vectors
    _, banks, positives = bank_of("positive", keys, queue)
    bank = Bank(keys.float(), queue.float())
    losses = query_losses([weak.float()], [strong.float()], bank, Temperatures.equal(TAU))
    assert losses.contrastive.item() == pytest.approx(contrastive_loop(weak.tolist(), banks, positives), abs=2e-6)
    assert losses.strong.item() == pytest.approx(ddm_loop(weak.tolist(), strong.tolist(), banks), abs=2e-6)


def literal_losses(weak, strong, bank, temperatures):
    """Eq. 1 and 4 as autograd differentiates them, a cross-entropy for each pair."""
    contrastive, ddm = 0.0, 0.0
    for query in weak:
        similarity = full_similarities(query, bank)
        positive = torch.zeros(len(query), dtype=torch.long) if bank.batch is None else torch.arange(len(query))
        contrastive = contrastive + F.cross_entropy(similarity / temperatures.contrastive, positive)
        target = (similarity.detach() / temperatures.target).softmax(dim=1)
        for student in strong:
            log_probability = (full_similarities(student, bank) / temperatures.student).log_softmax(dim=1)
            ddm = ddm - (target * log_probability).sum(dim=1).mean()
    return contrastive, ddm


def full_similarities(query, bank):
    if bank.batch is None:
        return torch.cat([(query * bank.own).sum(dim=1, keepdim=True), query @ bank.queue.T], dim=1)
    return query @ torch.cat([bank.batch, bank.queue]).T


@pytest.mark.parametrize("kind", ["positive", "batch"])
@pytest.mark.parametrize("temperatures", [Temperatures.equal(0.2), Temperatures(0.2, 0.05, 0.1)], ids=["tau", "three"])
def test_several_queries_equal_all_pairs_differentiated_by_autograd(kind, temperatures, monkeypatch):
    monkeypatch.setitem(bank_module.BLOCK_ELEMENTS, "cpu", 1)  # blocks of 64 keys, so that there are several
    chance = torch.Generator().manual_seed(5)

    def unit(rows):
        return F.normalize(torch.randn(rows, 6, generator=chance, dtype=torch.float64), dim=1)

    bank, _, _ = bank_of(kind, unit(4), unit(150))
    weak, strong = ([unit(4).requires_grad_(True) for _ in range(count)] for count in (2, 3))
    gradients = []
    for compute in (query_losses, literal_losses):
        contrastive, ddm, *_ = compute(weak, strong, bank, temperatures)
        gradients.append((contrastive, ddm, *torch.autograd.grad(contrastive + 0.7 * ddm, [*weak, *strong])))
    for ours, literal in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, literal, rtol=1e-12, atol=1e-14)


def test_contrastive_loss_on_the_strong_queries(vectors):
    weak, strong, keys, queue = vectors
    bank, banks, positives = bank_of("positive", keys, queue)
    losses = query_losses([weak], [strong, weak], bank, Temperatures.equal(TAU), strong_loss="contrastive")
    expected = sum(contrastive_loop(queries.tolist(), banks, positives) for queries in (strong, weak))
    assert losses.strong.item() == pytest.approx(expected, abs=1e-6)
    assert losses.target_entropy is None


def test_equal_similarities_give_log_of_the_bank():
    same = torch.eye(4)[:1]
    query = torch.tensor([[0.6, 0.8, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])
    bank = Bank(same.repeat(3, 1), same.repeat(7, 1))
    losses = query_losses([query], [query], bank, Temperatures.equal(TAU))
    expected = pytest.approx(math.log(7 + 1), abs=1e-6)
    assert losses.contrastive.item() == expected
    assert losses.strong.item() == expected
    assert losses.target_entropy.item() == expected
    assert losses.acc1.item() == 0  # a tie is a miss


def test_ddm_survives_probabilities_that_underflow():
    """log(softmax) would be -inf here: a strong query that is sure of one key, a weak one that is of the other."""
    query = torch.tensor([[1.0, 0.0]])
    bank = Bank(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))
    losses = query_losses([-query], [query], bank, Temperatures.equal(1 / 150))
    assert losses.strong.item() == pytest.approx(300.0)


def test_accuracy_is_the_own_key_above_the_queue():
    queue = torch.tensor([[0.0, 1.0]])
    keys = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # above the queue, below it, a tie
    for bank in (Bank(keys, queue), Bank(keys, queue, keys)):
        assert query_losses([query], [], bank, Temperatures.equal(TAU)).acc1.item() == pytest.approx(100 / 3)


def test_top1_counts_a_tie_as_a_miss():
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [3.0, 0.0]])
    assert top1_percent(logits, torch.zeros(4, dtype=torch.long)).item() == 50.0
