"""One probe from configuration to result: labels, features, scores, average precisions, files."""

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import start_log, write_config
from clsa.datasets.categories import VOC_CLASSES

from . import linear, svm
from .config import get_cfg
from .features import KINDS, choose_device, compute_features
from .labels import LabelledSplit, read_split
from .outcome import Outcome, score_table, write_outcome


def run_probe(
    probe: str, cfg: CfgNode, weights: str | os.PathLike | None, data: str | os.PathLike, output: str | os.PathLike
) -> Outcome:
    """Carry out ``probe`` (``"svm"`` or ``"linear"``) and write config.yaml, log.txt, scores.npz and result.json.

    Raises:
        InputError: weights where none are used or none where they are, and what the parts refuse.
    """
    started = time.perf_counter()
    check_request(probe, cfg, weights)
    train, test = (read_split(data, split, VOC_CLASSES) for split in (cfg.DATA.TRAIN_SPLIT, cfg.DATA.TEST_SPLIT))
    if shared := set(train.image_ids) & set(test.image_ids):
        raise InputError(
            f"{len(shared)} images, {min(shared)} among them, are in both {train.name} and {test.name}. Training "
            "images must not be tested on: choose other splits."
        )
    log = start_log(output)
    write_config(output, cfg)
    log.info(
        f"{probe} probe, features {cfg.FEATURES.KIND}, {len(train.paths)} images of {train.name} -> "
        f"{len(test.paths)} of {test.name}"
    )
    if cfg.FEATURES.KIND == "chance":
        scores, record, details = draw_by_chance(cfg, test)
    else:
        features = compute_features(cfg.FEATURES, weights, train, test, cfg.SEED)
        log.info(f"features {features.train.shape[1]}-d, {features.details['images_per_second']} images/s")
        fit = fit_svm if probe == "svm" else fit_linear
        scores, details = fit(cfg, features.train, features.test, train)
        record, details = features.weights, features.details | details

    outcome = Outcome(
        protocol=protocol_id(probe, cfg),
        engine="torch" if probe == "linear" or cfg.SVM.SOLVER == "exact" else "scikit-learn",
        scores=scores,
        train=train,
        test=test,
        weights=record,
        details={"difficult": "absent in training, left out of their class in test", **details},
        wall_seconds=time.perf_counter() - started,
    )
    write_outcome(output, data, cfg, outcome)
    if details.get("not_converged"):
        log.warning(
            f"{details['not_converged']} of {details['fits']} SVM fits did not converge: "
            f"{not_converged(details['solver'])}"
        )
    if outcome.undefined_classes:
        log.warning(f"no positive test image, left out of the means: {', '.join(outcome.undefined_classes)}")
    log.info("\n" + score_table(outcome))
    return outcome


def not_converged(solver: Mapping[str, Any]) -> str:
    """What that means, for the log."""
    if "iteration_limit" in solver:
        return f"they stopped at liblinear's limit of {solver['iteration_limit']} iterations, as the protocol has it"
    return "; ".join(solver["uncertified"][:5]) + (
        "; and more, see result.json" if len(solver["uncertified"]) > 5 else ""
    )


def check_request(probe: str, cfg: CfgNode, weights: str | os.PathLike | None) -> None:
    """Refuse what could only fail, or silently do something else, after minutes of work."""
    kind = cfg.FEATURES.KIND
    if kind not in KINDS:
        raise InputError(f"features {kind!r} are unknown. Give one of {', '.join(KINDS)}.")
    if kind == "backbone" and weights is None:
        raise InputError(
            f"features of a backbone need --weights W.pth (from clsa-convert --to torchvision). The baselines "
            f"--features {', '.join(KINDS[1:])} need none."
        )
    if kind != "backbone" and weights is not None:
        raise InputError(f"--features {kind} uses no weights, got --weights {weights}. Leave one of the two out.")
    if cfg.FEATURES.REESTIMATE_BN and kind != "backbone":
        raise InputError(f"FEATURES.REESTIMATE_BN True needs a backbone, got features {kind}")
    if probe == "svm":
        svm.grid_of(cfg.SVM.GRID)
        if cfg.SVM.SOLVER not in svm.SOLVERS:
            raise InputError(f"SVM.SOLVER {cfg.SVM.SOLVER!r} is unknown. Give one of {', '.join(svm.SOLVERS)}.")
        if not 0 < cfg.SVM.TOLERANCE < 1:
            raise InputError(f"SVM.TOLERANCE must lie between 0 and 1, got {cfg.SVM.TOLERANCE}. 1e-4 is a good one.")
        choose_device(cfg.SVM.DEVICE, key="SVM.DEVICE")
    else:
        linear.check_settings(cfg.LINEAR)


