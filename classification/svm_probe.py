"""``clsa-classify svm``: the SVMs of :mod:`.svm` on the common road of :mod:`.probe`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from . import svm
from .config import get_cfg
from .features import choose_device
from .labels import LabelledSplit
from .probe import Probe


def check(cfg: CfgNode) -> None:
    """Refuse impossible values of the ``SVM`` node."""
    svm.grid_of(cfg.SVM.GRID)
    if cfg.SVM.SOLVER not in svm.SOLVERS:
        raise InputError(f"SVM.SOLVER {cfg.SVM.SOLVER!r} is unknown. Give one of {', '.join(svm.SOLVERS)}.")
    if not 0 < cfg.SVM.TOLERANCE < 1:
        raise InputError(f"SVM.TOLERANCE must lie between 0 and 1, got {cfg.SVM.TOLERANCE}. 1e-4 is a good one.")
    choose_device(cfg.SVM.DEVICE, key="SVM.DEVICE")


def protocol(cfg: CfgNode) -> str:
    """``voc07-svm-<grid>``, for both solvers: they reach the same minimum; the exact one's looser tolerances show."""
    loose = cfg.SVM.SOLVER == "exact" and cfg.SVM.TOLERANCE > get_cfg().SVM.TOLERANCE
    return f"voc07-svm-{cfg.SVM.GRID}" + (f"-exact{cfg.SVM.TOLERANCE:g}" if loose else "")


def engine(cfg: CfgNode) -> str:
    return "torch" if cfg.SVM.SOLVER == "exact" else "scikit-learn"


def fit(
    cfg: CfgNode, train_features: np.ndarray, test_features: np.ndarray, train: LabelledSplit
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores (N_test, K) and what a result says of the SVMs."""
    costs = svm.grid_of(cfg.SVM.GRID)
    fitted = svm.fit_and_score(
        train_features,
        train.labels,
        test_features,
        train.classes,
        costs,
        cfg.SVM.SOLVER,
        cfg.SEED,
        cfg.SVM.JOBS,
        cfg.SVM.TOLERANCE,
        choose_device(cfg.SVM.DEVICE, key="SVM.DEVICE"),
    )
    edges = (min(costs), max(costs))
    warnings = []
    if fitted.not_converged:
        warnings.append(
            f"{fitted.not_converged} of {fitted.fits} SVM fits did not converge: {not_converged(fitted.solver)}"
        )
    return fitted.scores, {
        "normalisation": "row / (L2 norm + 1e-5)",
        "grid": {"name": cfg.SVM.GRID, "costs": list(costs)},
        "solver": {"name": cfg.SVM.SOLVER, **fitted.solver},
        "folds": f"{svm.FOLDS}, stratified, unshuffled; cost by scikit-learn's average precision",
        "best_cost": dict(zip(train.classes, fitted.costs, strict=True)),
        "cross_validated_ap": {
            name: round(100 * value, 4) for name, value in zip(train.classes, fitted.cross_validated, strict=True)
        },
        "cross_validated_map": round(100 * float(np.mean(fitted.cross_validated)), 4),
        "best_cost_at_grid_edge": [n for n, c in zip(train.classes, fitted.costs, strict=True) if c in edges],
        "fits": fitted.fits,
        "not_converged": fitted.not_converged,
        "warnings": warnings,
    }


def not_converged(solver: Mapping[str, Any]) -> str:
    """What that means, for the log."""
    if "iteration_limit" in solver:
        return f"they stopped at liblinear's limit of {solver['iteration_limit']} iterations, as the protocol has it"
    return "; ".join(solver["uncertified"][:5]) + (
        "; and more, see result.json" if len(solver["uncertified"]) > 5 else ""
    )


SVM = Probe("svm", check, protocol, engine, fit, selects_layer="cross_validated_map")
