"""``clsa-classify logistic``: the regressions of :mod:`.logistic` from three splits to a result."""

import os
import time

import numpy as np
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import start_log, write_config

from . import logistic
from .config import get_cfg
from .features import load_features
from .labels import LabelledSplit, joined_splits
from .layouts import layout_of, read_splits
from .outcome import Outcome, score_table, write_outcome
from .probe import check_features, data_prefix, departures, refuse_shared_images


def defaults() -> CfgNode:
    """The protocol's own images: shorter side 224, bicubic, centre crop 224."""
    cfg = get_cfg()
    cfg.FEATURES.TRANSFORM, cfg.FEATURES.INTERPOLATION = "center_crop", "bicubic"
    cfg.FEATURES.RESIZE = cfg.FEATURES.SIZE = 224
    return cfg


def run(
    cfg: CfgNode,
    weights: str | os.PathLike | None,
    data: str | os.PathLike,
    output: str | os.PathLike,
    cache: str | os.PathLike | None = None,
) -> Outcome:
    """Write config.yaml, log.txt, scores.npz and result.json."""
    started = time.perf_counter()
    check_features(cfg, weights)
    check_settings(cfg)
    names = (cfg.LOGISTIC.TRAIN_SPLIT, cfg.LOGISTIC.VAL_SPLIT, cfg.DATA.TEST_SPLIT)
    train, val, test = read_splits(data, cfg.DATA, names)
    for one, other in ((train, val), (train, test), (val, test)):
        refuse_shared_images(one, other)
    refuse_lone_classes(train)
    log = start_log(output)
    write_config(output, cfg)
    log.info(f"logistic regression, {len(train.paths)} {train.name} -> {len(val.paths)} {val.name} -> {test.name}")

    features = load_features(cfg.FEATURES, weights, (train, val, test), cfg.SEED, cache)
    layer, matrices = next(iter(features.matrices.items()))
    in_train, in_val, in_test = (np.asarray(matrix, dtype=np.float32) for matrix in matrices)
    fit = logistic.fit_and_score(
        in_train,
        train.labels,
        in_val,
        val.labels,
        in_test,
        max_iterations=cfg.LOGISTIC.MAX_ITERATIONS,
        jobs=cfg.LOGISTIC.JOBS,
    )
    outcome = Outcome(
        protocol=protocol(cfg, data_prefix(layout_of(data, cfg.DATA), train.classes)),
        engine="scikit-learn",
        scores=fit.scores,
        train=joined_splits(train, val),
        test=test,
        weights=features.weights,
        details={
            **features.details,
            "layer": layer,
            "normalisation": "none",
            "difficult": "absent, in training and in test",
            "costs": list(logistic.COSTS),
            "best_cost": dict.fromkeys(train.classes, fit.cost),
            "best_cost_at_grid_edge": fit.cost in (logistic.COSTS[0], logistic.COSTS[-1]),
            "cost_is": "ssl-transfer's C, which is half of that of scikit-learn's two-class regression",
            "val_mAP_11_point": [round(100 * value, 4) for value in fit.validation],
            "fits": fit.fits,
            "not_converged": fit.not_converged,
        },
        wall_seconds=time.perf_counter() - started,
        difficult="absent",
        headline="mAP 11-point",
    )
    write_outcome(output, data, cfg, outcome)
    if fit.not_converged:
        log.warning(
            f"{fit.not_converged} of {fit.fits} fits stopped at LOGISTIC.MAX_ITERATIONS {cfg.LOGISTIC.MAX_ITERATIONS}"
        )
    log.info("\n" + score_table(outcome))
    return outcome


def check_settings(cfg: CfgNode) -> None:
    """Refuse impossible values of the ``LOGISTIC`` node, more than one layer, and chance."""
    if cfg.LOGISTIC.MAX_ITERATIONS < 1:
        raise InputError(f"LOGISTIC.MAX_ITERATIONS must be at least 1, got {cfg.LOGISTIC.MAX_ITERATIONS}")
    if len(cfg.FEATURES.LAYERS) != 1:
        raise InputError(f"FEATURES.LAYERS {tuple(cfg.FEATURES.LAYERS)}: the logistic regression takes one layer")
    if cfg.FEATURES.KIND == "chance":
        raise InputError("chance has no features to train on. Give backbone, colour_histogram or hog.")


def refuse_lone_classes(train: LabelledSplit) -> None:
    """A class without a positive, or without another image, has no regression."""
    for name, column in zip(train.classes, train.labels.T, strict=True):
        if len(set((column == 1).tolist())) == 1:
            raise InputError(
                f"class {name}: of the {len(column)} images of {train.name}, {int((column == 1).sum())} are positive. "
                "Use a larger split."
            )


def protocol(cfg: CfgNode, prefix: str = "voc07") -> str:
    """``voc07-logistic``, with what departs from it."""
    standard = defaults()
    same = all(value == standard.LOGISTIC[key] for key, value in cfg.LOGISTIC.items() if key != "JOBS")
    return f"{prefix}-logistic" + ("" if same else "-custom") + departures(cfg, standard)
