"""``result.json`` of a detector, the same for both engines, and the id of the protocol that it was measured under."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import sha256_of_file, write_result
from clsa.datasets.fingerprint import dataset_record

from .dataset_dicts import data_root, find_source, image_files
from .neutral_keys import NEUTRAL_KEYS
from .protocols import compare


def protocol_id(config_file: str | os.PathLike, overrides: Sequence[str] = ()) -> str:
    """``"voc-r50-c4-24k"`` for ``voc_r50_c4_24k.yaml``; overrides that change the measurement are appended.

    ``["SOLVER.MAX_ITER", "100"]`` makes it ``"voc-r50-c4-24k SOLVER.MAX_ITER=100"``: a shortened run must never stand
    beside a whole one under the same name. Seed, weights, folders, device and periods of saving change nothing.
    """
    pairs = zip(overrides[0::2], overrides[1::2], strict=True)
    changed = sorted({key: value for key, value in pairs if key not in NEUTRAL_KEYS}.items())
    return " ".join([Path(config_file).stem.replace("_", "-"), *(f"{key}={value}" for key, value in changed)])


def evaluated_dataset(cfg: CfgNode) -> str:
    """The one name in ``DATASETS.TEST``: a result stands for one data set."""
    if len(cfg.DATASETS.TEST) != 1:
        raise InputError(
            f"DATASETS.TEST is {tuple(cfg.DATASETS.TEST)}: exactly one data set is needed, as result.json is for one. "
            "Evaluate others with --eval-only and another OUTPUT_DIR."
        )
    return cfg.DATASETS.TEST[0]


def check_datasets(cfg: CfgNode, needs_training_data: bool) -> None:
    """Stop before any work if the named data sets cannot be used.

    Raises:
        InputError: no training data named, a folder missing (see ``find_source``), another number of classes.
            An evaluation alone asks nothing of the training data.
    """
    if needs_training_data and not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty: name what to train on, such as \"('coco_2017_train',)\".")
    for name in (*(cfg.DATASETS.TRAIN if needs_training_data else ()), evaluated_dataset(cfg)):
        classes = len(find_source(name).class_names)
        if classes != cfg.MODEL.ROI_HEADS.NUM_CLASSES:
            raise InputError(
                f"MODEL.ROI_HEADS.NUM_CLASSES is {cfg.MODEL.ROI_HEADS.NUM_CLASSES}, but {name} has {classes} classes: "
                f"set it to {classes}."
            )


def training_data(cfg: CfgNode) -> list[dict[str, Any]]:
    """Name and fingerprint of each data set in ``DATASETS.TRAIN``."""
    return [_record(name) for name in cfg.DATASETS.TRAIN]


def weights_record(weights_path: str | os.PathLike | None) -> dict[str, Any]:
    """File, SHA-256 and the manifest's ``source`` and ``architecture``; ``{"file": None, "sha256": None}`` without.

    Raises:
        InputError: the file does not exist, or its manifest is damaged.
    """
    if not weights_path:
        return {"file": None, "sha256": None}
    if not Path(weights_path).is_file():
        raise InputError(f"MODEL.WEIGHTS {weights_path} does not exist. Convert a checkpoint with clsa-convert.")
    manifest_path = Path(f"{weights_path}.json")
    told = dict.fromkeys(("source", "architecture"))
    if manifest_path.is_file():
        try:
            manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
            told = {name: manifest.get(name) for name in told}
        except (ValueError, AttributeError) as error:
            raise InputError(
                f"{manifest_path} is not a readable manifest: {error}. Convert the weights again."
            ) from error
    return {"file": str(weights_path), "sha256": sha256_of_file(weights_path), **told}


def write_detection_result(
    output_dir: str | os.PathLike,
    cfg: CfgNode,
    protocol: str,
    engine: str,
    evaluation: Mapping[str, Any],
    verified: int,
    weights_path: str | os.PathLike | None,
    wall_seconds: float,
    *,
    train_datasets: Sequence[Mapping[str, Any]],
    seed: int | None = None,
    trial: int = 0,
    weights: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``output_dir/result.json`` of one evaluated detector.

    Args:
        cfg: the resolved config, of either engine.
        protocol: see :func:`protocol_id`.
        engine: ``"detectron2"`` or ``"torchvision"``.
        evaluation: ``{"flavour": "COCO", "values": {"bbox/AP": 12.3, ..., "segm/APs": None}, "per_class":
            {"bbox/AP": {"person": 20.1, ...}, ...}}``, in percent. Flavours: ``"VOC 11-point, IoU .50:.95"``,
            ``"VOC area, IoU .50:.95"``, ``"COCO"``; ``"details"``, if any, says which of several each prefix has.
        verified: how many tensors of the weights were found in the model, equal (0 for a random start).
        weights_path: backbone weights that training started from; None for a random start.
        wall_seconds: of the fine-tuning and the evaluation.
        train_datasets: :func:`training_data`, at the time of the training.
        seed: the seed that was used; by default ``cfg.SEED``.
        weights: the weights' record where the file itself is out of reach (a detector trained elsewhere); by default
            :func:`weights_record` of ``weights_path``.
        details: more to keep, for instance ``{"parameters": 33_000_000}``. Added are ``verified_tensors``,
            ``train_datasets`` and ``protocol_check``: the nearest named protocol and every difference to it, see
            :func:`~clsa.detection.protocols.compare`.

    Raises:
        InputError: ``DATASETS.TEST`` does not name exactly one data set.
    """
    return write_result(
        output_dir,
        stage="detection",
        protocol=protocol,
        metric_flavour=evaluation["flavour"],
        values=evaluation["values"],
        per_class=evaluation["per_class"],
        engine=engine,
        weights=_with_architecture(weights_record(weights_path) if weights is None else weights, cfg),
        dataset=_record(evaluated_dataset(cfg)),
        seed=cfg.SEED if seed is None else seed,
        trial=trial,
        wall_seconds=wall_seconds,
        config=cfg,
        details={
            "verified_tensors": verified,
            "train_datasets": list(train_datasets),
            "protocol_check": compare(cfg).as_record(),
            **evaluation.get("details", {}),
            **(details or {}),
        },
    )


def _with_architecture(weights: Mapping[str, Any], cfg: CfgNode) -> dict[str, Any]:
    """Where no manifest names the architecture (a random start has none), it is what the config built."""
    built = {"depth": cfg.MODEL.RESNETS.DEPTH, "width_per_group": cfg.MODEL.RESNETS.WIDTH_PER_GROUP}
    return {**weights, "architecture": weights.get("architecture") or built}


def _record(name: str) -> dict[str, Any]:
    return dataset_record(name, image_files(name), data_root())
