"""A run is resumed with the config that it was started with, or not at all.

Half a schedule under one config and half under another is no protocol, and nothing in the result would show it.
"""

from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .neutral_keys import NEUTRAL_KEYS
from .start_weights import PLACEHOLDER

#: So many differences are written out.
SHOWN = 20


def require_same_config(cfg: CfgNode) -> None:
    """Compare ``cfg`` with the ``OUTPUT_DIR/config.yaml`` of the run that is to be resumed.

    Free are the keys that do not change training (``NEUTRAL_KEYS``: folders, devices, workers, periods of saving and
    evaluating; the seed, too, for the checkpoint's is kept) and a longer ``SOLVER.MAX_ITER``: up to the old end the
    learning rate and the order of the data depend on ``STEPS`` and the seed alone, so a prolonged run is the one that
    would have been longer from the start. ``MODEL.WEIGHTS`` is not read again and may be left out. A key that only one
    of the two versions of the program has is not compared.

    Raises:
        InputError: with the keys that differ, old and new; no config.yaml beside the checkpoint.
    """
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    if not path.is_file():
        raise InputError(
            f"--resume: {cfg.OUTPUT_DIR} has a checkpoint and no config.yaml, so nobody knows what it was trained with."
            " Put the run's config.yaml back, or take another OUTPUT_DIR."
        )
    try:
        old = _flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(f"--resume: {path} is not a readable config: {error}") from error
    new = _flat(yaml.safe_load(cfg.dump()))
    differing = [key for key in old if key in new and old[key] != new[key] and not _is_free(key, old, new)]
    if differing:
        shown = "".join(f"\n  {key}: {old[key]!r} before, {new[key]!r} now" for key in differing[:SHOWN])
        more = f"\n  and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise InputError(
            f"--resume: the run in {cfg.OUTPUT_DIR} was started with another config:{shown}{more}\n"
            "Resume with the values before, or begin anew in another OUTPUT_DIR."
        )


def _is_free(key: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    if key == "MODEL.WEIGHTS":
        return new[key] in ("", PLACEHOLDER)
    if key == "SOLVER.MAX_ITER":
        # a warm-up that the old end had cut short would have been another one
        return new[key] > old[key] >= new["SOLVER.WARMUP_ITERS"]
    return key in NEUTRAL_KEYS


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
