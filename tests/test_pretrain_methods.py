"""One forward pass against the equations, and the momentum update."""

import copy

import pytest
import torch

from clsa.pretrain.config import get_cfg
from clsa.pretrain.distributed import Process
from clsa.pretrain.losses import ddm_loss
from clsa.pretrain.methods import MomentumContrast

ALONE = Process(0, 1, torch.device("cpu"))


def small_method(**settings):
    cfg = get_cfg()
    cfg.MODEL.DEPTH, cfg.MODEL.HEAD_HIDDEN, cfg.MODEL.HEAD_OUTPUT, cfg.LOSS.QUEUE_LENGTH = 18, 16, 8, 10
    pairs = [word for key, value in settings.items() for word in (key.replace("__", "."), value)]
    cfg.merge_from_list(pairs)
    torch.manual_seed(0)
    return MomentumContrast(cfg, ALONE).train()


def views(*sizes, batch=4):
    chance = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 3, size, size, generator=chance) for size in sizes]


@pytest.mark.parametrize("bank", ["positive_and_queue", "batch_and_queue"])
def test_forward_is_algorithm_1(bank):
    method = small_method(
        METHOD="clsa_multi", STRONG__SIZES="(24, 16)", STRONG__SCALES="((0.2, 1), (0.2, 1))", LOSS__BANK=bank
    )
    untouched = copy.deepcopy(method)
    key_view, weak_view, *strong_views = views(32, 32, 24, 16)
    step = method(key_view, weak_view, strong_views, iteration=1)

    keys, queue = untouched.key(key_view).double().detach(), untouched.queue.keys.double()
    weak, *strong = (untouched.query(view).double().detach() for view in (weak_view, *strong_views))

    def probabilities(query):
        """Row i: query i over the bank, the positive's probability first."""
        rows = []
        for i in range(4):
            others = [keys[j] for j in range(4) if j != i] if bank == "batch_and_queue" else []
            similarities = torch.stack([query[i] @ key for key in (keys[i], *others, *queue)]) / 0.2
            rows.append(similarities.exp() / similarities.exp().sum())
        return torch.stack(rows)

    contrastive = -probabilities(weak)[:, 0].log().mean()
    ddm = sum(-(probabilities(weak) * probabilities(view).log()).sum(1).mean() for view in strong)
    assert step.contrastive.item() == pytest.approx(contrastive.item(), rel=1e-6, abs=1e-6)
    assert step.ddm.item() == pytest.approx(ddm.item(), rel=1e-6, abs=1e-6)
    torch.testing.assert_close(step.batch_keys.double(), keys, atol=1e-6, rtol=0)
    assert 0 <= step.acc1_bank.item() <= 100
    expected = 100 * ((weak @ keys.T).argmax(1) == torch.arange(4)).double().mean()
    assert step.acc1_batch.item() == expected
    entropy = -(probabilities(weak) * probabilities(weak).log()).sum(1).mean()
    assert step.ddm_target_entropy.item() == pytest.approx(entropy.item(), rel=1e-5)


def test_no_gradient_reaches_the_key_network_the_queue_or_the_weak_query_through_ddm(monkeypatch):
    from clsa.pretrain import methods

    seen = {}

    def spy(weak_logits, strong_logits):
        seen["weak"], seen["strong"] = weak_logits, strong_logits
        weak_logits.retain_grad()
        strong_logits[0].retain_grad()
        return ddm_loss(weak_logits, strong_logits)

    monkeypatch.setattr(methods, "ddm_loss", spy)
    method = small_method()
    key_view, weak_view, strong_view = views(32, 32, 24)
    step = method(key_view, weak_view, [strong_view], iteration=1)
    step.ddm.backward()
    assert seen["weak"].grad is None
    assert seen["strong"][0].grad.abs().sum() > 0
    assert all(weight.grad is not None for weight in method.query.parameters())
    assert all(weight.grad is None for weight in method.key.parameters())
    assert not method.queue.keys.requires_grad
    assert not step.batch_keys.requires_grad


def test_moco_v2_has_no_ddm_part():
    method = small_method(METHOD="moco_v2")
    step = method(*views(32, 32), [], iteration=1)
    assert step.ddm is None
    assert step.ddm_target_entropy is None


def test_momentum_update_is_exact_and_leaves_buffers_alone():
    method = small_method(MODEL__KEY_MOMENTUM="0.999")
    with torch.no_grad():
        for weight in method.query.parameters():
            weight.add_(torch.randn_like(weight))
    before, query = copy.deepcopy(method.key), method.query
    query.backbone.bn1.running_mean += 1.0
    method.update_key_network()
    for old, new, followed in zip(before.parameters(), method.key.parameters(), query.parameters(), strict=True):
        assert torch.equal(new, 0.999 * old + 0.001 * followed)
    assert torch.equal(method.key.backbone.bn1.running_mean, before.backbone.bn1.running_mean)


def test_zero_init_residual_and_head_norm():
    method = small_method(MODEL__ZERO_INIT_RESIDUAL="True", MODEL__HEAD_NORM="BN")
    assert method.query.backbone.layer1[0].bn2.weight.abs().sum() == 0
    assert [type(layer).__name__ for layer in method.query.head] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
        "BatchNorm1d",
    ]
    torch.testing.assert_close(method.query(views(32)[0]).norm(dim=1), torch.ones(4))
