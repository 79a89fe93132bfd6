"""Numbers of a config that mean nothing below a limit, refused before a run, the same for both engines.

Beneath it either engine would stop with a traceback, or, at a ``SOLVER.MAX_ITER`` of 0, evaluate a detector that has
learned nothing.
"""

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .config import value_of

#: Key -> the least value, for every run.
LEAST = {"DATALOADER.NUM_WORKERS": 0}

#: The same, for a run that trains.
LEAST_IN_TRAINING = {"SOLVER.MAX_ITER": 1, "SOLVER.IMS_PER_BATCH": 1, "SOLVER.CHECKPOINT_PERIOD": 1}


def check_numbers(cfg: CfgNode, trains: bool) -> None:
    """Raise an ``InputError`` for the first number that is below its limit."""
    limits = LEAST | (LEAST_IN_TRAINING if trains else {})
    if trains and cfg.TEST.PRECISE_BN.ENABLED:
        limits["TEST.PRECISE_BN.NUM_ITER"] = 1
    for key, least in limits.items():
        if value_of(cfg, key) < least:
            hint = " To save at the end alone, give it SOLVER.MAX_ITER's value." if key.endswith("_PERIOD") else ""
            raise InputError(f"{key} is {value_of(cfg, key)}: set it to {least} or more.{hint}")