def protocol_id(probe: str, cfg: CfgNode) -> str:
    """``voc07-svm-<grid>`` or ``voc07-linear-paper``, with everything appended that departs from it."""
    defaults = get_cfg()
    if probe == "svm":
        name = f"voc07-svm-{cfg.SVM.GRID}" + svm_departure(cfg.SVM)
    else:
        name = "voc07-linear-paper" if cfg.LINEAR == defaults.LINEAR else "voc07-linear-custom"
    if any(cfg.FEATURES[key] != defaults.FEATURES[key] for key in ("TRANSFORM", "RESIZE", "SIZE")):
        name += f"-{cfg.FEATURES.TRANSFORM}-{cfg.FEATURES.SIZE}of{cfg.FEATURES.RESIZE}"
    if defaults.DATA != cfg.DATA:
        name += f"-{cfg.DATA.TRAIN_SPLIT}-{cfg.DATA.TEST_SPLIT}"
    return name


def svm_departure(cfg: CfgNode) -> str:
    """What the solver, and a tolerance other than the default, add to the protocol id; the benchmarks' own nothing."""
    if cfg.SOLVER == "exact" and cfg.TOLERANCE != get_cfg().SVM.TOLERANCE:
        return f"-exact{cfg.TOLERANCE:g}"
    return {"sklearn": "", "sklearn-primal": "-primal", "exact": "-exact"}[cfg.SOLVER]


def fit_svm(
    cfg: CfgNode, train_features: np.ndarray, test_features: np.ndarray, train: LabelledSplit
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores (N_test, K) and what a result says of the SVMs."""
    costs = svm.grid_of(cfg.SVM.GRID)
    dtype = np.float32 if cfg.SVM.SOLVER == "exact" else np.float64
    fitted = svm.fit_and_score(
        svm.normalise_rows(train_features, dtype),
        train.labels,
        svm.normalise_rows(test_features, dtype),
        train.classes,
        costs,
        cfg.SVM.SOLVER,
        cfg.SEED,
        cfg.SVM.JOBS,
        cfg.SVM.TOLERANCE,
        choose_device(cfg.SVM.DEVICE, key="SVM.DEVICE"),
    )
    edges = (min(costs), max(costs))
    return fitted.scores, {
        "normalisation": "row / (L2 norm + 1e-5)",
        "grid": {"name": cfg.SVM.GRID, "costs": list(costs)},
        "solver": {"name": cfg.SVM.SOLVER, **fitted.solver},
        "folds": f"{svm.FOLDS}, stratified, unshuffled; cost by scikit-learn's average precision",
        "best_cost": dict(zip(train.classes, fitted.costs, strict=True)),
        "cross_validated_ap": {
            name: round(100 * value, 4) for name, value in zip(train.classes, fitted.cross_validated, strict=True)
        },
        "best_cost_at_grid_edge": [n for n, c in zip(train.classes, fitted.costs, strict=True) if c in edges],
        "fits": fitted.fits,
        "not_converged": fitted.not_converged,
    }


def fit_linear(
    cfg: CfgNode, train_features: np.ndarray, test_features: np.ndarray, train: LabelledSplit
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores (N_test, K) and what a result says of the linear layer."""
    normalise = cfg.LINEAR.L2_NORMALISE
    if normalise:
        train_features, test_features = svm.normalise_rows(train_features), svm.normalise_rows(test_features)
    scores, losses = linear.train_and_score(
        train_features, train.labels, test_features, cfg.LINEAR, cfg.SEED, choose_device(cfg.FEATURES.DEVICE)
    )
    return scores, {
        "normalisation": "row / (L2 norm + 1e-5)" if normalise else "none",
        "loss": f"sigmoid cross entropy, {cfg.LINEAR.LOSS_REDUCTION} over images and classes",
        "loss_first_epoch": losses[0],
        "loss_last_epoch": losses[-1],
    }


def draw_by_chance(cfg: CfgNode, test: LabelledSplit) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
    """Scores (draws, N_test, K) uniform in [0, 1), a record of no weights, and what a result says of them."""
    if cfg.CHANCE.DRAWS < 1:
        raise InputError(f"CHANCE.DRAWS must be at least 1, got {cfg.CHANCE.DRAWS}")
    scores = np.random.default_rng(cfg.SEED).random((cfg.CHANCE.DRAWS, *test.labels.shape))
    return scores, {"file": None, "sha256": None}, {"features": "chance", "draws": cfg.CHANCE.DRAWS}
