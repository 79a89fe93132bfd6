"""One probe from configuration to result: labels, features, scores, average precisions, files."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import start_log, write_config
from clsa.datasets.categories import VOC_CLASSES

from .config import get_cfg
from .features import KINDS, Features, check_settings, load_features
from .labels import LabelledSplit
from .layers import POOLS
from .layouts import layout_of, read_splits
from .outcome import HEADLINE, Outcome, layer_table, score_table, write_outcome


@dataclass(frozen=True)
class Probe:
    """What one kind of probe adds to the common road.

    ``check(cfg)`` refuses settings; ``protocol(cfg)`` names the protocol, apart from what images, layer and splits
    add to it; ``engine(cfg)`` says what computes; ``fit(cfg, train_features, test_features, train)`` returns the scores
    of the test images, (N_test, K), and what the result records of them. ``selects_layer``: a key of that record by
    which the best of several layers is named, larger ones being better and the test images having no part in it; a
    probe without one takes one layer.
    """

    name: str
    check: Callable[[CfgNode], None]
    protocol: Callable[[CfgNode], str]
    engine: Callable[[CfgNode], str]
    fit: Callable[[CfgNode, np.ndarray, np.ndarray, LabelledSplit], tuple[np.ndarray, dict[str, Any]]]
    selects_layer: str | None = None


def run_probe(
    probe: Probe,
    cfg: CfgNode,
    weights: str | os.PathLike | None,
    data: str | os.PathLike,
    output: str | os.PathLike,
    cache: str | os.PathLike | None = None,
) -> Outcome:
    """Carry out ``probe`` and write config.yaml, log.txt, scores.npz and result.json.

    Of several layers, each gets its own folder ``output/LAYER``, and ``output`` the best layer's scores and result,
    with the figures of all.

    Args:
        cache: folder of cached features, None to keep them in memory.

    Raises:
        InputError: weights where none are used or none where they are, and what the parts refuse.
    """
    started = time.perf_counter()
    check_features(cfg, weights)
    probe.check(cfg)
    if len(cfg.FEATURES.LAYERS) > 1 and (probe.selects_layer is None or cfg.FEATURES.KIND != "backbone"):
        who = probe.name if probe.selects_layer is None else f"features {cfg.FEATURES.KIND}"
        raise InputError(f"{who}: one layer only, got {', '.join(cfg.FEATURES.LAYERS)}. `svm` takes several.")
    train, test = read_splits(data, cfg.DATA)
    refuse_shared_images(train, test)
    log = start_log(output)
    write_config(output, cfg)
    log.info(
        f"{probe.name} probe, features {cfg.FEATURES.KIND}, {len(train.paths)} images of {train.name} -> "
        f"{len(test.paths)} of {test.name}"
    )
    prefix = data_prefix(layout_of(data, cfg.DATA), train.classes)

    def outcome_of(
        layer: str, scores: np.ndarray, record: dict[str, Any], details: dict[str, Any], began: float
    ) -> Outcome:
        return Outcome(
            protocol=protocol_id(probe, cfg, layer, prefix),
            engine=probe.engine(cfg),
            scores=scores,
            train=train,
            test=test,
            weights=record,
            details={"difficult": "absent in training, left out of their class in test", **details},
            wall_seconds=time.perf_counter() - began,
        )

    outcomes = {}
    if cfg.FEATURES.KIND == "chance":
        outcomes["chance"] = outcome_of("chance", *draw_by_chance(cfg, test), started)
    else:
        features = load_features(cfg.FEATURES, weights, (train, test), cfg.SEED, cache)
        log_features(log, features)
        shared = time.perf_counter() - started  # by all layers
        for layer, matrices in features.matrices.items():
            began = time.perf_counter() - shared
            scores, details = probe.fit(cfg, *matrices, train)
            details = features.details | {"layer": layer, **features.details["layers"][layer]} | details
            outcomes[layer] = outcome_of(layer, scores, features.weights, details, began)

    best = next(iter(outcomes.values()))
    if len(outcomes) > 1:
        best = replace(best_layer(outcomes, probe.selects_layer), wall_seconds=time.perf_counter() - started)
    for layer, outcome in outcomes.items():
        if len(outcomes) > 1:
            write_outcome(Path(output) / layer, data, cfg, outcome)
            log.info(f"layer {layer}\n{score_table(outcome)}")
        for warning in outcome.details.get("warnings", ()):
            log.warning(f"{layer}: {warning}")
    write_outcome(output, data, cfg, best)
    if best.undefined_classes:
        log.warning(f"no positive test image, left out of the means: {', '.join(best.undefined_classes)}")
    log.info("\n" + (layer_table(best) if len(outcomes) > 1 else score_table(best)))
    return best


def best_layer(outcomes: Mapping[str, Outcome], criterion: str) -> Outcome:
    """The outcome of the layer that is best on the training images, with the figures of all layers in its details.

    Tables in papers take the layer that is best on the test images. That one is named too, and is no result.
    """
    by_test = max(outcomes, key=lambda layer: outcomes[layer].values[HEADLINE])
    by_training = max(outcomes, key=lambda layer: outcomes[layer].details[criterion])
    comparison = {
        layer: {
            "dimensions": outcome.details["dimensions"],
            criterion: outcome.details[criterion],
            **outcome.values,
        }
        for layer, outcome in outcomes.items()
    }
    best = outcomes[by_training]
    selection = {
        "best_layer": by_training,
        "best_layer_by": criterion,
        "best_layer_on_test": by_test,
        "figures_by_layer": comparison,
    }
    return replace(best, protocol=f"{best.protocol}-best-of-{'+'.join(outcomes)}", details=best.details | selection)


def log_features(log: logging.Logger, features: Features) -> None:
    """Sizes, speed, and where they are kept."""
    for layer, record in features.details["layers"].items():
        log.info(f"features {layer}: {record['dimensions']}-d, pool: {record['pool']}")
    if features.details["images_computed"]:
        waiting = 100 * features.details["share_of_time_waiting_for_images"]
        log.info(f"{features.details['images_per_second']} images/s, {waiting:.0f} % of the time waiting for images")
    for name, folder in features.folders.items():
        log.info(f"{name}: cached in {folder}")


def check_features(cfg: CfgNode, weights: str | os.PathLike | None) -> None:
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
    check_settings(cfg.FEATURES)


def refuse_shared_images(train: LabelledSplit, test: LabelledSplit) -> None:
    """An ``InputError`` if an image is in both splits."""
    if shared := set(train.image_ids) & set(test.image_ids):
        raise InputError(
            f"{len(shared)} images, {min(shared)} among them, are in both {train.name} and {test.name}. Training "
            "images must not be tested on: choose other splits."
        )


def protocol_id(probe: Probe, cfg: CfgNode, layer: str | None = None, prefix: str = "voc07") -> str:
    """The probe's own id, with everything appended in which layer, images, precision and splits are not the defaults.

    ``layer``: None for the first of FEATURES.LAYERS. ``prefix`` takes the place of the id's ``voc07`` for other data:
    see :func:`data_prefix`.
    """
    return prefix + probe.protocol(cfg).removeprefix("voc07") + departures(cfg, get_cfg(), layer)


def departures(cfg: CfgNode, defaults: CfgNode, layer: str | None = None) -> str:
    """What another layer, images, precision and splits than a protocol's ``defaults`` add to its id."""
    ours, standard = cfg.FEATURES, defaults.FEATURES
    layer = layer or ours.LAYERS[0]
    name = f"-{layer}" if layer in POOLS else ""
    if any(ours[key] != standard[key] for key in ("TRANSFORM", "RESIZE", "SIZE")):
        name += f"-{ours.TRANSFORM}-{ours.SIZE}of{ours.RESIZE}"
    for key in ("INTERPOLATION", "PRECISION"):
        name += "" if ours[key] == standard[key] else f"-{ours[key]}"
    if any(cfg.DATA[key] != defaults.DATA[key] for key in ("TRAIN_SPLIT", "TEST_SPLIT")):
        name += f"-{cfg.DATA.TRAIN_SPLIT}-{cfg.DATA.TEST_SPLIT}"
    return name


def data_prefix(layout: str, classes: Sequence[str]) -> str:
    """``voc07`` for VOC's folder with VOC's twenty classes; else the layout: no figure of theirs is a VOC figure."""
    if layout == "voc":
        return "voc07" if tuple(classes) == VOC_CLASSES else "multilabel"
    return "imagefolder"


def draw_by_chance(cfg: CfgNode, test: LabelledSplit) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
    """Scores (draws, N_test, K) uniform in [0, 1), a record of no weights, and what a result says of them."""
    if cfg.CHANCE.DRAWS < 1:
        raise InputError(f"CHANCE.DRAWS must be at least 1, got {cfg.CHANCE.DRAWS}")
    scores = np.random.default_rng(cfg.SEED).random((cfg.CHANCE.DRAWS, *test.labels.shape))
    return scores, {"file": None, "sha256": None}, {"features": "chance", "draws": cfg.CHANCE.DRAWS}
