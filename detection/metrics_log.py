"""``metrics.json``, one JSON line a log step, and the same numbers for TensorBoard."""

import contextlib
import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from clsa.configs.processes import Process
from clsa.configs.run_files import atomic_write


class Window:
    """Numbers of the iterations since the last log line."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._entries: list[dict[str, float]] = []

    def add(self, numbers: dict[str, float]) -> None:
        """The numbers of one iteration; the names are the same in every one."""
        self._entries.append(numbers)

    def mean_over_processes(self) -> dict[str, float]:
        """Means over the window and, on the main process, over all processes; empties the window."""
        names = list(self._entries[0])
        mean = [statistics.fmean(entry[name] for entry in self._entries) for name in names]
        self._entries.clear()
        shares = self._process.gather(mean) or [mean]
        return dict(zip(names, map(statistics.fmean, zip(*shares, strict=True)), strict=True))


class MetricsLog:
    """Appends to ``output_dir/metrics.json``; what an interrupted run logged from ``start`` on is dropped first."""

    def __init__(self, output_dir: str | os.PathLike, start: int):
        path = Path(output_dir) / "metrics.json"
        _keep_before(path, start)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close())
        self._tensorboard = SummaryWriter(str(output_dir), purge_step=start)

    def write(self, iteration: int, numbers: dict[str, float]) -> None:
        """One line ``{"iteration": iteration, **numbers}``, flushed."""
        self._file.write(json.dumps({"iteration": iteration, **numbers}) + "\n")
        self._file.flush()
        for name, value in numbers.items():
            self._tensorboard.add_scalar(name, value, iteration)

    def write_evaluation(self, iteration: int, values: dict[str, float | None]) -> None:
        """Average precisions, for TensorBoard alone: ``result.json`` holds the final ones."""
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._tensorboard.add_scalar(name, value, iteration)
        self._tensorboard.flush()

    def close(self) -> None:
        """Close both."""
        self._file.close()
        self._tensorboard.close()


def _keep_before(path: Path, start: int) -> None:
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry: Any = None
        with contextlib.suppress(ValueError):  # a line that a kill cut off
            entry = json.loads(line)
        if isinstance(entry, dict) and entry.get("iteration", start) < start:
            kept.append(line + "\n")
    with atomic_write(path, "w") as file:
        file.writelines(kept)
