"""A run is resumed with the config that it was started with, or not at all; a detector is evaluated as what it is.

Half a schedule under one config and half under another is no protocol, and a detector that was trained otherwise than
the evaluation's config says would stand under a protocol's name that is not its own; nothing in the result would show
either.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import plain

from .neutral_keys import NEUTRAL_KEYS, is_for_evaluation
from .start_weights import PLACEHOLDER

#: So many differences are written out.
SHOWN = 20


def require_same_config(cfg: CfgNode, before: Mapping[str, Any]) -> None:
    """Compare ``cfg`` with the config of the run that is to be resumed, or whose result is to stand.

    Free are the keys that do not change training (``NEUTRAL_KEYS``: folders, devices, workers, periods of saving and
    evaluating; the seed, too, for the checkpoint's is kept) and a longer ``SOLVER.MAX_ITER``: up to the old end the
    learning rate and the order of the data depend on ``STEPS`` and the seed alone, so a prolonged run is the one that
    would have been longer from the start. ``MODEL.WEIGHTS`` is not read again and may be left out, where the
    config file says "See Instructions". A key that only one of the two versions of the program has is not compared.

    Args:
        before: the run's own, as plain containers: of its checkpoint or of its result.

    Raises:
        InputError: with the keys that differ, old and new.
    """
    if differing := _differing(cfg, before, _is_free):
        raise InputError(
            f"--resume: the run in {cfg.OUTPUT_DIR} was started with another config:{differing}\n"
            "Resume with the values before, or begin anew in another OUTPUT_DIR."
        )


def require_same_training(cfg: CfgNode, before: Mapping[str, Any], detector: str | os.PathLike) -> None:
    """Compare ``cfg``, under which a detector is only evaluated, with the config that it was trained with.

    Free are the keys that do not change training, and those that only an evaluation reads (``is_for_evaluation``).

    Raises:
        InputError: with the keys that differ, old and new.
    """
    free = NEUTRAL_KEYS | {key for key in _flat(before) if is_for_evaluation(key)}
    if differing := _differing(cfg, before, lambda key, old, new: key in free):
        raise InputError(
            f"--eval-only: {detector} was trained with another config:{differing}\n"
            "Evaluate it with the values before: the config.yaml beside it has them."
        )


def config_beside(output_dir: str | os.PathLike) -> dict[str, Any]:
    """``OUTPUT_DIR/config.yaml``, for a checkpoint that does not hold its config.

    Raises:
        InputError: it is missing or not readable.
    """
    path = Path(output_dir) / "config.yaml"
    if not path.is_file():
        raise InputError(
            f"--resume: {output_dir} has a checkpoint and no config.yaml, so nobody knows what it was trained with."
            " Put the run's config.yaml back, or take another OUTPUT_DIR."
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--resume: {path} is not a readable config: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"--resume: {path} is not a readable config: it holds a {type(config).__name__}")
    return config


def _differing(cfg: CfgNode, before: Mapping[str, Any], is_free: Callable[[str, dict, dict], bool]) -> str:
    """The keys that differ, one a line, each with both values; empty if there are none."""
    old, new = _flat(before), _flat(plain(cfg))
    differing = [key for key in old if key in new and old[key] != new[key] and not is_free(key, old, new)]
    shown = "".join(f"\n  {key}: {old[key]!r} before, {new[key]!r} now" for key in differing[:SHOWN])
    return shown + (f"\n  and {len(differing) - SHOWN} more" if len(differing) > SHOWN else "")


def _is_free(key: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    if key == "MODEL.WEIGHTS":
        return new[key] == PLACEHOLDER  # not "", which asks for a random start
    if key == "SOLVER.MAX_ITER":
        # a warm-up that the old end had cut short would have been another one
        return new[key] > old[key] >= new["SOLVER.WARMUP_ITERS"]
    return key in NEUTRAL_KEYS


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
