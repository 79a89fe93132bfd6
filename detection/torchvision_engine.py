"""The second engine: torchvision's R-CNNs trained and evaluated on the same YAML, where detectron2 is not installed.

One flat loop. What an iteration does is a function of the weights and of (seed, iteration, process) alone: the loader
plans its order from them, and the samplers inside the model draw from a generator that is seeded anew each iteration.
So a run that was stopped and resumed ends, on the CPU, with the very same checkpoint.
"""

import datetime
import itertools
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.run_files import plain, sha256_of_file, start_log, write_config

from .dataset_check import check_data
from .dataset_dicts import load_dataset_dicts
from .detection_result import check_datasets, weights_record, write_detection_result
from .detector_checkpoint import last_checkpoint, read_checkpoint, write_checkpoint
from .evaluate_detector import evaluate_detector
from .implemented import refuse_unsupported
from .load_weights import load_backbone
from .loader import training_batches
from .metrics_log import MetricsLog, Window
from .norm_layers import refuse_sync_bn_on_cpu
from .peak_memory import peak_memory_mib
from .rcnn import build_model
from .resume_check import require_same_config
from .solver import build_optimizer, build_schedule, set_learning_rate

#: Log every so many iterations; short runs more often, so that they still leave a curve.
LOG_PERIOD = 20
LINES_OF_A_SHORT_RUN = 50


def run(
    process: Process, cfg: CfgNode, protocol: str, resume: bool = False, eval_only: bool = False, trial: int = 0
) -> Path:
    """Fine-tune and evaluate, or with ``eval_only`` evaluate ``MODEL.WEIGHTS``, and write ``OUTPUT_DIR/result.json``.

    Args:
        process: this one of those that do the work together; its device counts, not ``MODEL.DEVICE``.
        cfg: see :func:`clsa.detection.config.get_cfg`. ``MODEL.WEIGHTS`` is a converted backbone, or empty for a random
            start; with ``eval_only`` a checkpoint of this engine.
        protocol: id of the protocol, from :func:`~clsa.detection.detection_result.protocol_id`.
        resume: go on from ``OUTPUT_DIR/last_checkpoint`` where there is one.
        trial: number of the run among its like, for the result.

    Raises:
        InputError: a value that this engine does not implement, data or weights that cannot be used, a loss that is
            not finite.
    """
    started = time.perf_counter()
    refuse_unsupported(cfg)
    check_datasets(cfg, needs_training_data=not eval_only)
    if resume and not eval_only and last_checkpoint(cfg.OUTPUT_DIR):
        require_same_config(cfg)
    refuse_sync_bn_on_cpu(cfg, process)
    logger = start_log(cfg.OUTPUT_DIR, process.is_main)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if process.is_main:
        write_config(cfg.OUTPUT_DIR, cfg)
        check_data(cfg, needs_training_data=not eval_only)

    state = first_state(process, cfg, resume, eval_only)
    torch.manual_seed(state["seed"])
    model = build_model(cfg)
    if state["model"] is not None:
        load_detector(model, state)
    elif cfg.MODEL.WEIGHTS:
        state["verified"] = load_backbone(model, cfg.MODEL.WEIGHTS, cfg)
        logger.info("all %d tensors of %s are in the model", state["verified"], cfg.MODEL.WEIGHTS)
    else:
        logger.info("MODEL.WEIGHTS is empty: training starts from random weights (seed %d)", state["seed"])
    model.to(process.device)

    def seconds() -> float:  # of this run and of those that it resumes
        return state["seconds"] + time.perf_counter() - started

    if not eval_only:
        with logging_redirect_tqdm([logger]):  # a line of the log does not cut the bar in two
            train(process, cfg, model, state, seconds)
    evaluation = evaluate_detector(process, cfg, model)
    if process.is_main:
        write_detection_result(
            cfg.OUTPUT_DIR,
            cfg,
            protocol,
            "torchvision",
            evaluation,
            verified=state["verified"],
            weights_path=state["weights"]["file"],
            wall_seconds=seconds(),
            seed=state["seed"],
            trial=trial,
            weights=state["weights"],
            details={
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "iterations": state["iteration"] if eval_only else cfg.SOLVER.MAX_ITER,
                "processes": process.world_size,
                "detector": state["detector"],
            },
        )
        logger.info("%s/result.json written after %.0f s", cfg.OUTPUT_DIR, seconds())
    return Path(cfg.OUTPUT_DIR) / "result.json"


def first_state(process: Process, cfg: CfgNode, resume: bool, eval_only: bool) -> dict[str, Any]:
    """What the run starts from: the content of a checkpoint, or the same keys for a new run.

    A new run's ``model`` is None. ``weights`` records the backbone that the detector was trained from; ``detector`` the
    checkpoint that is only evaluated.
    """
    path = last_checkpoint(cfg.OUTPUT_DIR) if resume else None
    if eval_only and path is None:
        if not cfg.MODEL.WEIGHTS:
            raise InputError(
                "--eval-only needs a detector: give MODEL.WEIGHTS OUTPUT_DIR/model_final.pth of a finished run, or "
                "--resume with its OUTPUT_DIR"
            )
        path = Path(cfg.MODEL.WEIGHTS)
    if path is not None:
        state = read_checkpoint(path)
        detector = {"file": str(path), "sha256": sha256_of_file(path)} if eval_only else None
        seconds = 0.0 if eval_only else state["seconds"]
        logging.getLogger("clsa").info("loaded %s, of iteration %d", path, state["iteration"])
        return {**state, "detector": detector, "seconds": seconds}
    seed = cfg.SEED if cfg.SEED >= 0 else process.broadcast(int(np.random.SeedSequence().generate_state(1)[0]))
    return {
        "seed": seed,
        "iteration": 0,
        "seconds": 0.0,
        "model": None,
        "optimizer": None,
        "scaler": None,
        "weights": weights_record(cfg.MODEL.WEIGHTS),
        "verified": 0,
        "detector": None,
    }


def load_detector(model: torch.nn.Module, state: dict[str, Any]) -> None:
    """Load a checkpoint's model, all of it or nothing.

    Raises:
        InputError: the checkpoint is of another architecture.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
    if wanted != found:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        first = differing[0]
        raise InputError(
            f"the detector's checkpoint does not fit the config: {len(differing)} tensors differ, the first is {first} "
            f"(model {wanted.get(first)}, checkpoint {found.get(first)}). Use the config it was trained with."
        )
    model.load_state_dict(state["model"])


def train(
    process: Process, cfg: CfgNode, model: torch.nn.Module, state: dict[str, Any], seconds: Callable[[], float]
) -> None:
    """Train ``model`` in place from ``state["iteration"]`` to ``SOLVER.MAX_ITER``; see :func:`first_state`."""
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
                "config": plain(cfg),
                **{key: state[key] for key in ("seed", "weights", "verified")},
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
