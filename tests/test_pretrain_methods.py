"""One forward pass against the equations, and the momentum update."""

import copy

import pytest
import torch

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.pretrain.bank import Bank
from clsa.pretrain.config import get_cfg
from clsa.pretrain.losses import Temperatures, query_losses
from clsa.pretrain.methods import MomentumContrast
from clsa.pretrain.networks import build_backbone

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


def wrapped(images):
    """(key view, weak views, strong views)."""
    key_view, weak_view, *strong_views = images
    return key_view, [weak_view], strong_views


def one_step(method, key_view, weak_views, strong_views):
    """(step, the keys to enqueue)."""
    keys = method.embed_keys(key_view, weak_views[0], iteration=1)
    return method(key_view, weak_views, strong_views, keys), torch.cat(keys)


@pytest.mark.parametrize("bank", ["positive_and_queue", "batch_and_queue"])
def test_forward_is_algorithm_1(bank):
    method = small_method(
        METHOD="clsa_multi", STRONG__SIZES="(24, 16)", STRONG__SCALES="((0.2, 1), (0.2, 1))", LOSS__BANK=bank
    )
    untouched = copy.deepcopy(method)
    key_view, weak_view, *strong_views = views(32, 32, 24, 16)
    step, batch_keys = one_step(method, key_view, [weak_view], strong_views)

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
    assert step.strong.item() == pytest.approx(ddm.item(), rel=1e-6, abs=1e-6)
    torch.testing.assert_close(batch_keys.double(), keys, atol=1e-6, rtol=0)
    assert 0 <= step.acc1_bank.item() <= 100
    expected = 100 * ((weak @ keys.T).argmax(1) == torch.arange(4)).double().mean()
    assert step.acc1_batch.item() == expected
    entropy = -(probabilities(weak) * probabilities(weak).log()).sum(1).mean()
    assert step.ddm_target_entropy.item() == pytest.approx(entropy.item(), rel=1e-5)


def test_gradients_reach_the_query_network_alone_and_ddm_teaches_only_the_strong_query():
    method = small_method()
    step, batch_keys = one_step(method, *wrapped(views(32, 32, 24)))
    step.strong.backward()
    assert all(weight.grad is not None for weight in method.query.parameters())
    assert all(weight.grad is None for weight in method.key.parameters())
    assert not method.queue.keys.requires_grad
    assert not batch_keys.requires_grad

    # With the strong view's embedding out of the graph nothing is left that DDM could move.
    method = small_method()
    _, weak_view, strong_view = views(32, 32, 24)
    weak = method.query(weak_view)
    with torch.no_grad():
        strong = method.query(strong_view)
    losses = query_losses([weak], [strong], Bank(strong, method.queue.keys), Temperatures.equal(0.2))
    assert not losses.strong.requires_grad
    assert losses.contrastive.requires_grad


def test_moco_v2_has_no_ddm_part():
    method = small_method(METHOD="moco_v2")
    step = one_step(method, *wrapped(views(32, 32)))[0]
    assert step.strong is None
    assert step.ddm_target_entropy is None


def test_momentum_update_moves_the_parameters_and_leaves_buffers_alone():
    method = small_method(MODEL__KEY_MOMENTUM="0.999")
    with torch.no_grad():
        for weight in method.query.parameters():
            weight.add_(torch.randn_like(weight))
    before, query = copy.deepcopy(method.key), method.query
    query.backbone.bn1.running_mean += 1.0
    method.update_key_network()
    for old, new, followed in zip(before.parameters(), method.key.parameters(), query.parameters(), strict=True):
        torch.testing.assert_close(new, 0.999 * old + 0.001 * followed, rtol=1e-6, atol=1e-7)
        assert not torch.equal(new, old)
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


def test_symmetric_loss_is_the_mean_of_both_orders_of_the_views():
    key_view, weak_view, strong_view = views(32, 32, 24)
    both = small_method(LOSS__SYMMETRIC="True")
    step, batch_keys = one_step(both, key_view, [weak_view], [strong_view])
    one, keys = one_step(small_method(), key_view, [weak_view], [strong_view])
    other, other_keys = one_step(small_method(), weak_view, [key_view], [strong_view])
    assert step.contrastive.item() == pytest.approx((one.contrastive + other.contrastive).item() / 2, rel=1e-6)
    assert step.strong.item() == pytest.approx((one.strong + other.strong).item() / 2, rel=1e-6)
    torch.testing.assert_close(batch_keys, torch.cat([keys, other_keys]))


def test_contrastive_loss_in_place_of_ddm():
    key_view, weak_view, strong_view = views(32, 32, 24)
    step = one_step(small_method(LOSS__STRONG="contrastive"), key_view, [weak_view], [strong_view])[0]
    as_weak = one_step(small_method(), key_view, [strong_view], [])[0]
    assert step.strong.item() == pytest.approx(as_weak.contrastive.item(), rel=1e-6)
    assert step.ddm_target_entropy is None


def test_several_weak_queries_are_summed():
    key_view, first, second, strong_view = views(32, 32, 24, 24)
    step = one_step(small_method(), key_view, [first, second], [strong_view])[0]
    alone = [one_step(small_method(), key_view, [view], [strong_view])[0] for view in (first, second)]
    assert step.contrastive.item() == pytest.approx(sum(one.contrastive.item() for one in alone), rel=1e-6)
    assert step.strong.item() == pytest.approx(sum(one.strong.item() for one in alone), rel=1e-6)


def test_bn_statistics_of_weak_views_only():
    key_view, weak_view, strong_view = views(32, 32, 24)
    running = {}
    for kind, strong_views in [("weak_views", [strong_view]), ("all_views", [strong_view]), ("all_views", [])]:
        method = small_method(MODEL__BN_STATISTICS=kind)
        one_step(method, key_view, [weak_view], strong_views)
        running[kind, bool(strong_views)] = method.query.backbone.bn1.running_mean.clone()
    assert torch.equal(running["weak_views", True], running["all_views", False])
    assert not torch.equal(running["all_views", True], running["all_views", False])


def test_the_backbone_starts_from_a_file_and_the_head_from_the_seed(tmp_path):
    from clsa.convert.backbone_file import write_backbone

    torch.manual_seed(7)
    weights = {k: v for k, v in build_backbone(18).state_dict().items() if not k.endswith("num_batches_tracked")}
    write_backbone(tmp_path / "start.pth", weights, "torchvision", {})
    method, bare = small_method(MODEL__INIT=str(tmp_path / "start.pth")), small_method()
    for name, value in weights.items():
        assert torch.equal(method.query.backbone.state_dict()[name], value)
        assert torch.equal(method.key.backbone.state_dict()[name], value)
    for ours, seeded in zip(method.query.head.parameters(), bare.query.head.parameters(), strict=True):
        assert torch.equal(ours, seeded)
    with pytest.raises(InputError, match="holds a ResNet-18 of width 64, the config builds a ResNet-34"):
        small_method(MODEL__INIT=str(tmp_path / "start.pth"), MODEL__DEPTH=34)
