"""The engine of record: a detectron2 project in MoCo's manner.

detectron2's own config, model, trainer and evaluators run the protocol. What is added is what MoCo's script leaves to
the user's attention: a misspelt key, data or weights that do not fit stop the run before the first step, every
tensor of the weights is proved to be in the model, and the outcome is written as ``result.json``.

This module is importable without detectron2; ``detectron2_run`` is not, and is imported when a run starts.
"""

import argparse
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.launch import Machines
from clsa.configs.loading import find_config, load_config
from clsa.configs.processes import Process
from clsa.convert.backbone_file import read_backbone

from .dataset_check import check_data
from .detection_result import check_datasets, protocol_id
from .detector_checkpoint import read_detectron2_checkpoint
from .evaluation_keys import add_evaluation_keys
from .load_weights import check_architecture, check_pixel_settings
from .norm_layers import refuse_sync_bn_on_cpu
from .start_point import StartPoint, find_start
from .start_weights import require_choice

INSTALL_GUIDE = "https://detectron2.readthedocs.io/tutorials/install.html"


def run(args: argparse.Namespace) -> Path:
    """Fine-tune and evaluate, or with ``eval_only`` evaluate alone; write ``OUTPUT_DIR/result.json``, return its path.

    Args:
        args: ``config_file``, ``num_gpus`` (of each machine; 0: the CPU), ``eval_only``, ``resume``, ``num_machines``,
            ``machine_rank``, ``dist_url`` as detectron2's scripts have them; ``opts``, a list of KEY VALUE words;
            ``trial``, the number of the run among its like.

    Raises:
        InputError: no detectron2; an unknown key; data, weights or a number of GPUs that cannot be used.
    """
    require_detectron2()
    cfg = resolve_config(args)
    check_config(cfg, args)
    protocol = protocol_id(args.config_file, args.opts)

    from detectron2.engine import launch

    from .detectron2_run import run_in_each_process

    try:
        launch(
            run_in_each_process,
            args.num_gpus or 1,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(cfg, protocol, args),
        )
    except torch.multiprocessing.ProcessRaisedException as error:  # its text is the traceback of that process
        _, is_ours, sentence = str(error).rpartition(f"{InputError.__module__}.{InputError.__qualname__}: ")
        if is_ours:
            raise InputError(sentence.strip()) from error
        raise
    result = Path(cfg.OUTPUT_DIR) / "result.json"
    if args.machine_rank == 0:
        print(result)
    return result


def require_detectron2() -> None:
    """Raise an ``InputError`` with what to do when detectron2 cannot be imported."""
    try:
        import detectron2.config  # noqa: F401
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        trouble = "is not installed" if package == "detectron2" else f"cannot be imported ({error})"
        raise InputError(
            f"--engine detectron2: detectron2 {trouble}. Install it by its guide ({INSTALL_GUIDE}) or put a source "
            "checkout on PYTHONPATH (docs/detectron2.md), or give --engine torchvision."
        ) from error


def resolve_config(args: argparse.Namespace) -> CfgNode:
    """detectron2's defaults, the YAML and the overrides, frozen. A negative ``SEED`` stays: see ``with_one_seed``."""
    from detectron2.config import get_cfg

    args.config_file = str(find_config(args.config_file))
    cfg = load_config(add_evaluation_keys(get_cfg()), args.config_file, args.opts)
    cfg.defrost()
    if args.num_gpus == 0:
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def check_config(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse what detectron2 would accept and get wrong, or would stop at only after minutes or in a child process.

    Raises:
        InputError: see the messages below; for the weights also those of ``read_backbone``.
    """
    machines = Machines(args.num_machines, args.machine_rank, args.dist_url)
    if args.num_gpus == 0:
        refuse_sync_bn_on_cpu(cfg, Process(machines.rank, machines.count, torch.device("cpu")))
        if machines.count > 1 and torch.cuda.is_available():
            raise InputError(
                "--num-gpus 0 on several machines: detectron2's launch takes NCCL where PyTorch sees a GPU. Hide them "
                "with CUDA_VISIBLE_DEVICES=''."
            )
    processes = (args.num_gpus or 1) * machines.count
    if args.num_gpus > torch.cuda.device_count():
        raise InputError(
            f"--num-gpus is {args.num_gpus}, PyTorch sees {torch.cuda.device_count()}. Give --num-gpus 0 to run on the "
            "CPU; docs/detectron2.md has the settings for fewer GPUs."
        )
    if processes > 1 and cfg.SOLVER.IMS_PER_BATCH % processes:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH is {cfg.SOLVER.IMS_PER_BATCH}, which {processes} processes cannot share evenly."
        )
    if cfg.MODEL.ROI_HEADS.NAME.startswith("Res5ROIHeads") and cfg.MODEL.RESNETS.DEPTH < 50:
        raise InputError(
            f"MODEL.RESNETS.DEPTH is {cfg.MODEL.RESNETS.DEPTH}, but detectron2's {cfg.MODEL.ROI_HEADS.NAME} builds its "
            "res5 of bottlenecks, which ResNet-18 and 34 do not have. Take an FPN config, or --engine torchvision."
        )
    require_choice(args.config_file, args.opts, cfg.OUTPUT_DIR, args.resume, args.eval_only)
    try:
        start = find_detectron2_start(cfg, args)
    except InputError:
        if machines.count == 1:
            raise
        return  # the other machines would wait for this one: all say it when they have met
    check_datasets(cfg, needs_training_data=not args.eval_only)
    check_data(cfg, needs_training_data=not args.eval_only)
    if start is None and cfg.MODEL.WEIGHTS:
        check_pixel_settings(cfg)
        check_architecture(cfg, read_backbone(cfg.MODEL.WEIGHTS, target="detectron2"))


def find_detectron2_start(cfg: CfgNode, args: argparse.Namespace) -> StartPoint | None:
    """:func:`~clsa.detection.start_point.find_start` for this engine."""
    return find_start(cfg, args.resume, args.eval_only, read_detectron2_checkpoint)
