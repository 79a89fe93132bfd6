"""The training loop, Algorithm 1 of "Contrastive Learning with Stronger Augmentations"."""

import contextlib
import inspect
import logging
import time
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from clsa.configs.atomic_files import remove_leftovers
from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.run_files import plain, start_log, write_config

from .bn_statistics import re_estimate
from .check_config import check_config
from .checkpointing import check_same_run, last_checkpoint, load_checkpoint, save_checkpoint, where_to_start
from .data import Normalise, batches
from .interruption import StopRequest
from .knn_monitor import KnnMonitor
from .networks import Encoder
from .schedules import ddm_weight, learning_rate
from .skipped_images import SkippedImages
from .sources import Source, open_source
from .step import train_step
from .training_log import MetricsFiles, NonFiniteLoss, StepWindow, describe
from .training_state import TrainingState, random_states


def pretrain(process: Process, cfg: CfgNode, resume: bool) -> None:
    """Train as ``cfg`` says and leave a checkpoint in OUTPUT_DIR; run by every training process.

    Raises:
        InputError: settings, data or checkpoint that cannot be used; NonFiniteLoss, one of its kind: training diverged.
        Interrupted: a signal asked for a stop; the checkpoint is written (see ``interruption``).
    """
    began = time.time()
    check_config(cfg, process.world_size)
    if cfg.METHOD == "random_init":
        if process.is_main:
            write_random_init(cfg, resume)
        return

    source = open_source(cfg.DATA, process)
    steps_per_epoch = len(source) // cfg.SOLVER.BATCH_SIZE
    if steps_per_epoch == 0:
        raise InputError(
            f"{cfg.DATA.TRAIN} holds {len(source)} images, fewer than one batch of SOLVER.BATCH_SIZE "
            f"{cfg.SOLVER.BATCH_SIZE}. Lower the batch size or add images."
        )
    max_iter = cfg.SOLVER.MAX_ITER or cfg.SOLVER.EPOCHS * steps_per_epoch
    stop = min(max_iter, cfg.SOLVER.STOP_AFTER or max_iter)

    path = where_to_start(cfg.OUTPUT_DIR, resume)
    checkpoint = load_checkpoint(path) if path else None
    start, changes = 0, []
    if checkpoint:
        start = checkpoint["iteration"]
        changes = check_same_run(path, checkpoint, cfg, len(source), process.world_size, source.order_sha256)

    log = start_log(cfg.OUTPUT_DIR, process.is_main)
    _log_setting(log, cfg, process, len(source), start, max_iter)
    for change in changes:
        log.warning("resumed with a difference: %s", change)
    if start >= stop:
        log.info("nothing to train: step %d is done, the run is to end at %d", start, stop)
        return
    if process.is_main:
        if leftovers := remove_leftovers(cfg.OUTPUT_DIR, before=began):
            log.info("removed what a killed run had not finished writing: %s", ", ".join(leftovers))
        write_config(cfg.OUTPUT_DIR, cfg)

    state = TrainingState(cfg, process)
    if checkpoint:
        state.restore(checkpoint)
    try:
        _train(state, source, start, stop, max_iter, log)
    except NonFiniteLoss as error:
        raise NonFiniteLoss(f"{error} {_advice(cfg)}") from None


