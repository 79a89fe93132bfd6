"""``clsa-classify linear``: the linear layer of :mod:`.linear` on the common road of :mod:`.probe`."""

from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from . import linear
from .config import get_cfg
from .features import choose_device
from .labels import LabelledSplit
from .probe import Probe
from .svm import normalise_rows


def check(cfg: CfgNode) -> None:
    linear.check_settings(cfg.LINEAR)


def protocol(cfg: CfgNode) -> str:
    """``voc07-linear-paper``, or ``voc07-linear-custom`` with any other setting."""
    return "voc07-linear-paper" if cfg.LINEAR == get_cfg().LINEAR else "voc07-linear-custom"


def engine(cfg: CfgNode) -> str:
    return "torch"


def fit(
    cfg: CfgNode, train_features: np.ndarray, test_features: np.ndarray, train: LabelledSplit
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores (N_test, K) and what a result says of the linear layer."""
    normalise = cfg.LINEAR.L2_NORMALISE
    if normalise:
        train_features, test_features = normalise_rows(train_features), normalise_rows(test_features)
    scores, losses = linear.train_and_score(
        train_features, train.labels, test_features, cfg.LINEAR, cfg.SEED, choose_device(cfg.FEATURES.DEVICE)
    )
    return scores, {
        "normalisation": "row / (L2 norm + 1e-5)" if normalise else "none",
        "loss": f"sigmoid cross entropy, {cfg.LINEAR.LOSS_REDUCTION} over images and classes",
        "loss_first_epoch": losses[0],
        "loss_last_epoch": losses[-1],
    }


LINEAR = Probe("linear", check, protocol, engine, fit)
