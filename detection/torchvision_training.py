"""The second engine's training: one flat loop.

What an iteration does is a function of the weights and of (seed, iteration, process) alone: the loader plans its order
from them, and the samplers inside the model draw from a generator that is seeded anew each iteration. So a run that was
stopped and resumed ends, on the CPU, with the very same checkpoint.
"""

import datetime
import itertools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .dataset_dicts import load_dataset_dicts
from .detector_checkpoint import RECORD_KEYS, write_checkpoint
from .evaluate_detector import evaluate_detector
from .loader import training_batches
from .metrics_log import MetricsLog, Window
from .peak_memory import peak_memory_mib
from .solver import build_optimizer, build_schedule, set_learning_rate

#: Log every so many iterations; short runs more often, so that they still leave a curve.
LOG_PERIOD = 20
LINES_OF_A_SHORT_RUN = 50


def train(
    process: Process, cfg: CfgNode, model: torch.nn.Module, state: dict[str, Any], seconds: Callable[[], float]
) -> None:
    """Train ``model`` in place from ``state["iteration"]`` to ``SOLVER.MAX_ITER``.

    ``state``: see :func:`~clsa.detection.torchvision_engine.new_state`, with a training record; ``seconds()``: how
    long the run has taken.
    """
    start, end, seed = state["iteration"], cfg.SOLVER.MAX_ITER, state["seed"]
    if start >= end:
        return
    device, rank, world_size = process.device, process.rank, process.world_size
    optimizer = build_optimizer(cfg, model)
    schedule = build_schedule(cfg)
    uses_amp, amp_type = cfg.SOLVER.AMP.ENABLED, torch.float16 if device.type == "cuda" else torch.bfloat16
    scaler = torch.amp.GradScaler(device.type, enabled=uses_amp and amp_type == torch.float16)
    if state["optimizer"] is not None:
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
    records = [record for name in cfg.DATASETS.TRAIN for record in load_dataset_dicts(name)]
    batches = training_batches(cfg, records, seed, start, rank, world_size)
    trained = model
    if world_size > 1:
        trained = DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None, broadcast_buffers=False
        )
    log_period = min(LOG_PERIOD, max(1, end // LINES_OF_A_SHORT_RUN))
    window = Window(process)
    metrics = MetricsLog(cfg.OUTPUT_DIR, start) if process.is_main else None
    bar = tqdm(total=end, initial=start, desc="train", unit="it", disable=not process.is_main, mininterval=1.0)

    logger = logging.getLogger("clsa")
    model.train()
    for iteration in range(start, end):
        before = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        lr = set_learning_rate(optimizer, schedule(iteration / end))
        seed_iteration(seed, iteration, rank)
        with torch.autocast(device.type, amp_type, enabled=uses_amp):
            losses = trained(batch)
            total = sum(losses.values())
        parts = {"total_loss": total, **losses}
        values = torch.stack([part.detach().float() for part in parts.values()]).tolist()
        parts = dict(zip(parts, values, strict=True))
        require_finite(parts, iteration, lr)
        optimizer.zero_grad()
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()

        window.add({**parts, "data_time": loaded - before, "time": time.perf_counter() - before})
        done = iteration + 1
        bar.update()
        if done % log_period == 0 or done == end:
            numbers = window.mean_over_processes()
            peaks = process.gather(peak_memory_mib(device.type))
            if metrics is not None:
                numbers |= {"lr": lr, "eta_seconds": numbers["time"] * (end - done), "peak_memory_mib": max(peaks)}
                metrics.write(iteration, numbers)
                bar.set_postfix(loss=f"{numbers['total_loss']:.3f}", lr=f"{lr:.2g}", memory=f"{max(peaks):.0f}M")
                logger.info(log_line(done, end, numbers))
        evaluates = cfg.TEST.EVAL_PERIOD > 0 and done % cfg.TEST.EVAL_PERIOD == 0 and done < end
        if cfg.TEST.PRECISE_BN.ENABLED and (evaluates or done == end):
            estimate_bn_statistics(process, cfg, model, records, seed)
        if (done % cfg.SOLVER.CHECKPOINT_PERIOD == 0 or done == end) and process.is_main:
            content = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "seconds": seconds(),
                **{key: state[key] for key in ("seed", "weights", "verified", *RECORD_KEYS)},
            }
            write_checkpoint(cfg.OUTPUT_DIR, done, done == end, content)
        if evaluates:
            evaluation = evaluate_detector(process, cfg, model)
            if metrics is not None:
                metrics.write_evaluation(iteration, evaluation["values"])
    bar.close()
    if metrics is not None:
        metrics.close()


def log_line(done: int, end: int, numbers: dict[str, float]) -> str:
    """``"iteration 40/120  eta 0:01:20  total_loss 1.2346  ..."``: ``memory`` is the largest of any process so far."""
    eta = datetime.timedelta(seconds=round(numbers["eta_seconds"]))
    losses = "  ".join(f"{name} {value:.4f}" for name, value in numbers.items() if "loss" in name)
    return (
        f"iteration {done}/{end}  eta {eta}  {losses}  lr {numbers['lr']:.3g}  {numbers['time']:.3f} s/iteration  "
        f"data {numbers['data_time']:.3f} s  memory {numbers['peak_memory_mib']:.0f} MiB"
    )


def seed_iteration(seed: int, iteration: int, rank: int) -> None:
    """Seed PyTorch's generators for one iteration of one process: the model's samplers draw from them."""
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0]) >> 1)


def require_finite(parts: dict[str, float], iteration: int, lr: float) -> None:
    """Stop at the first loss that is infinite or no number, before it reaches the weights.

    Raises:
        InputError: naming the iteration and every part.
    """
    if not all(math.isfinite(value) for value in parts.values()):
        listed = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        raise InputError(
            f"the loss is not finite at iteration {iteration} (lr {lr:g}): {listed}. Lower SOLVER.BASE_LR, lengthen "
            "SOLVER.WARMUP_ITERS, or look for damaged images and boxes; --resume goes on from the last checkpoint."
        )


def estimate_bn_statistics(
    process: Process, cfg: CfgNode, model: torch.nn.Module, records: list[dict[str, Any]], seed: int
) -> None:
    """Replace the running BN statistics by those of ``TEST.PRECISE_BN.NUM_ITER`` training batches, weights fixed."""
    if not get_bn_modules(model):  # all frozen
        return
    iterations = cfg.TEST.PRECISE_BN.NUM_ITER
    logging.getLogger("clsa").info("estimating BN statistics from %d batches", iterations)
    batches = training_batches(cfg, records, seed, 0, process.rank, process.world_size)
    seed_iteration(seed, 0, process.rank)
    update_bn_stats(model, itertools.islice(batches, iterations), iterations)