def _train(state: TrainingState, source: Source, start: int, stop: int, max_iter: int, log: logging.Logger) -> None:
    """Steps ``start + 1`` to ``stop`` of ``max_iter``."""
    cfg, process, method, optimizer = state.cfg, state.process, state.method, state.optimizer
    steps_per_epoch = len(source) // cfg.SOLVER.BATCH_SIZE
    torch.backends.cudnn.benchmark = process.device.type == "cuda"  # the sizes of the views never change
    method.train()
    model = method
    if process.world_size > 1:
        # Buffers are left alone: the queues are equal by construction, and of BN's running statistics those of the
        # first process are saved, as in MoCo. Newer PyTorch has another name for the argument.
        renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        sync_buffers = "forward_sync_buffers" if renamed else "broadcast_buffers"
        model = DistributedDataParallel(method, **{sync_buffers: False})
    normalise = Normalise(process.device, cfg.MODEL.CHANNELS_LAST)
    monitor = KnnMonitor(cfg) if process.is_main and cfg.MONITOR.PERIOD else None
    files = MetricsFiles(cfg.OUTPUT_DIR, start) if process.is_main else None
    skipped = SkippedImages(cfg.OUTPUT_DIR, process, start)
    bar = tqdm(total=max_iter, initial=start, desc=cfg.METHOD, unit="step", disable=None if process.is_main else True)
    with (
        StopRequest(process.world_size) as stop_request,
        logging_redirect_tqdm([log]),
        bar,
        contextlib.closing(files) if files else contextlib.nullcontext(),
    ):
        window = StepWindow(process)
        for iteration, views in enumerate(batches(cfg, source, process, start, stop, skipped), start + 1):
            window.images_arrived()
            lr, beta = learning_rate(cfg, iteration, max_iter, steps_per_epoch), ddm_weight(cfg, iteration)
            for group in optimizer.param_groups:
                group["lr"] = lr

            step, loss = train_step(model, state, normalise.together(views), iteration, beta)
            window.add(iteration, loss, step)
            bar.update()

            interrupted = stop_request.agreed()
            leaving = iteration == stop or interrupted
            watched = bool(cfg.MONITOR.PERIOD) and iteration % cfg.MONITOR.PERIOD == 0
            if iteration % cfg.SOLVER.LOG_PERIOD == 0 or watched or leaving:
                record = {"iteration": iteration, "epoch": round(iteration * cfg.SOLVER.BATCH_SIZE / len(source), 4)}
                record |= window.close(cfg.SOLVER.BATCH_SIZE, beta=None if step.strong is None else beta, lr=lr)
                if cfg.DATA.SKIP_BAD:
                    record["skipped_images"] = skipped.count(log)
                if watched and monitor:
                    record["knn_top1"] = monitor.top1(method.query.backbone, normalise)
                    window.restart()
                log.info(describe(record, max_iter))
                if files:
                    files.write(record)
            if iteration == max_iter and cfg.MODEL.BN_STATISTICS == "re_estimated":
                re_estimate(method.query, cfg, source, process, normalise, max_iter)
            if iteration % cfg.SOLVER.CHECKPOINT_PERIOD == 0 or leaving:
                window.check_finite()
                if broken := state.weights_that_are_not_finite():
                    raise NonFiniteLoss(f"weights are not finite after step {iteration}: {', '.join(broken[:3])}.")
                content = state.checkpoint(iteration, source)
                if process.is_main:
                    log.info("wrote %s", save_checkpoint(cfg.OUTPUT_DIR, content, cfg.SOLVER.CHECKPOINT_KEEP))
            if interrupted and iteration < stop:
                if process.is_main:
                    log.warning("asked to stop: left after step %d of %d, go on with --resume", iteration, max_iter)
                stop_request.leave()


def write_random_init(cfg: CfgNode, resume: bool) -> None:
    """The untrained query network of this seed, the one that training with this seed starts from, as checkpoint 0."""
    if path := where_to_start(cfg.OUTPUT_DIR, resume):
        check_same_run(path, load_checkpoint(path), cfg, images=0, processes=1)
        return
    log = start_log(cfg.OUTPUT_DIR)
    write_config(cfg.OUTPUT_DIR, cfg)
    torch.manual_seed(cfg.SEED)
    content: dict[str, Any] = {"method": cfg.METHOD, "query": Encoder(cfg).state_dict(), "rng": [random_states()]}
    content |= {"iteration": 0, "epoch": 0, "epoch_step": 0, "images": 0, "processes": 1, "config": plain(cfg)}
    path = save_checkpoint(cfg.OUTPUT_DIR, content)
    log.info("random_init: wrote the untrained network of seed %d to %s", cfg.SEED, path)


def _advice(cfg: CfgNode) -> str:
    good = last_checkpoint(cfg.OUTPUT_DIR)
    remedy = "Lower SOLVER.LR or take SOLVER.PRECISION float32"
    if good:
        return f"The last good checkpoint is {good}. {remedy}, and go on from it with --resume."
    return f"No checkpoint had been written yet. {remedy}, and start again."


def _log_setting(log: logging.Logger, cfg: CfgNode, process: Process, images: int, start: int, max_iter: int) -> None:
    log.info(
        f"{cfg.METHOD}, ResNet-{cfg.MODEL.DEPTH}: steps {start + 1} to {max_iter} in batches of "
        f"{cfg.SOLVER.BATCH_SIZE}, {images} images in {cfg.DATA.TRAIN}, "
        f"{process.world_size} process(es) on {process.device.type}, {cfg.SOLVER.PRECISION}"
    )
    if process.world_size > 1:
        log.info("shuffling BN: each process embeds a random share of the keys of all")
    else:
        log.info("shuffling BN: none, there is one process; query and key are normalised over the same images")
