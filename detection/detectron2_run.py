"""What each process of a detectron2 run does: train and evaluate, or evaluate alone, and write the result.

Imports detectron2, and with it ``detectron2.data``, which reads DETECTRON2_DATASETS at that moment.
"""

import argparse
import logging
import time
from pathlib import Path

import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.run_files import atomic_write, sha256_of_file

from .dataset_dicts import data_root, find_source
from .detection_result import evaluated_dataset, write_detection_result
from .detectron2_engine import find_detectron2_start
from .detectron2_evaluators import read_evaluation
from .detectron2_trainer import Trainer, put_into
from .start_point import agree
from .training_record import result_fields, training_record, with_start_weights


def run_in_each_process(cfg: CfgNode, protocol: str, args: argparse.Namespace) -> None:
    """Train and evaluate, or evaluate alone; the main process writes ``OUTPUT_DIR/result.json``.

    Raises:
        InputError: weights that did not arrive; a detector's checkpoint that cannot be used.
    """
    started = time.perf_counter()
    cfg = with_one_seed(cfg)
    process = Process(comm.get_rank(), comm.get_world_size(), torch.device(cfg.MODEL.DEVICE))
    start = agree(process, cfg.OUTPUT_DIR, lambda: find_detectron2_start(cfg, args))
    if start and not args.eval_only:
        cfg = with_start_weights(cfg, start.content["weights"]["file"])
    set_up(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="clsa")
    for name in (*(() if args.eval_only else cfg.DATASETS.TRAIN), evaluated_dataset(cfg)):
        _check_registered_place(name)
    if args.eval_only:
        model, origin = Trainer.build_model(cfg), start.content
        put_into(model, origin, start.path)
        fields = result_fields(cfg, protocol, args.trial, origin, start.is_in(cfg.OUTPUT_DIR))
        figures = Trainer.test(cfg, model)
        detector = {"file": str(start.path), "sha256": sha256_of_file(start.path)}
        iterations, seconds = origin["iteration"], fields["seconds"] + time.perf_counter() - started
    else:
        record = training_record(cfg, protocol, args.trial or (start and start.content["trial"]) or 0)
        trainer = Trainer(cfg, record)
        trainer.resume_or_load(resume=args.resume)
        figures = trainer.train()
        model, origin, detector = trainer.model, trainer.origin, None
        fields = {**record, "details": {}}
        cfg = trainer.cfg  # with SOLVER.REFERENCE_WORLD_SIZE detectron2 has scaled it to the number of GPUs
        iterations, seconds = cfg.SOLVER.MAX_ITER, trainer.seconds()
    if comm.is_main_process():
        write_detection_result(
            cfg.OUTPUT_DIR,
            cfg,
            fields["protocol"],
            "detectron2",
            read_evaluation(cfg, figures),
            verified=origin["verified"],
            weights_path=origin["weights"]["file"],
            wall_seconds=seconds,
            train_datasets=fields["train_datasets"],
            seed=origin["seed"],
            trial=fields["trial"],
            weights=origin["weights"],
            details={
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "iterations": iterations,
                "processes": comm.get_world_size(),
                "detector": detector,
                **fields["details"],
            },
        )
        logging.getLogger("clsa").info("%s/result.json written after %.0f s", cfg.OUTPUT_DIR, seconds)


def set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """detectron2's ``default_setup``, after which OUTPUT_DIR/config.yaml is still that of the training."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    before = path.read_bytes() if path.is_file() else None
    try:
        default_setup(cfg, args)
    finally:
        if args.eval_only and comm.is_main_process():
            if before is None:
                path.unlink(missing_ok=True)
            else:
                with atomic_write(path) as file:
                    file.write(before)


def with_one_seed(cfg: CfgNode) -> CfgNode:
    """``cfg``, its ``SEED`` drawn by the main process if it is negative: the result names one for all machines."""
    if cfg.SEED >= 0:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = int(comm.shared_random_seed())
    cfg.freeze()
    return cfg


def _check_registered_place(name: str) -> None:
    """detectron2 fixes the data's root when it is first imported; the rest of this program reads it at each call."""
    metadata = MetadataCatalog.get(name)
    registered = Path(metadata.dirname if find_source(name).kind == "voc" else metadata.image_root)
    if not registered.is_relative_to(data_root()):
        raise InputError(
            f"detectron2 looks for {name} in {registered}, but DETECTRON2_DATASETS is {data_root()}: set the variable "
            "before detectron2 is imported."
        )
