"""The files that a run leaves in its OUTPUT_DIR; each is written whole or not at all (``atomic_files``).

``config.yaml`` the resolved config; ``log.txt``; ``metrics.json`` one JSON line per logged step; ``result.json`` the
outcome of an evaluation, the only thing that a report reads.
"""

import contextlib
import datetime
import hashlib
import json
import logging
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.atomic_files import atomic_write
from clsa.configs.command import InputError

RESULT_SCHEMA_VERSION = 1

#: Every result.json has these keys, and no others: see :func:`write_result`.
RESULT_KEYS = (
    "schema_version",
    "stage",
    "protocol",
    "metric_flavour",
    "values",
    "per_class",
    "engine",
    "weights",
    "dataset",
    "seed",
    "trial",
    "wall_seconds",
    "versions",
    "git_commit",
    "created",
    "details",
    "config",
)


#: The installed packages whose version can move a number.
PACKAGES = ("clsa-transfer", "torch", "torchvision", "numpy", "scikit-learn", "pycocotools", "pillow", "detectron2")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity become null: JSON has no word for them."""
    with atomic_write(path, "w") as file:
        json.dump(_finite(value), file, indent=1, allow_nan=False)
        file.write("\n")


def write_config(output_dir: str | os.PathLike, cfg: CfgNode) -> None:
    """The whole resolved config into ``output_dir/config.yaml``."""
    with atomic_write(Path(output_dir) / "config.yaml", "w") as file:
        file.write(cfg.dump())


def write_result(
    output_dir: str | os.PathLike,
    *,
    stage: str,
    protocol: str,
    metric_flavour: str,
    values: Mapping[str, float | None],
    per_class: Mapping[str, Mapping[str, float | None]],
    engine: str,
    weights: Mapping[str, Any],
    dataset: Mapping[str, Any],
    seed: int,
    trial: int,
    wall_seconds: float,
    config: CfgNode,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``output_dir/result.json``, the outcome of one evaluation.

    Args:
        stage: ``"detection"`` or ``"classification"``.
        protocol: id of the protocol, for instance ``"voc07-svm"``: two results are comparable only within one id.
        metric_flavour: which definition of the metric, for instance ``"class mAP, envelope"`` or ``"COCO"``.
        values: metric name -> percent in [0, 100], or None where it is undefined (a size class without objects).
        per_class: metric name -> class name -> percent.
        engine: what computed it: ``"detectron2"``, ``"torchvision"``, ``"scikit-learn"``, ...
        weights: ``{"file": str, "sha256": str}`` plus what the weights' manifest says of their source; for a
            baseline without weights ``{"file": None, "sha256": None}``.
        dataset: ``{"name": str, "fingerprint": {"images": int, "file_list_sha256": str}, ...}``.
        seed, trial: of the evaluation's own randomness.
        wall_seconds: duration of the evaluation (for detection: with the fine-tuning).
        config: the resolved config.
        details: anything else worth keeping, by the stage's own keys.
    """
    path = Path(output_dir) / "result.json"
    result = {
        "schema_version": RESULT_SCHEMA_VERSION,
        "stage": stage,
        "protocol": protocol,
        "metric_flavour": metric_flavour,
        "values": dict(values),
        "per_class": {name: dict(by_class) for name, by_class in per_class.items()},
        "engine": engine,
        "weights": dict(weights),
        "dataset": dict(dataset),
        "seed": seed,
        "trial": trial,
        "wall_seconds": round(wall_seconds, 3),
        "versions": versions(),
        "git_commit": git_commit(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "details": dict(details or {}),
        "config": plain(config),
    }
    write_json(path, result)
    return path


def read_result(path: str | os.PathLike) -> dict[str, Any]:
    """Read a result.json; an ``InputError`` says what is wrong with a damaged one or one of another schema."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable result: {error}. Run the evaluation again.") from error
    if not isinstance(result, dict) or result.get("schema_version") != RESULT_SCHEMA_VERSION:
        got = result.get("schema_version") if isinstance(result, dict) else type(result).__name__
        raise InputError(f"{path} has result schema {got}, this version reads {RESULT_SCHEMA_VERSION}")
    missing = [key for key in RESULT_KEYS if key not in result]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}. Run the evaluation again.")
    return result


def sha256_of_file(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that move numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def git_commit() -> str | None:
    """Commit of the source tree that runs, with ``-dirty`` when it has changes; None outside a git checkout."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():  # an installed copy inside somebody else's repository is not ours
        return None
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None


def start_log(output_dir: str | os.PathLike, is_main: bool = True) -> logging.Logger:
    """The logger ``clsa``: to the terminal and, appended, to ``output_dir/log.txt``; only warnings where not main."""
    logger = logging.getLogger("clsa")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = False
    logger.setLevel(logging.INFO if is_main else logging.WARNING)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if is_main:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(Path(output_dir) / "log.txt", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%m-%d %H:%M:%S"))
        logger.addHandler(handler)
    return logger


def plain(value: Any) -> Any:
    """A ``CfgNode`` (or any nest of containers) as dicts, lists and scalars."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 0) == 0:
        value = value.item()  # NumPy scalar
    return None if isinstance(value, float) and not math.isfinite(value) else value
