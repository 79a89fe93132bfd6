"""One probe from configuration to result: labels, features, scores, average precisions, files."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import start_log, write_config
from clsa.datasets.categories import VOC_CLASSES

from .config import get_cfg
from .features import KINDS, compute_features
from .labels import LabelledSplit, read_split
from .outcome import Outcome, score_table, write_outcome


@dataclass(frozen=True)
class Probe:
    """What one kind of probe adds to the common road.

    ``check(cfg)`` refuses settings; ``protocol(cfg)`` names the protocol, apart from what images and splits add to it;
    ``engine(cfg)`` says what computes; ``fit(cfg, train_features, test_features, train)`` returns the scores of the
    test images, (N_test, K), and what the result records of them.
    """

    name: str
    check: Callable[[CfgNode], None]
    protocol: Callable[[CfgNode], str]
    engine: Callable[[CfgNode], str]
    fit: Callable[[CfgNode, np.ndarray, np.ndarray, LabelledSplit], tuple[np.ndarray, dict[str, Any]]]


def run_probe(
    probe: Probe, cfg: CfgNode, weights: str | os.PathLike | None, data: str | os.PathLike, output: str | os.PathLike
) -> Outcome:
    """Carry out ``probe`` and write config.yaml, log.txt, scores.npz and result.json.

    Raises:
        InputError: weights where none are used or none where they are, and what the parts refuse.
    """
    started = time.perf_counter()
    check_features(cfg, weights)
    probe.check(cfg)
    train, test = (read_split(data, split, VOC_CLASSES) for split in (cfg.DATA.TRAIN_SPLIT, cfg.DATA.TEST_SPLIT))
    refuse_shared_images(train, test)
    log = start_log(output)
    write_config(output, cfg)
    log.info(
        f"{probe.name} probe, features {cfg.FEATURES.KIND}, {len(train.paths)} images of {train.name} -> "
        f"{len(test.paths)} of {test.name}"
    )
    if cfg.FEATURES.KIND == "chance":
        scores, record, details = draw_by_chance(cfg, test)
    else:
        features = compute_features(cfg.FEATURES, weights, train, test, cfg.SEED)
        log.info(f"features {features.train.shape[1]}-d, {features.details['images_per_second']} images/s")
        scores, details = probe.fit(cfg, features.train, features.test, train)
        record, details = features.weights, features.details | details

    outcome = Outcome(
        protocol=protocol_id(probe, cfg),
        engine=probe.engine(cfg),
        scores=scores,
        train=train,
        test=test,
        weights=record,
        details={"difficult": "absent in training, left out of their class in test", **details},
        wall_seconds=time.perf_counter() - started,
    )
    write_outcome(output, data, cfg, outcome)
    for warning in details.get("warnings", ()):
        log.warning(warning)
    if outcome.undefined_classes:
        log.warning(f"no positive test image, left out of the means: {', '.join(outcome.undefined_classes)}")
    log.info("\n" + score_table(outcome))
    return outcome


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


def refuse_shared_images(train: LabelledSplit, test: LabelledSplit) -> None:
    """An ``InputError`` if an image is in both splits."""
    if shared := set(train.image_ids) & set(test.image_ids):
        raise InputError(
            f"{len(shared)} images, {min(shared)} among them, are in both {train.name} and {test.name}. Training "
            "images must not be tested on: choose other splits."
        )


def protocol_id(probe: Probe, cfg: CfgNode) -> str:
    """The probe's own id, with everything appended in which images and splits depart from the defaults."""
    return probe.protocol(cfg) + departures(cfg, get_cfg())


def departures(cfg: CfgNode, defaults: CfgNode) -> str:
    """What other images and splits than a protocol's ``defaults`` add to its id; nothing where they are the same."""
    name = ""
    if any(cfg.FEATURES[key] != defaults.FEATURES[key] for key in ("TRANSFORM", "RESIZE", "SIZE")):
        name += f"-{cfg.FEATURES.TRANSFORM}-{cfg.FEATURES.SIZE}of{cfg.FEATURES.RESIZE}"
    if defaults.DATA != cfg.DATA:
        name += f"-{cfg.DATA.TRAIN_SPLIT}-{cfg.DATA.TEST_SPLIT}"
    return name


def draw_by_chance(cfg: CfgNode, test: LabelledSplit) -> tuple[np.ndarray, dict[str, Any], dict[str, Any]]:
    """Scores (draws, N_test, K) uniform in [0, 1), a record of no weights, and what a result says of them."""
    if cfg.CHANCE.DRAWS < 1:
        raise InputError(f"CHANCE.DRAWS must be at least 1, got {cfg.CHANCE.DRAWS}")
    scores = np.random.default_rng(cfg.SEED).random((cfg.CHANCE.DRAWS, *test.labels.shape))
    return scores, {"file": None, "sha256": None}, {"features": "chance", "draws": cfg.CHANCE.DRAWS}
