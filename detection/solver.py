"""SGD with detectron2's parameter groups, and its learning rate: linear warm-up, then a factor GAMMA at each step."""

import logging

import torch
from fvcore.common.config import CfgNode
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)
from torch import nn

NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)  # SyncBatchNorm is a _BatchNorm


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.SGD:
    """SGD over all parameters that require a gradient.

    Parameters of norm layers decay with ``WEIGHT_DECAY_NORM`` (0 by default), all others, biases too, with
    ``WEIGHT_DECAY``. Each group remembers its ``initial_lr`` for :func:`set_learning_rate`.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    seen = set()
    for module in model.modules():
        decay = cfg.SOLVER.WEIGHT_DECAY_NORM if isinstance(module, NORM_LAYERS) else cfg.SOLVER.WEIGHT_DECAY
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                groups.setdefault(decay, []).append(parameter)
    return torch.optim.SGD(
        [
            {"params": parameters, "weight_decay": decay, "initial_lr": cfg.SOLVER.BASE_LR}
            for decay, parameters in groups.items()
        ],
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        nesterov=cfg.SOLVER.NESTEROV,
        foreach=True,
    )


def build_schedule(cfg: CfgNode) -> ParamScheduler:
    """Factor on the learning rate as a function of the finished part of training, ``iteration / MAX_ITER``.

    Until ``WARMUP_ITERS`` it rises from ``WARMUP_FACTOR`` (or stays there, ``WARMUP_METHOD constant``) to the value
    that the steps prescribe at that point; steps beyond ``MAX_ITER`` are ignored, with a warning.
    """
    solver = cfg.SOLVER
    steps = [step for step in solver.STEPS if step <= solver.MAX_ITER]
    if len(steps) < len(solver.STEPS):
        logging.getLogger("clsa").warning(
            "SOLVER.STEPS %s: those beyond MAX_ITER %d are ignored", tuple(solver.STEPS), solver.MAX_ITER
        )
    stepped = MultiStepParamScheduler(
        values=[solver.GAMMA**k for k in range(len(steps) + 1)], milestones=steps, num_updates=solver.MAX_ITER
    )
    warmup_part = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
    first = solver.WARMUP_FACTOR * stepped(0.0)
    warmup = (
        ConstantParamScheduler(first)
        if solver.WARMUP_METHOD == "constant"
        else LinearParamScheduler(first, stepped(warmup_part))
    )
    return CompositeParamScheduler(
        [warmup, stepped], lengths=[warmup_part, 1 - warmup_part], interval_scaling=["rescaled", "fixed"]
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group to ``initial_lr * factor``; the first group's rate is returned, for the log."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    return optimizer.param_groups[0]["lr"]
