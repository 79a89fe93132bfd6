"""Everything that training changes: put into a checkpoint, taken out of one."""

from typing import Any

import torch
from fvcore.common.config import CfgNode

from clsa.configs.processes import Process
from clsa.configs.run_files import plain

from .methods import MomentumContrast
from .sources import Source


class TrainingState:
    """The method's networks and queue, the optimizer of the query network, the loss scaler, the random states.

    The learning rate and beta are functions of the step (``schedules``), the order of the images and their views of the
    seed (``seeding``): they have no state.
    """

    def __init__(self, cfg: CfgNode, process: Process) -> None:
        torch.manual_seed(cfg.SEED)
        self.cfg, self.process = cfg, process
        self.method = MomentumContrast(cfg, process).to(process.device)
        if cfg.MODEL.CHANNELS_LAST:
            self.method = self.method.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.method.query.parameters(),
            lr=cfg.SOLVER.LR,
            momentum=cfg.SOLVER.MOMENTUM,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        )
        self.scaler = torch.amp.GradScaler(process.device.type, enabled=cfg.SOLVER.PRECISION == "float16")

    def checkpoint(self, iteration: int, source: Source) -> dict[str, Any]:
        """The content of a checkpoint after ``iteration`` steps (see ``checkpointing``); called by all processes."""
        epoch, epoch_step = divmod(iteration, len(source) // self.cfg.SOLVER.BATCH_SIZE)
        return {
            "method": self.cfg.METHOD,
            "query": self.method.query.state_dict(),
            "key": self.method.key.state_dict(),
            "queue": self.method.queue.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": self.process.gather(random_states()),
            "iteration": iteration,
            "epoch": epoch,
            "epoch_step": epoch_step,
            "images": len(source),
            "order_sha256": source.order_sha256,
            "processes": self.process.world_size,
            "config": plain(self.cfg),
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """The state that :meth:`checkpoint` described."""
        self.method.query.load_state_dict(checkpoint["query"])
        self.method.key.load_state_dict(checkpoint["key"])
        self.method.queue.load_state_dict(checkpoint["queue"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if checkpoint["scaler"]:  # it is empty where the precision was another: the scale starts anew
            self.scaler.load_state_dict(checkpoint["scaler"])
        of_process = checkpoint["rng"]
        states = of_process[self.process.rank % len(of_process)]
        torch.set_rng_state(states["cpu"])
        if states["cuda"] is not None and self.process.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.process.device)

    def weights_that_are_not_finite(self) -> list[str]:
        """Names of the query network's parameters that hold an infinity or a NaN."""
        return [name for name, weight in self.method.query.named_parameters() if not weight.isfinite().all()]


def random_states() -> dict[str, torch.Tensor | None]:
    """PyTorch's global generators, of the CPU and of this process's GPU. Training draws from no other global one."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None}
