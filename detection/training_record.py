"""What a detector was trained with, kept in each of its checkpoints, and what a result says of it.

Whatever lies beside a checkpoint may be of another run, and the config of an evaluation describes the evaluation.
"""

import re
from collections.abc import Mapping
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.loading import flat_keys
from clsa.configs.run_files import plain

from .config import value_of
from .detection_result import training_data
from .neutral_keys import NEUTRAL_KEYS, is_for_evaluation
from .start_weights import PLACEHOLDER

NOT_RECORDED = "not recorded in the checkpoint: that the detector was trained as the config says is the config's word"


def training_record(cfg: CfgNode, protocol: str, trial: int) -> dict[str, Any]:
    """Of the run that trains under ``cfg``: ``RECORD_KEYS``, containers and scalars only."""
    return {
        "config": plain(cfg),
        "protocol": protocol,
        "trial": trial,
        "train_datasets": training_data(cfg),
    }


def result_fields(
    cfg: CfgNode, protocol: str, trial: int, checkpoint: Mapping[str, Any], own_folder: bool
) -> dict[str, Any]:
    """What the result of an evaluation of ``checkpoint`` says of the training.

    Args:
        cfg, protocol, trial: of the evaluation; ``cfg`` agrees with the checkpoint's config in all that changes
            training (:func:`~clsa.detection.resume_check.require_same_training`).
        checkpoint: the keys of a record, ``iteration`` (finished ones) and ``seconds`` (of training).
        own_folder: the result takes the place of that of the training run.

    Returns:
        ``protocol``, ``trial``, ``train_datasets``; ``seconds`` to add to those of the evaluation; ``details``.
    """
    known = checkpoint["config"] is not None
    recorded = checkpoint["train_datasets"]
    return {
        "protocol": evaluated_protocol(cfg, protocol, checkpoint) if known else f"{protocol} (training not recorded)",
        "trial": trial or checkpoint["trial"] or 0,
        "train_datasets": [{"name": name} for name in cfg.DATASETS.TRAIN] if recorded is None else recorded,
        "seconds": checkpoint["seconds"] if own_folder else 0.0,
        "details": {} if known else {"training": NOT_RECORDED},
    }


def evaluated_protocol(cfg: CfgNode, asked: str, checkpoint: Mapping[str, Any]) -> str:
    """The id of the protocol that a detector was trained under, with what its evaluation does otherwise.

    ``"voc-r50-c4-24k"`` stays that under ``--config-file OUTPUT_DIR/config.yaml``, and becomes
    ``"voc-r50-c4-24k TEST.DETECTIONS_PER_IMAGE=10"`` where the evaluation keeps ten; of a checkpoint on the way it is
    ``"voc-r50-c4-24k ITERATIONS=12000"``.

    Args:
        asked: id by the evaluation's config file and command line.
    """
    trained, config = checkpoint["protocol"] or asked, CfgNode(checkpoint["config"])
    (name, pairs), (asked_name, asked_pairs) = _split(trained), _split(asked)
    for key in _differing_in_evaluation(cfg, config):
        if key in asked_pairs:
            pairs[key] = asked_pairs[key]
        elif key in pairs and asked_name == name:
            del pairs[key]  # the run changed it, the evaluation is by the file
        else:
            pairs[key] = str(value_of(cfg, key))
    is_scaled = config.SOLVER.REFERENCE_WORLD_SIZE > 0  # to a number of GPUs that is not known here
    if checkpoint["iteration"] < config.SOLVER.MAX_ITER and not is_scaled:
        pairs["ITERATIONS"] = str(checkpoint["iteration"])
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(pairs.items()))])


def with_start_weights(cfg: CfgNode, weights_file: str | None) -> CfgNode:
    """``cfg`` of a resumed run, in which ``MODEL.WEIGHTS`` may have been left out, with what training began from."""
    if cfg.MODEL.WEIGHTS != PLACEHOLDER:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = weights_file or ""
    cfg.freeze()
    return cfg


def _split(protocol: str) -> tuple[str, dict[str, str]]:
    """``"voc SOLVER.STEPS=(9, 10) TEST.A=1"`` into its name and its pairs."""
    name, *pairs = re.split(r" (?=[A-Z][A-Z0-9_.]*=)", protocol)
    return name, dict(pair.split("=", 1) for pair in pairs)


def _differing_in_evaluation(cfg: CfgNode, config: CfgNode) -> list[str]:
    keys = [key for key in flat_keys(config) if is_for_evaluation(key) and key not in NEUTRAL_KEYS]
    known = set(flat_keys(cfg))
    return [key for key in keys if key in known and plain(value_of(cfg, key)) != plain(value_of(config, key))]
