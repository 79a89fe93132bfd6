"""One step of Algorithm 1 of "Contrastive Learning with Stronger Augmentations". On a GPU it waits for nothing.

Shapes:
    N: images of this process
    S: side of a view, in pixels
"""

import contextlib

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from .config import weak_query_sizes_and_scales
from .methods import MomentumContrast, Step, mean_step
from .training_state import TrainingState


def train_step(
    model: MomentumContrast | DistributedDataParallel,
    state: TrainingState,
    views: list[Tensor],
    iteration: int,
    beta: float,
) -> tuple[Step, Tensor]:
    """Take step ``iteration``: both networks and the queue of ``state`` change. What is logged, and the loss.

    Args:
        model: ``state.method``, as it is or distributed.
        views: the key's, the weak queries', then the strong ones, each N x 3 x S x S, normalised, on the device.
        beta: weight of the strong queries' loss.
    """
    method, optimizer = state.method, state.optimizer
    keys = method.embed_keys(views[0], views[1], iteration)
    optimizer.zero_grad()
    step, loss = forward_and_backward(model, state, views, keys, beta)
    state.scaler.step(optimizer)  # with float16 it looks whether gradients are finite, and waits for that
    state.scaler.update()
    method.update_key_network()
    method.enqueue(keys)
    return step, loss


def forward_and_backward(
    model: MomentumContrast | DistributedDataParallel,
    state: TrainingState,
    views: list[Tensor],
    keys: list[Tensor],
    beta: float,
) -> tuple[Step, Tensor]:
    """Gradients of the loss, one micro-batch after the other, and the step's means (see ``methods``)."""
    weak_queries, count = len(weak_query_sizes_and_scales(state.cfg)), state.cfg.SOLVER.ACCUMULATE
    steps, losses, first = [], [], 0
    for number, (key_view, *queries) in enumerate(zip(*(view.chunk(count) for view in views), strict=True), 1):
        # Processes share their gradients once, with the last micro-batch's.
        wait = number < count and isinstance(model, DistributedDataParallel)
        with model.no_sync() if wait else contextlib.nullcontext():
            step = model(key_view, queries[:weak_queries], queries[weak_queries:], keys, first)
            loss = step.contrastive if step.strong is None else step.contrastive + beta * step.strong
            state.scaler.scale(loss / count).backward()
        steps.append(step)
        losses.append(loss.detach())
        first += len(key_view)
    return mean_step(steps), torch.stack(losses).mean()
