"""The second engine: torchvision's R-CNNs trained and evaluated on the same YAML, where detectron2 is not installed.

A run from its config to its result.json; the loop is in :mod:`~clsa.detection.torchvision_training`.
"""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from tqdm.contrib.logging import logging_redirect_tqdm

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.run_files import sha256_of_file, start_log, write_config

from .dataset_check import check_data
from .detection_result import check_datasets, weights_record, write_detection_result
from .detector_checkpoint import last_checkpoint, read_checkpoint
from .evaluate_detector import evaluate_detector
from .implemented import refuse_unsupported
from .load_weights import load_backbone
from .norm_layers import refuse_sync_bn_on_cpu
from .rcnn import build_model
from .resume_check import require_same_config
from .torchvision_training import train


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
