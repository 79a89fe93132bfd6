"""The linear layer: its steps written out, its seeds, its refusals."""

import numpy as np
import pytest
import torch

from clsa.classification.config import get_cfg
from clsa.classification.linear import check_settings, train_and_score
from clsa.configs.command import InputError


def settings(**changes):
    cfg = get_cfg().LINEAR
    for key, value in changes.items():
        cfg[key] = value
    return cfg


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(25, 6)).astype(np.float32)
    return train, np.where(train[:, :2] > 0, 1, -1), test


def test_the_paper_is_the_default() -> None:
    cfg = settings()
    assert (cfg.EPOCHS, cfg.LR, cfg.MOMENTUM, cfg.WEIGHT_DECAY, cfg.BATCH_SIZE) == (100, 0.05, 0.9, 0.0, 256)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_two_steps_written_out(problem, reduction: str) -> None:
    """Whole-batch epochs: gradient of the sigmoid cross entropy, momentum 0.9, constant rate, in float64."""
    train, labels, test = problem
    labels = labels.copy()
    labels[0] = 0  # difficult: absent
    torch.manual_seed(7)
    layer = torch.nn.Linear(6, 2)
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    target, scale = (labels == 1).astype(float), 80 if reduction == "mean" else 1
    speed_w = speed_b = 0.0
    expected_losses = []
    for _ in range(2):
        logits = train @ weight.T + bias
        cross_entropy = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - logits * target
        expected_losses.append(cross_entropy.mean())
        error = (1 / (1 + np.exp(-logits)) - target) / scale
        speed_w, speed_b = 0.9 * speed_w + error.T @ train, 0.9 * speed_b + error.sum(axis=0)
        weight, bias = weight - 0.05 * speed_w, bias - 0.05 * speed_b

    scores, losses = train_and_score(train, labels, test, settings(EPOCHS=2, LOSS_REDUCTION=reduction), seed=7)
    np.testing.assert_allclose(scores, test @ weight.T + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)


def test_learns_what_is_linear(problem) -> None:
    train, labels, test = problem
    scores, losses = train_and_score(train, labels, test, settings(EPOCHS=400, LR=0.5))
    assert losses[-1] < 0.25 * losses[0]
    assert ((scores > 0) == (test[:, :2] > 0)).mean() > 0.9


def test_seeds(problem) -> None:
    train, labels, test = problem
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    cfg = settings(EPOCHS=3, BATCH_SIZE=16)
    first, again, other = (train_and_score(train, labels, test, cfg, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_loss_that_is_not_finite(problem) -> None:
    with pytest.raises(InputError, match=r"loss of the linear layer is (nan|inf) in epoch \d+. Lower LINEAR.LR"):
        train_and_score(*problem, settings(LR=1e38, LOSS_REDUCTION="sum", BATCH_SIZE=16))


def test_refused_settings() -> None:
    with pytest.raises(InputError, match=r"EPOCHS 0, .* must all be above zero"):
        check_settings(settings(EPOCHS=0))
    with pytest.raises(InputError, match=r"LOSS_REDUCTION 'none' is unknown. Give mean or sum"):
        check_settings(settings(LOSS_REDUCTION="none"))
