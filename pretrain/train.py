"""The training loop, Algorithm 1 of "Contrastive Learning with Stronger Augmentations", and what surrounds it."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from clsa.configs.command import InputError
from clsa.configs.run_files import plain, start_log, write_config

from .checkpointing import check_same_run, last_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from .config import check_config
from .data import batches, find_images, normalise
from .distributed import Process, gather_objects
from .methods import MomentumContrast
from .networks import Encoder
from .schedules import ddm_weight, learning_rate
from .training_log import MetricsFiles, NonFiniteLoss, StepWindow


def pretrain(process: Process, cfg: CfgNode, resume: bool) -> None:
    """Train as ``cfg`` says and leave a checkpoint in OUTPUT_DIR; run by every training process.

    Raises:
        InputError: settings, data or checkpoint that cannot be used. NonFiniteLoss, one of its kind: training diverged.
    """
    check_config(cfg, process.world_size)
    checkpoint_path = _where_to_start(cfg, resume)
    if cfg.METHOD == "random_init":
        if process.is_main and checkpoint_path is None:
            write_random_init(cfg)
        return

    paths = find_images(cfg.DATA.TRAIN)
    steps_per_epoch = len(paths) // cfg.SOLVER.BATCH_SIZE
    if steps_per_epoch == 0:
        raise InputError(
            f"{cfg.DATA.TRAIN} holds {len(paths)} images, fewer than one batch of SOLVER.BATCH_SIZE "
            f"{cfg.SOLVER.BATCH_SIZE}. Lower the batch size or add images."
        )
    max_iter = cfg.SOLVER.MAX_ITER or cfg.SOLVER.EPOCHS * steps_per_epoch
    stop = min(max_iter, cfg.SOLVER.STOP_AFTER or max_iter)
    checkpoint = load_checkpoint(checkpoint_path) if checkpoint_path else None
    changes = check_same_run(checkpoint_path, checkpoint, cfg, len(paths)) if checkpoint else []
    start = checkpoint["iteration"] if checkpoint else 0

    log = start_log(cfg.OUTPUT_DIR, process.is_main)
    if process.is_main:
        write_config(cfg.OUTPUT_DIR, cfg)
    _log_setting(log, cfg, process, len(paths), max_iter, start)
    for change in changes:
        log.warning("resumed with another setting: %s", change)
    if checkpoint and checkpoint["processes"] != process.world_size:
        log.warning(
            "resumed by %d processes, written by %d: BN sees other batches, so the run is not the one that was stopped",
            process.world_size,
            checkpoint["processes"],
        )
    if start >= stop:
        log.info("nothing to train: step %d of %d is done", start, stop)
        return

    torch.backends.cudnn.benchmark = process.device.type == "cuda"  # the sizes of the views never change
    torch.manual_seed(cfg.SEED)
    method = MomentumContrast(cfg, process).to(process.device)
    if cfg.MODEL.CHANNELS_LAST:
        method = method.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        method.query.parameters(),
        lr=cfg.SOLVER.LR,
        momentum=cfg.SOLVER.MOMENTUM,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
    )
    scaler = torch.amp.GradScaler(process.device.type, enabled=cfg.SOLVER.PRECISION == "float16")
    if checkpoint:
        _restore(checkpoint, method, optimizer, scaler, process)
    model = method
    if process.world_size > 1:
        # Buffers stay as they are: the queues are equal by construction, and MoCo's running statistics, too, are those
        # of the first process.
        model = DistributedDataParallel(method, broadcast_buffers=False)

    method.train()
    window = StepWindow(process)
    files = MetricsFiles(cfg.OUTPUT_DIR, start) if process.is_main else None
    bar = tqdm(total=max_iter, initial=start, desc=cfg.METHOD, unit="step", disable=None if process.is_main else True)
    with logging_redirect_tqdm([log]), bar:
        waiting_since = time.perf_counter()
        loaded = batches(cfg, paths, process, start, stop)
        for iteration, views in enumerate(loaded, start + 1):
            data_seconds = time.perf_counter() - waiting_since
            lr, beta = learning_rate(cfg, iteration, max_iter), ddm_weight(cfg, iteration)
            for group in optimizer.param_groups:
                group["lr"] = lr

            key_view, weak_view, *strong_views = (
                normalise(view, process.device, cfg.MODEL.CHANNELS_LAST) for view in views
            )
            step = model(key_view, weak_view, strong_views, iteration)
            loss = step.contrastive if step.ddm is None else step.contrastive + beta * step.ddm
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            method.update_key_network()
            method.enqueue(step.batch_keys)

            values = {"loss": loss, "loss_contrastive": step.contrastive, "loss_ddm": step.ddm}
            values |= {"acc1_bank": step.acc1_bank, "acc1_batch": step.acc1_batch}
            values |= {"ddm_target_entropy": step.ddm_target_entropy}
            window.add(iteration, {k: v for k, v in values.items() if v is not None}, data_seconds)
            bar.update()

            to_save = iteration % cfg.SOLVER.CHECKPOINT_PERIOD == 0 or iteration == stop
            try:
                if to_save:
                    window.check_finite()
                    _check_finite_weights(method, iteration)
                if iteration % cfg.SOLVER.LOG_PERIOD == 0 or iteration == stop:
                    means = window.close(cfg.SOLVER.BATCH_SIZE)
                    record = {"iteration": iteration, "epoch": round(iteration / steps_per_epoch, 4)}
                    record |= {name: means.get(name) for name in values}
                    record |= {"beta": None if step.ddm is None else beta, "lr": lr}
                    record |= {name: means[name] for name in ("images_per_second", "data_seconds", "step_seconds")}
                    if files:
                        files.write(record)
                        bar.set_postfix(loss=f"{record['loss']:.3f}", acc_batch=f"{record['acc1_batch']:.1f}%")
                    log.info(_sentence(record, max_iter))
            except NonFiniteLoss as error:
                raise NonFiniteLoss(f"{error} {_after_divergence(cfg)}") from None
            if to_save:
                content = _content(cfg, method, optimizer, scaler, process, iteration, steps_per_epoch, len(paths))
                if process.is_main:
                    path = save_checkpoint(cfg.OUTPUT_DIR, content, cfg.SOLVER.CHECKPOINT_KEEP)
                    log.info("wrote %s", path)
            waiting_since = time.perf_counter()
    if files:
        files.close()


def write_random_init(cfg: CfgNode) -> Path:
    """The untrained query network of this seed, the one that training with this seed starts from, as checkpoint 0."""
    log = start_log(cfg.OUTPUT_DIR)
    write_config(cfg.OUTPUT_DIR, cfg)
    torch.manual_seed(cfg.SEED)
    content = {"method": cfg.METHOD, "query": Encoder(cfg).state_dict(), "rng": [_rng_state()], "iteration": 0}
    content |= {"epoch": 0, "epoch_step": 0, "images": 0, "processes": 1, "config": plain(cfg)}
    path = save_checkpoint(cfg.OUTPUT_DIR, content)
    log.info("random_init: wrote the untrained network of seed %d to %s", cfg.SEED, path)
    return path


def _where_to_start(cfg: CfgNode, resume: bool) -> Path | None:
    """The checkpoint to resume, None to start anew; refuses to write over another run."""
    if resume:
        return last_checkpoint(cfg.OUTPUT_DIR)
    existing = list_checkpoints(cfg.OUTPUT_DIR)
    if existing:
        raise InputError(
            f"{cfg.OUTPUT_DIR} already holds checkpoints, the newest is {existing[-1].name}. "
            "Give --resume to go on with that run, or another OUTPUT_DIR to start anew."
        )
    return None


def _content(
    cfg: CfgNode,
    method: MomentumContrast,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    process: Process,
    iteration: int,
    steps_per_epoch: int,
    images: int,
) -> dict[str, Any]:
    epoch, epoch_step = divmod(iteration, steps_per_epoch)
    return {
        "method": cfg.METHOD,
        "query": method.query.state_dict(),
        "key": method.key.state_dict(),
        "queue": method.queue.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "rng": gather_objects(_rng_state(), process),
        "iteration": iteration,
        "epoch": epoch,
        "epoch_step": epoch_step,
        "images": images,
        "processes": process.world_size,
        "config": plain(cfg),
    }


def _restore(
    checkpoint: dict[str, Any],
    method: MomentumContrast,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    process: Process,
) -> None:
    method.query.load_state_dict(checkpoint["query"])
    method.key.load_state_dict(checkpoint["key"])
    method.queue.load_state_dict(checkpoint["queue"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scaler.load_state_dict(checkpoint["scaler"])
    states = checkpoint["rng"]
    state = states[process.rank % len(states)]
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and process.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], process.device)


def _rng_state() -> dict[str, torch.Tensor | None]:
    """PyTorch's global generators. Nothing draws from those of Python and NumPy: see ``seeding``."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None}


