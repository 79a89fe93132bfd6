"""What training says while it runs: ``metrics.json`` (one JSON line for each logged step) and TensorBoard.

Losses and accuracies stay on the device until a step is logged, so that no step waits for them; a logged line holds
their means over the steps since the last line, over all processes. A loss that is not finite is found then, or before
the next checkpoint, and its own step is named.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.run_files import atomic_write

from .methods import Step

#: The measured part of a line. loss_ddm is what LOSS.STRONG says; it and ddm_target_entropy are null where undefined.
MEASURED = ("loss", "loss_contrastive", "loss_ddm", "acc1_bank", "acc1_batch", "ddm_target_entropy")


class NonFiniteLoss(InputError):
    """A loss became infinite or not a number. The message names the step and the parts."""


class StepWindow:
    """The steps since the last logged one: their losses, still on the device, and their times."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.restart()

    def images_arrived(self) -> None:
        """The step under way has its images: what passed since the step before was waiting."""
        self.data_seconds += time.perf_counter() - self.step_ended

    def add(self, iteration: int, loss: Tensor, step: Step) -> None:
        """Note a step that has ended."""
        values = (loss, step.contrastive, step.strong, step.acc1_bank, step.acc1_batch, step.ddm_target_entropy)
        measured = {name: value for name, value in zip(MEASURED, values, strict=True) if value is not None}
        self.names = list(measured)
        self.iterations.append(iteration)
        self.values.append(torch.stack([value.detach() for value in measured.values()]))
        self.step_ended = time.perf_counter()

    def check_finite(self) -> Tensor | None:
        """The steps' values, float64 steps x names on the CPU, means over all processes; None if there is no step.

        Raises:
            NonFiniteLoss: for the first step with a value that is not finite.
        """
        if not self.values:
            return None
        table = self.process.mean(torch.stack(self.values).double()).cpu()
        for iteration, row in zip(self.iterations, table.tolist(), strict=True):
            if not all(map(math.isfinite, row)):
                parts = ", ".join(f"{name} {value:g}" for name, value in zip(self.names, row, strict=True))
                raise NonFiniteLoss(f"the loss is not finite at step {iteration}: {parts}.")
        return table

    def close(self, images_per_step: int, **settings: float | None) -> dict[str, float | None]:
        """A line for ``metrics.json``: the window's means, ``settings``, throughput; the next window starts."""
        table = self.check_finite()
        means = dict(zip(self.names, table.mean(dim=0).tolist(), strict=True))
        seconds, steps = time.perf_counter() - self.started, len(self.iterations)
        record = {name: means.get(name) for name in MEASURED} | settings
        record["images_per_second"] = round(images_per_step * steps / seconds, 2)
        record["data_seconds"] = round(self.data_seconds / steps, 5)  # of a step, waiting for images
        record["step_seconds"] = round(seconds / steps, 5)  # of a step, everything
        self.restart()
        return record

    def restart(self) -> None:
        """The next window starts now, what has passed since :meth:`close` belongs to none."""
        self.iterations: list[int] = []
        self.values: list[Tensor] = []
        self.names: list[str] = []
        self.data_seconds = 0.0
        self.started = self.step_ended = time.perf_counter()


class MetricsFiles:
    """Appends to ``output_dir/metrics.json`` and to TensorBoard's files in ``output_dir/tensorboard``."""

    def __init__(self, output_dir: str | Path, start: int) -> None:
        """What earlier runs wrote of steps after ``start`` is dropped: these steps are done again."""
        # Imported here: it takes seconds, and only the main process of a training run needs it.
        from torch.utils.tensorboard import SummaryWriter

        path = Path(output_dir) / "metrics.json"
        drop_lines_after(path, start)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open as long as the run)
        self._tensorboard = SummaryWriter(Path(output_dir) / "tensorboard", purge_step=start + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """One line; it is in the file when this returns. Needs the key ``iteration``; None where undefined."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in record.items():
            if value is not None and name != "iteration":
                self._tensorboard.add_scalar(name, value, record["iteration"])

    def close(self) -> None:
        self._file.close()
        self._tensorboard.close()


def drop_lines_after(path: Path, iteration: int) -> None:
    """Keep the lines of ``metrics.json`` up to ``iteration``; a line that a killed process left unfinished goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["iteration"] <= iteration:
            kept.append(line + "\n")
    with atomic_write(path, "w") as file:
        file.writelines(kept)


def describe(record: Mapping[str, Any], max_iter: int) -> str:
    """A line of metrics as a sentence for the log, with the time that is left."""
    minutes, seconds = divmod(round((max_iter - record["iteration"]) * record["step_seconds"]), 60)
    knn = f" knn {record['knn_top1']:.1f}%" if "knn_top1" in record else ""
    ddm = "" if record["loss_ddm"] is None else f" ddm {record['loss_ddm']:.4f} (beta {record['beta']:.2f})"
    return (
        f"step {record['iteration']}/{max_iter} loss {record['loss']:.4f}"
        f" contrastive {record['loss_contrastive']:.4f}{ddm} acc1 bank {record['acc1_bank']:.1f}%"
        f" batch {record['acc1_batch']:.1f}%{knn} lr {record['lr']:.4g} {record['images_per_second']:.0f} images/s"
        f" left {minutes}:{seconds:02d}"
    )
