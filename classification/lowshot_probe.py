"""``clsa-classify lowshot``: samples, features, SVMs for every k, and their result."""

import os
import time
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.configs.run_files import start_log, write_config, write_result
from clsa.datasets.fingerprint import dataset_record

from .average_precision import FLAVOURS
from .config import get_cfg
from .features import choose_device, load_features
from .labels import LabelledSplit
from .layouts import layout_of, read_splits
from .low_shot_samples import draw_sample, read_sample
from .lowshot import COST_OF_ONE, ORACLE_FLAVOUR, SampleFit, fit_sample, summarise
from .probe import check_features, data_prefix, departures, refuse_shared_images
from .svm import FOLDS, grid_of, normalise_rows


def run(
    cfg: CfgNode,
    weights: str | os.PathLike | None,
    data: str | os.PathLike,
    output: str | os.PathLike,
    splits: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
) -> Path:
    """Write config.yaml, log.txt and result.json; returns the latter's path.

    Args:
        splits: folder of the benchmark's sample files; None draws them from the seed.
    """
    started = time.perf_counter()
    check_features(cfg, weights)
    check_settings(cfg)
    train, test = read_splits(data, cfg.DATA)
    refuse_shared_images(train, test)
    samples = {k: choose_samples(train, k, cfg, splits) for k in cfg.LOWSHOT.K}  # refused before the long part begins
    log = start_log(output)
    write_config(output, cfg)
    origin = "drawn from the seed" if splits is None else f"of {splits}"
    log.info(f"low-shot SVMs, k = {', '.join(map(str, samples))}, {cfg.LOWSHOT.SAMPLES} samples each, {origin}")

    features = load_features(cfg.FEATURES, weights, (train, test), cfg.SEED, cache)
    layer, matrices = next(iter(features.matrices.items()))
    train_rows, test_rows = (normalise_rows(matrix, np.float32) for matrix in matrices)
    costs, device = grid_of(cfg.LOWSHOT.GRID), choose_device(cfg.LOWSHOT.DEVICE, key="LOWSHOT.DEVICE")
    by_k = {}
    with tqdm(total=sum(map(len, samples.values())), desc="low-shot SVMs", unit="sample", leave=False) as bar:
        for k, drawn in samples.items():
            fits: list[SampleFit] = []
            for sample in drawn:
                fits.append(
                    fit_sample(train_rows, sample, test_rows, test.labels, costs, cfg.LOWSHOT.TOLERANCE, device)
                )
                bar.update()
            by_k[k] = summarise(fits, costs)
            log.info(line(k, by_k[k]))
            if by_k[k]["not_converged"]:
                log.warning(f"k = {k}: {by_k[k]['not_converged']} of {by_k[k]['fits']} SVM fits are not certified")

    root = Path(data)
    return write_result(
        output,
        stage="classification",
        protocol=protocol(cfg, splits, data_prefix(layout_of(data, cfg.DATA), train.classes)),
        metric_flavour=FLAVOURS[ORACLE_FLAVOUR],
        values={
            f"{choice}, k={k}": found[choice][ORACLE_FLAVOUR]["mean"]
            for choice in ("cross_validated", "oracle_c")
            for k, found in by_k.items()
        },
        per_class={},
        engine="torch",
        weights=features.weights,
        dataset=dataset_record(
            f"{root.resolve().name} {train.name} -> {test.name}",
            [path.relative_to(root) for path in (*train.paths, *test.paths)],
            root,
        ),
        seed=cfg.SEED,
        trial=cfg.TRIAL,
        wall_seconds=time.perf_counter() - started,
        config=cfg,
        details={
            **features.details,
            "layer": layer,
            "normalisation": "row / (L2 norm + 1e-5)",
            "samples": f"{cfg.LOWSHOT.SAMPLES} of each k, {origin}: k positives, {len(train.classes) - 1} k negatives",
            "difficult": "in no sample; left out of their class in test",
            "grid": {"name": cfg.LOWSHOT.GRID, "costs": list(costs)},
            "cross_validated": f"by class, in the sample, min(k, {FOLDS}) stratified folds; k = 1: cost {COST_OF_ONE}",
            "oracle_c": "one cost a k, with the best mean over the samples of the TEST images' class mAP, envelope",
            "std": "over the samples, divided by their number",
            "flavours": FLAVOURS,
            "low_shot": {str(k): found for k, found in by_k.items()},
        },
    )


def choose_samples(train: LabelledSplit, k: int, cfg: CfgNode, splits: str | os.PathLike | None) -> list[np.ndarray]:
    """The samples of one k, each (N, K)."""
    numbers = range(1, cfg.LOWSHOT.SAMPLES + 1)
    if splits is None:
        return [draw_sample(train.labels, train.classes, k, number, cfg.SEED) for number in numbers]
    return [read_sample(splits, train.labels, train.image_ids, train.classes, k, number) for number in numbers]


def check_settings(cfg: CfgNode) -> None:
    """Refuse impossible values of the ``LOWSHOT`` node, and more than one layer."""
    grid_of(cfg.LOWSHOT.GRID)
    ks = cfg.LOWSHOT.K
    if not ks or any(type(k) is not int or k < 1 for k in ks) or len(set(ks)) < len(ks) or cfg.LOWSHOT.SAMPLES < 1:
        raise InputError(
            f"LOWSHOT.K {tuple(ks)} must be different whole numbers above zero, LOWSHOT.SAMPLES {cfg.LOWSHOT.SAMPLES} "
            "at least 1"
        )
    if len(cfg.FEATURES.LAYERS) != 1:
        raise InputError(f"FEATURES.LAYERS {tuple(cfg.FEATURES.LAYERS)}: low-shot SVMs take one layer")
    if cfg.FEATURES.KIND == "chance":
        raise InputError("chance has no features to train on. Give backbone, colour_histogram or hog.")


def protocol(cfg: CfgNode, splits: str | os.PathLike | None, prefix: str = "voc07") -> str:
    """``voc07-lowshot-<grid>``, with what departs from it; samples of one's own are not those of the papers."""
    drawn = "-own-samples" if splits is None else ""
    return f"{prefix}-lowshot-{cfg.LOWSHOT.GRID}{drawn}" + departures(cfg, get_cfg())


def line(k: int, found: dict) -> str:
    """One row of the table that the log shows."""
    own, oracle = (found[choice][ORACLE_FLAVOUR] for choice in ("cross_validated", "oracle_c"))
    return (
        f"k = {k:<3} class mAP, envelope: cross-validated C {own['mean']:.2f} +- {own['std']:.2f}; C chosen on the "
        f"test set {oracle['mean']:.2f} +- {oracle['std']:.2f} (C = {found['oracle_cost']:.3g})"
    )
