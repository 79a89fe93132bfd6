"""detectron2's ``DefaultTrainer``, as MoCo's script uses it, with the proof that the weights arrived.

Imports detectron2, and with it ``detectron2.data``, which reads DETECTRON2_DATASETS at that moment.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import DefaultTrainer, HookBase, defaults
from detectron2.evaluation import DatasetEvaluator
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.convert.backbone_file import read_backbone

from . import extra_norm_head  # noqa: F401  (registers the head)
from .detection_result import weights_record
from .detector_checkpoint import last_checkpoint, read_detectron2_checkpoint
from .detectron2_evaluators import build_evaluator
from .load_weights import verify_loaded
from .peak_memory import peak_memory_mib

#: Buffers that detectron2's detectors of 2019 and 2020 saved; today they are made from the config.
FORMER_BUFFERS = ("pixel_mean", "pixel_std", "anchor_generator.cell_anchors")

#: Iterations between the lines that detectron2's writers write.
WRITER_PERIOD = 20


class Trainer(DefaultTrainer):
    """The default trainer, which stops unless the weights are in the model, and whose checkpoints know their origin.

    Attributes:
        origin: ``seed``, ``weights`` (record of the backbone file), ``verified`` (how many of its tensors were found
            in the model); saved in every checkpoint, so a resumed or evaluated detector still has it, as is the
            training record.
    """

    def __init__(self, cfg: CfgNode, record: dict[str, Any]):
        self._record = record
        self._started = time.perf_counter()
        self._seconds_before = 0.0
        self.origin = {"seed": cfg.SEED, "weights": weights_record(None), "verified": 0}
        with ddp_on(cfg.MODEL.DEVICE):
            super().__init__(cfg)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """See :func:`~clsa.detection.detectron2_evaluators.build_evaluator`."""
        return build_evaluator(cfg, dataset_name)

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint in ``OUTPUT_DIR``, or load ``MODEL.WEIGHTS`` and prove that it arrived.

        Raises:
            InputError: a tensor of the weights is not in the model, or the trunk has one that is not in the weights; a
                checkpoint that cannot be used.
        """
        logger = logging.getLogger("clsa")
        checkpoint = last_checkpoint(self.cfg.OUTPUT_DIR) if resume else None
        if checkpoint:
            load_detector(self.checkpointer.model, checkpoint)  # detectron2 would only warn about one that does not fit
        super().resume_or_load(resume)
        if checkpoint:
            logger.info("continuing at iteration %d", self.start_iter)
        elif self.cfg.MODEL.WEIGHTS:
            backbone = read_backbone(self.cfg.MODEL.WEIGHTS, target="detectron2")
            self.origin["verified"] = verify_loaded(self.model, backbone)
            self.origin["weights"] = weights_record(self.cfg.MODEL.WEIGHTS)
            logger.info("all %d tensors of %s are in the model", self.origin["verified"], backbone.path)
        else:
            logger.info("MODEL.WEIGHTS is empty: training starts from random weights (seed %d)", self.cfg.SEED)

    def train(self) -> dict[str, dict[str, float]]:
        """Train to ``SOLVER.MAX_ITER``; the figures of the evaluation that follows, on the main process."""
        super().train()
        return self._last_eval_results

    def build_hooks(self) -> list[HookBase]:
        """detectron2's own, and the peak of the memory before its writers write."""
        return [PeakMemory(self.cfg.MODEL.DEVICE.partition(":")[0]), *super().build_hooks()]

    def seconds(self) -> float:
        """Wall time of this run and of those that it resumes."""
        return self._seconds_before + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the model."""
        return {**super().state_dict(), "origin": self.origin, "seconds": self.seconds(), "training": self._record}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse; a checkpoint of detectron2's own trainer has no origin and is refused."""
        if "origin" not in state_dict:
            raise InputError(
                f"the last checkpoint in {self.cfg.OUTPUT_DIR} was not written by this program, so nobody knows which "
                "weights it began with. Take another OUTPUT_DIR."
            )
        super().load_state_dict(state_dict)
        self.origin = state_dict["origin"]
        self._seconds_before = state_dict["seconds"]


class PeakMemory(HookBase):
    """``peak_memory_mib`` of the main process into metrics.json and TensorBoard; on the CPU into the log, too.

    detectron2 logs the memory of a GPU alone, and writes neither.
    """

    def __init__(self, device_type: str):
        self._device_type = device_type

    def after_step(self) -> None:
        """Note the peak; log it as often as detectron2 logs its losses."""
        done = self.trainer.iter + 1
        peak = peak_memory_mib(self._device_type)
        self.trainer.storage.put_scalar("peak_memory_mib", peak, smoothing_hint=False)
        if self._device_type == "cpu" and (done % WRITER_PERIOD == 0 or done == self.trainer.max_iter):
            logging.getLogger("clsa").info("iteration %d: memory %.0f MiB", done, peak)


@contextlib.contextmanager
def ddp_on(device: str) -> Iterator[None]:
    """Within the block detectron2's trainer wraps a model on the CPU, too: it names a GPU to DDP, which DDP refuses."""
    ours = {"device_ids": None} if device == "cpu" else {}
    theirs = defaults.create_ddp_model
    defaults.create_ddp_model = functools.partial(theirs, **ours)
    try:
        yield
    finally:
        defaults.create_ddp_model = theirs


def load_detector(model: torch.nn.Module, path: str | Path) -> dict[str, Any]:
    """Read a detector's checkpoint and load it; see ``read_detectron2_checkpoint`` and :func:`put_into`."""
    content = read_detectron2_checkpoint(path)
    put_into(model, content, path)
    return content


def put_into(model: torch.nn.Module, content: dict[str, Any], path: str | Path) -> None:
    """Load what ``path`` holds into ``model``, all of it or nothing: this program's, or any of detectron2's.

    Raises:
        InputError: it is of another config.
    """
    saved, wanted = content["model"], model.state_dict()
    state = {name: tensor for name, tensor in saved.items() if name in wanted or not _is_former_buffer(name)}
    differing = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    differing += [name for name in state if name not in wanted]
    if differing:
        raise InputError(
            f"{path} does not fit the config: {len(differing)} tensors differ, the first is {differing[0]}. Use the "
            "config that it was trained with."
        )
    model.load_state_dict(state)


def _is_former_buffer(name: str) -> bool:
    return any(buffer in name for buffer in FORMER_BUFFERS)
