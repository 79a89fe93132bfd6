"""The second engine: torchvision's R-CNNs trained and evaluated on the same YAML, where detectron2 is not installed.

A run from its config to its result.json; the loop is in :mod:`~clsa.detection.torchvision_training`.
"""

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
from .detector_checkpoint import read_checkpoint
from .evaluate_detector import evaluate_detector
from .implemented import refuse_unsupported
from .load_weights import load_backbone
from .norm_layers import refuse_sync_bn_on_cpu
from .rcnn import build_model
from .start_point import StartPoint, agree, find_start
from .torchvision_training import train
from .training_record import result_fields, training_record, with_start_weights


def run(
    process: Process, cfg: CfgNode, protocol: str, resume: bool = False, eval_only: bool = False, trial: int = 0
) -> Path:
    """Fine-tune and evaluate, or with ``eval_only`` evaluate ``MODEL.WEIGHTS``, and write ``OUTPUT_DIR/result.json``.

    An evaluation writes no ``config.yaml``: the one in OUTPUT_DIR is of the training.

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
    refuse_sync_bn_on_cpu(cfg, process)

    def find() -> StartPoint | None:
        found = find_start(cfg, resume, eval_only, read_checkpoint)
        check_datasets(cfg, needs_training_data=not eval_only)
        return found

    start = agree(process, cfg.OUTPUT_DIR, find)
    state = new_state(process, cfg) if start is None else start.content
    if eval_only:
        fields = result_fields(cfg, protocol, trial, state, start.is_in(cfg.OUTPUT_DIR))
    else:
        cfg = with_start_weights(cfg, state["weights"]["file"])
        state = {**state, **training_record(cfg, protocol, trial or state["trial"] or 0)}
        fields = {**state, "details": {}}
    logger = start_log(cfg.OUTPUT_DIR, process.is_main)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if process.is_main:
        if not eval_only:
            write_config(cfg.OUTPUT_DIR, cfg)
        check_data(cfg, needs_training_data=not eval_only)

    torch.manual_seed(state["seed"])
    model = build_model(cfg)
    if start is not None:
        load_detector(model, state)
        logger.info("loaded %s, of iteration %d", start.path, state["iteration"])
    elif cfg.MODEL.WEIGHTS:
        state["verified"] = load_backbone(model, cfg.MODEL.WEIGHTS, cfg)
        logger.info("all %d tensors of %s are in the model", state["verified"], cfg.MODEL.WEIGHTS)
    else:
        logger.info("MODEL.WEIGHTS is empty: training starts from random weights (seed %d)", state["seed"])
    model.to(process.device)

    def seconds() -> float:  # of this run, of those that it resumes, and of the training that is evaluated in its place
        return fields["seconds"] + time.perf_counter() - started

    if not eval_only:
        with logging_redirect_tqdm([logger]):  # a line of the log does not cut the bar in two
            train(process, cfg, model, state, seconds)
    evaluation = evaluate_detector(process, cfg, model)
    if process.is_main:
        write_detection_result(
            cfg.OUTPUT_DIR,
            cfg,
            fields["protocol"],
            "torchvision",
            evaluation,
            verified=state["verified"],
            weights_path=state["weights"]["file"],
            wall_seconds=seconds(),
            train_datasets=fields["train_datasets"],
            seed=state["seed"],
            trial=fields["trial"],
            weights=state["weights"],
            details={
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "iterations": state["iteration"] if eval_only else cfg.SOLVER.MAX_ITER,
                "processes": process.world_size,
                "detector": {"file": str(start.path), "sha256": sha256_of_file(start.path)} if eval_only else None,
                **fields["details"],
            },
        )
        logger.info("%s/result.json written after %.0f s", cfg.OUTPUT_DIR, seconds())
    return Path(cfg.OUTPUT_DIR) / "result.json"


def new_state(process: Process, cfg: CfgNode) -> dict[str, Any]:
    """What a new run starts from: the keys of a checkpoint. ``weights`` records the backbone it is trained from."""
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
        "trial": None,
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
