"""Collects what the stages have left: every result.json and metrics.json. What cannot be used is named and left out."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError

from .checked import read_checked
from .full_sizes import full_size
from .measured import Measured, method_of
from .methods import in_order
from .protocol import settings_of
from .stamp import read_stamp


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

    ``methods``: in the order of the rows. ``files``: what was read, damaged ones too. ``left_out``: sentences, each
    naming a file and its reason.
    """

    output: Path
    methods: list[str]
    measured: list[Measured] = field(default_factory=list)
    pretraining: dict[str, Pretraining] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def results(self, sources: Sequence[str]) -> list[Measured]:
        """Those of a table's row, by their result files."""
        by_source = {str(m.folder / "result.json"): m for m in self.measured}
        return [by_source[source] for source in sources]

    def are_of_one_layer(self, sources: Sequence[str]) -> bool:
        """Whether all of these are of single layers whose comparison is there, too: they lie in its folder."""
        comparing = [m for m in self.measured if "figures_by_layer" in m.result["details"]]
        compared = {m.folder / layer for m in comparing for layer in m.result["details"]["figures_by_layer"]}
        return all(m.folder in compared for m in self.results(sources))

    def leave_out(self, sentence: str) -> None:
        """Say once that something was left out, and why."""
        if sentence not in self.left_out:
            self.left_out.append(sentence)


@dataclass(frozen=True)
class RunFolder:
    """A folder with results somewhere below; ``method`` None: each result says itself which method it is of."""

    path: Path
    method: str | None = None


def gather(output: Path, methods: list[str]) -> Gathered:
    """What ``clsa-reproduce`` left of ``methods`` (pretrained ones and baselines) in ``output/<method>``."""
    found = Gathered(output, methods)
    for method in methods:
        _read_results(found, RunFolder(output / method, method), named=False)
        _read_curve(found, method, output / method / "pretrain" / "metrics.json")
    _leave_out_strangers(found)
    return found


def gather_folders(folders: Sequence[RunFolder], output: Path) -> Gathered:
    """Every result.json below ``folders``, whoever made it; the curves of pretraining where one lies beside.

    Raises:
        InputError: a folder that is not there; one NAME for results that name several methods themselves.
    """
    found = Gathered(output, [])
    for folder in folders:
        if not folder.path.is_dir():
            raise InputError(f"{folder.path} is not a folder. Give folders with result.json files somewhere below.")
        _read_results(found, folder, named=folder.method is not None)
    _refuse_mixed_names(found.measured)
    found.methods = in_order(m.method for m in found.measured)
    for m in found.measured:
        checkpoint = (m.result["weights"].get("source") or {}).get("file")
        if checkpoint and m.method not in found.pretraining:
            _read_curve(found, m.method, Path(checkpoint).parent / "metrics.json")
    _leave_out_strangers(found)
    return found


def _read_results(found: Gathered, folder: RunFolder, named: bool) -> None:
    for path in sorted(folder.path.rglob("result.json")):
        if path in found.files:
            continue
        found.files.append(path)
        try:
            result = read_checked(path)
            method = folder.method or method_of(result)
            if method is None:
                raise InputError(
                    f"{path}: neither the result nor its weights' manifest names a method. Name it: NAME={path.parent}"
                )
        except InputError as error:
            found.left_out.append(str(error))
            continue
        found.measured.append(Measured(method, path.parent, result, named))


def _refuse_mixed_names(measured: Sequence[Measured]) -> None:
    """A NAME says that all its results are one method's: what names itself otherwise must not enter its mean."""
    of_name: dict[str, dict[str, list[Path]]] = {}
    for m in measured:
        if m.named and (own := method_of(m.result)):
            of_name.setdefault(m.method, {}).setdefault(own, []).append(m.folder)
    for name, methods in of_name.items():
        if len(methods) > 1:
            listed = "; ".join(f"{own} ({len(folders)}, as in {folders[0]})" for own, folders in methods.items())
            raise InputError(
                f"{name}=DIR takes all results below DIR for one method, but they name {len(methods)} methods "
                f"themselves: {listed}. Give each method's own folder, METHOD=DIR/METHOD, or DIR without a name."
            )


def _read_curve(found: Gathered, method: str, metrics: Path) -> None:
    if metrics.is_file():
        found.files.append(metrics)
        lines = _read_lines(metrics, found.left_out)
        seconds = (read_stamp(metrics.parent) or {}).get("seconds")
        found.pretraining[method] = Pretraining(method, lines, seconds)


def _leave_out_strangers(found: Gathered) -> None:
    """Drop results of other data under the same name, and evaluations that are there twice."""
    common = _common_data(found.measured)
    kept: list[Measured] = []
    seen: dict[tuple, Path] = {}
    for m in found.measured:
        path, once, (data, others) = m.folder / "result.json", _identity(m), common[_name(m)]
        if m.data != data:
            found.left_out.append(
                f"{path}: its {m.result['dataset'].get('name')} has other images ({_images(m.data)}) than that of "
                f"{others} other results of {m.result['protocol']} ({_images(data)}). Report it by itself."
            )
        elif once in seen:
            found.left_out.append(
                f"{path}: same method, weights, protocol, settings, seed and trial as {seen[once]}, which is counted "
                "once."
            )
        else:
            seen[once] = path
            kept.append(m)
    found.measured = kept


def _common_data(measured: Sequence[Measured]) -> dict[tuple, tuple[str, int]]:
    """Name -> the images that its results are compared on, and how many these are.

    The full data set where one result was measured on it, however many were on a part; else what most have.
    """
    by_name: dict[tuple, Counter[str]] = {}
    for m in measured:
        by_name.setdefault(_name(m), Counter())[m.data] += 1

    def full(name: tuple[str, str, str | None], data: str) -> bool:
        fingerprint, world = json.loads(data)
        size = full_size(name[2] or "", name[0])
        return world is None and size is not None and (fingerprint or {}).get("images") == size

    return {
        name: max(counts.most_common(), key=lambda item, name=name: (full(name, item[0]), item[1]))
        for name, counts in by_name.items()
    }


def _name(m: Measured) -> tuple[str, str, str | None]:
    return m.result["protocol"], m.result["engine"], m.result["dataset"].get("name")


def _identity(m: Measured) -> tuple:
    """Equal for two results that measured the same thing, so that one of them must not count."""
    result = m.result
    details = json.dumps([result["details"].get(key) for key in ("protocol_check", "flavours")])
    settings = (settings_of(m), m.reestimated, result["metric_flavour"], details)
    return (*_name(m), m.method, m.weights, *settings, result["seed"], result["trial"])


def _images(data: str) -> str:
    fingerprint, world = json.loads(data)
    images = f"{(fingerprint or {}).get('images', 'unknown number of')} images"
    return f"{images}, miniature world of seed {world.get('seed')}" if world else f"{images}, real"


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
