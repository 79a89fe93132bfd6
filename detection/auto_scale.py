"""The linear scaling rule: the protocol's number of images with another number of images an iteration.

Goyal et al. (Accurate, Large Minibatch SGD, 2017), as detection protocols use it: with b images an iteration instead of
B the learning rate is multiplied by b/B, and everything that counts iterations by B/b. What it does not keep is the
number of images that a synchronised batch norm sees; numbers of different b are not comparable, and the protocol's id
says so.

detectron2's ``SOLVER.REFERENCE_WORLD_SIZE`` is another thing: it changes ``IMS_PER_BATCH`` itself, to the number of
GPUs that happen to be there, so that the config no longer says what was run. The two are not mixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .config import value_of
from .foreign_keys import load_detector_config

#: Keys that count iterations. A period of 0 stays 0.
ITERATIONS = (
    "SOLVER.MAX_ITER",
    "SOLVER.STEPS",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
    "TEST.PRECISE_BN.NUM_ITER",
)


@dataclass(frozen=True)
class Scaled:
    """A key, its value in the config and its new one; ``given``: on the command line, which the rule leaves alone."""

    key: str
    old: Any
    new: Any
    given: bool = False


def auto_scale(defaults: CfgNode, config_file: str, overrides: Sequence[str]) -> list[Scaled]:
    """Scale a schedule from the ``SOLVER.IMS_PER_BATCH`` that the file is written for to the one on the command line.

    Args:
        defaults: the engine's tree.
        overrides: KEY VALUE words; a key that is given there keeps the given value.

    Returns:
        The batch size first, then the learning rate and every key that counts iterations.

    Raises:
        InputError: no other batch size is given; ``REFERENCE_WORLD_SIZE`` would scale a second time.
    """
    file = load_detector_config(defaults, config_file)
    cfg = load_detector_config(defaults, config_file, overrides)
    old_batch, batch = file.SOLVER.IMS_PER_BATCH, cfg.SOLVER.IMS_PER_BATCH
    if cfg.SOLVER.REFERENCE_WORLD_SIZE:
        raise InputError(
            f"--auto-scale: SOLVER.REFERENCE_WORLD_SIZE is {cfg.SOLVER.REFERENCE_WORLD_SIZE}, with which detectron2 "
            "would scale once more, to the number of GPUs. Set it to 0, or leave --auto-scale out."
        )
    if batch == old_batch or batch < 1:
        raise InputError(
            f"--auto-scale: SOLVER.IMS_PER_BATCH is {batch}, and the schedule of {Path(config_file).name} is written "
            f"for {old_batch}. Give another one on the command line, for instance SOLVER.IMS_PER_BATCH "
            f"{max(1, old_batch // 2)}."
        )
    given = set(overrides[0::2])
    scaled = [Scaled("SOLVER.IMS_PER_BATCH", old_batch, batch, given=True)]
    for key in ("SOLVER.BASE_LR", *ITERATIONS):
        old = value_of(file, key)
        new = value_of(cfg, key) if key in given else scale(key, old, old_batch, batch)
        scaled.append(Scaled(key, old, new, key in given))
    return scaled


def scale(key: str, value: Any, old_batch: int, batch: int) -> Any:
    """One value by the rule; iterations are rounded to whole ones, and at least 1 remains of what was not 0."""
    if key == "SOLVER.BASE_LR":
        return float(f"{value * batch / old_batch:.10g}")  # without the last bits' noise: it is printed and compared
    if isinstance(value, (tuple, list)):
        return tuple(scale(key, step, old_batch, batch) for step in value)
    return max(1, round(value * old_batch / batch)) if value else value


def as_overrides(scaled: Sequence[Scaled]) -> list[str]:
    """KEY VALUE words of what the rule has set, to be put before the user's own."""
    return [word for s in scaled if not s.given for word in (s.key, str(s.new))]


def table(scaled: Sequence[Scaled]) -> str:
    """Old and new side by side, for the terminal."""
    rows = [(s.key, str(s.old), f"{s.new}{' (given)' if s.given else ''}") for s in scaled]
    rows.insert(0, ("--auto-scale", "config", "now"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
