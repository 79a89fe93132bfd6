"""detectron2's optimizer groups and learning rate."""

import importlib.util

import pytest
import torch
from torch import nn

from clsa.detection.config import get_cfg
from clsa.detection.solver import build_optimizer, build_schedule, set_learning_rate


def solver_cfg(**changes):
    cfg = get_cfg()
    cfg.SOLVER.BASE_LR = 0.02
    cfg.SOLVER.MAX_ITER = 100
    cfg.SOLVER.STEPS = (60, 80)
    cfg.SOLVER.WARMUP_ITERS = 10
    for key, value in changes.items():
        cfg.SOLVER[key] = value
    return cfg


def small_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Linear(4, 2))
    model[3].bias.requires_grad_(False)
    return model


def test_norms_do_not_decay_and_frozen_parameters_are_left_out():
    model = small_model()
    groups = build_optimizer(solver_cfg(), model).param_groups
    by_decay = {group["weight_decay"]: {id(p) for p in group["params"]} for group in groups}
    assert by_decay == {
        1e-4: {id(model[0].weight), id(model[0].bias), id(model[3].weight)},
        0.0: {id(p) for m in (model[1], model[2]) for p in m.parameters()},
    }
    assert all(group["momentum"] == 0.9 and group["lr"] == 0.02 for group in groups)


def test_learning_rate_written_out():
    cfg = solver_cfg()
    optimizer, schedule = build_optimizer(cfg, small_model()), build_schedule(cfg)
    rates = [set_learning_rate(optimizer, schedule(i / 100)) for i in range(100)]
    assert rates[0] == pytest.approx(0.02 * 0.001)
    assert rates[5] == pytest.approx(0.02 * (0.001 * 0.5 + 1 * 0.5))
    assert rates[10:60] == pytest.approx([0.02] * 50)
    assert rates[60:80] == pytest.approx([0.002] * 20)
    assert rates[80:] == pytest.approx([0.0002] * 20)
    assert all(group["lr"] == rates[-1] for group in optimizer.param_groups)


def test_constant_warmup_and_none():
    constant = build_schedule(solver_cfg(WARMUP_METHOD="constant"))
    assert [constant(i / 100) for i in (0, 9, 11)] == pytest.approx([0.001, 0.001, 1.0])
    none = build_schedule(solver_cfg(WARMUP_ITERS=0))
    assert none(0.01) == pytest.approx(1.0)


def test_steps_beyond_the_end_are_ignored():
    schedule = build_schedule(solver_cfg(STEPS=(60, 200)))
    assert [schedule(i / 100) for i in (59, 60, 99)] == pytest.approx([1.0, 0.1, 0.1])


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
def test_equals_detectron2():
    from detectron2.config import get_cfg as their_cfg
    from detectron2.solver import build_lr_scheduler
    from detectron2.solver import build_optimizer as their_optimizer

    for changes in ({}, {"WARMUP_METHOD": "constant"}, {"WARMUP_ITERS": 0}, {"WARMUP_ITERS": 70}, {"STEPS": ()}):
        cfg, theirs = solver_cfg(**changes), their_cfg()
        for key in ("BASE_LR", "MAX_ITER", "STEPS", "WARMUP_ITERS", "WARMUP_METHOD"):
            theirs.SOLVER[key] = cfg.SOLVER[key]
        model = small_model()
        a, b = build_optimizer(cfg, model), their_optimizer(theirs, model)
        scheduler, schedule = build_lr_scheduler(theirs, b), build_schedule(cfg)

        def groups(optimizer):
            return {
                frozenset(map(id, g["params"])): (g["weight_decay"], g["momentum"], g["nesterov"])
                for g in optimizer.param_groups
            }

        assert groups(a) == groups(b)
        for iteration in range(100):
            assert set_learning_rate(a, schedule(iteration / 100)) == b.param_groups[0]["lr"]
            b.step()
            scheduler.step()


def test_one_step_is_sgd_with_momentum_and_decay():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = build_optimizer(solver_cfg(), layer)
    layer(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2.0 - 0.02 * (1.0 + 1e-4 * 2.0))
