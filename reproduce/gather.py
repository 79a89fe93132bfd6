"""Collects what the stages have left: every result.json and metrics.json of the methods. What is damaged is named."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.configs.run_files import read_result

from .plan import REESTIMATED
from .stamp import read_stamp

#: Fields of a result, and of a line of metrics.json, that the report computes with.
RESULT_FIELDS = {"values": dict, "protocol": str, "metric_flavour": str, "engine": str, "dataset": dict, "stage": str}


@dataclass(frozen=True)
class Measured:
    """One evaluation. ``reestimated`` is True where BatchNorm's statistics were re-estimated for a probe."""

    method: str
    folder: Path
    result: dict[str, Any]

    @property
    def stage(self) -> str:
        """``"detection"`` or ``"classification"``."""
        return self.result["stage"]

    @property
    def reestimated(self) -> bool:
        return self.folder.name.endswith(REESTIMATED)


@dataclass(frozen=True)
class Pretraining:
    """The curve of a method: the lines of metrics.json, in order of iteration; ``seconds`` None if not recorded."""

    method: str
    lines: list[dict[str, Any]]
    seconds: float | None

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Iterations and values of ``key``, without the lines where it is null, absent or not finite."""
        points = [(line["iteration"], line.get(key)) for line in self.lines]
        points = [(x, y) for x, y in points if isinstance(y, (int, float)) and math.isfinite(y)]
        return [x for x, _ in points], [y for _, y in points]


@dataclass
class Gathered:
    """Everything that a report is made from.

    ``files``: what was read, damaged ones too. ``left_out``: sentences, each naming a file and its reason.
    """

    output: Path
    methods: list[str]
    measured: list[Measured] = field(default_factory=list)
    pretraining: dict[str, Pretraining] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def gather(output: Path, methods: list[str]) -> Gathered:
    """Read the results of ``methods`` (pretrained ones and baselines, in the order of the rows) below ``output``."""
    found = Gathered(output, methods)
    for method in methods:
        for path in sorted((output / method).glob("*/*/result.json")):
            found.files.append(path)
            try:
                found.measured.append(Measured(method, path.parent, _checked(path)))
            except InputError as error:
                found.left_out.append(str(error))
        metrics = output / method / "pretrain" / "metrics.json"
        if metrics.is_file():
            found.files.append(metrics)
            lines = _read_lines(metrics, found.left_out)
            seconds = (read_stamp(metrics.parent) or {}).get("seconds")
            found.pretraining[method] = Pretraining(method, lines, seconds)
    return found


def _checked(path: Path) -> dict[str, Any]:
    result = read_result(path)
    for name, kind in RESULT_FIELDS.items():
        if not isinstance(result[name], kind):
            raise InputError(
                f"{path}: {name} is {result[name]!r}, it must be a {kind.__name__}. Run the evaluation again."
            )
    for name, value in result["values"].items():
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 100):
            raise InputError(
                f"{path}: {name} is {value!r}, it must be a percentage in 0..100. Run the evaluation again."
            )
    return result


def _read_lines(path: Path, left_out: list[str]) -> list[dict[str, Any]]:
    lines, damaged = [], 0
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            int(line["iteration"])
        except (ValueError, KeyError, TypeError):
            damaged += bool(text.strip())
            continue
        lines.append(line)
    if damaged:
        left_out.append(
            f"{path}: {damaged} of its lines are no JSON with an iteration and were left out of the curves."
        )
    return sorted(lines, key=lambda line: line["iteration"])