def _check_finite_weights(method: MomentumContrast, iteration: int) -> None:
    """The loss of a step is computed before its update: a last, too large update shows only in the weights."""
    broken = [name for name, weight in method.query.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise NonFiniteLoss(f"after step {iteration} weights are not finite: {', '.join(broken[:3])}.")


def _after_divergence(cfg: CfgNode) -> str:
    existing = last_checkpoint(cfg.OUTPUT_DIR)
    where = f"The last good checkpoint is {existing}" if existing else "No checkpoint had been written yet"
    return f"{where}. Lower SOLVER.LR or take SOLVER.PRECISION float32, and " + (
        "go on with --resume." if existing else "start again."
    )


def _sentence(record: dict[str, Any], max_iter: int) -> str:
    minutes, seconds = divmod(round((max_iter - record["iteration"]) * record["step_seconds"]), 60)
    ddm = "" if record["loss_ddm"] is None else f" ddm {record['loss_ddm']:.4f} (beta {record['beta']:.2f})"
    return (
        f"step {record['iteration']}/{max_iter} epoch {record['epoch']:.2f} loss {record['loss']:.4f}"
        f" contrastive {record['loss_contrastive']:.4f}{ddm} acc1 bank {record['acc1_bank']:.1f}%"
        f" batch {record['acc1_batch']:.1f}% lr {record['lr']:.4g} {record['images_per_second']:.0f} images/s"
        f" left {minutes}:{seconds:02d}"
    )


def _log_setting(log: logging.Logger, cfg: CfgNode, process: Process, images: int, max_iter: int, start: int) -> None:
    log.info(
        "%s, ResNet-%d, %d images of %s, steps %d to %d in batches of %d, on %d x %s, %s",
        cfg.METHOD,
        cfg.MODEL.DEPTH,
        images,
        cfg.DATA.TRAIN,
        start + 1,
        max_iter,
        cfg.SOLVER.BATCH_SIZE,
        process.world_size,
        process.device.type,
        cfg.SOLVER.PRECISION,
    )
    log.info(
        "shuffling BN: each process embeds a random share of all keys"
        if process.world_size > 1
        else "shuffling BN: none, there is one process: query and key are normalised over the same images"
    )
