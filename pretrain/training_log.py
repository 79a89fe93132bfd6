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

import torch
from torch import Tensor

from clsa.configs.command import InputError
from clsa.configs.run_files import atomic_write

from .distributed import Process, mean_over_processes


class NonFiniteLoss(InputError):
    """A loss became infinite or not a number. The message names the step and the parts."""


class StepWindow:
    """The steps since the last logged one: their losses, still on the device, and their times."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._restart()

    def add(self, iteration: int, values: Mapping[str, Tensor], data_seconds: float) -> None:
        """Note a step: 0-d tensors by name (the same names at each step), and how long it waited for its images."""
        self.iterations.append(iteration)
        self.values.append(torch.stack([value.detach().float() for value in values.values()]))
        self.names = list(values)
        self.data_seconds += data_seconds

    def check_finite(self) -> Tensor:
        """The steps' values, steps x names on the CPU, meaned over all processes.

        Raises:
            NonFiniteLoss: for the first step with a value that is not finite.
        """
        table = mean_over_processes(torch.stack(self.values), self.process).cpu()
        for iteration, row in zip(self.iterations, table.tolist(), strict=True):
            if not all(map(math.isfinite, row)):
                parts = ", ".join(f"{name} {value:g}" for name, value in zip(self.names, row, strict=True))
                raise NonFiniteLoss(f"the loss is not finite at step {iteration}: {parts}.")
        return table

    def close(self, images_per_step: int) -> dict[str, float]:
        """Means over the window, with throughput over its wall time; the next window starts."""
        table = self.check_finite()
        seconds, steps = time.perf_counter() - self.started, len(self.iterations)
        means = dict(zip(self.names, table.double().mean(dim=0).tolist(), strict=True))
        means["images_per_second"] = images_per_step * steps / seconds
        means["data_seconds"] = self.data_seconds / steps
        means["step_seconds"] = seconds / steps
        self._restart()
        return means

    def _restart(self) -> None:
        self.iterations: list[int] = []
        self.values: list[Tensor] = []
        self.names: list[str] = []
        self.data_seconds = 0.0
        self.started = time.perf_counter()


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

    def write(self, record: Mapping[str, float | None]) -> None:
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
