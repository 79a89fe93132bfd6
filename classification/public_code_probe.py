"""``clsa-classify linear --mode public_code``: the public code's procedure beside the paper's, on the same weights.

The paper's own protocol is run first, into ``OUTPUT/paper`` (or its result is given), so that the result can say of
each flavour of the metric how far the procedures differ, and of each procedure how far the flavours do.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import read_result, start_log, write_config
from clsa.convert.backbone_file import read_backbone

from . import public_code_linear
from .average_precision import FLAVOURS, average_precisions
from .backbone import build_frozen
from .config import get_cfg
from .features import choose_device, describe_weights
from .labels import joined_splits
from .layouts import layout_of, read_splits
from .linear_probe import LINEAR
from .outcome import Outcome, score_table, write_outcome
from .probe import data_prefix, refuse_shared_images, run_probe

HEADLINE = "per-image AP"  # what the code calls its average precision


def run(
    cfg: CfgNode,
    weights: str | os.PathLike | None,
    data: str | os.PathLike,
    output: str | os.PathLike,
    paper_result: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
) -> Outcome:
    """Write config.yaml, log.txt, scores.npz and result.json, and the paper's into ``OUTPUT/paper``.

    Args:
        paper_result: result.json of ``--mode paper`` with the same weights and images, to compare with in place of a
            run of its own.
    """
    if weights is None or cfg.FEATURES.KIND != "backbone":
        raise InputError("--mode public_code trains on a backbone. Give --weights W.pth, and leave --features out.")
    public_code_linear.check_settings(cfg.PUBLIC_CODE)
    names = (cfg.PUBLIC_CODE.TRAIN_SPLIT, cfg.PUBLIC_CODE.VAL_SPLIT, cfg.PUBLIC_CODE.TEST_SPLIT)
    train, val, test = read_splits(data, cfg.DATA, names)
    if data_prefix(layout_of(data, cfg.DATA), train.classes) != "voc07":
        raise InputError(
            f"--mode public_code does what the code of CLSA does on VOC07's 20 classes; {data} is read with "
            f"{len(train.classes)}: {', '.join(train.classes[:3])} ... --mode paper takes other data."
        )
    for one, other in ((train, val), (train, test), (val, test)):
        refuse_shared_images(one, other)
    backbone = read_backbone(weights, target="torchvision")
    device = choose_device(cfg.FEATURES.DEVICE)
    if paper_result is None:
        run_probe(LINEAR, cfg, weights, data, Path(output) / "paper", cache)
    paper = read_paper_result(paper_result or Path(output) / "paper" / "result.json", backbone.sha256)

    started = time.perf_counter()
    log = start_log(output)
    write_config(output, cfg)
    log.info(f"linear layer as in the public code, {train.name} -> {val.name} -> {test.name}, on {device}")
    network = build_frozen(backbone, device)
    fit = public_code_linear.train_and_score(
        network, train, val, test, cfg.PUBLIC_CODE, cfg.SEED, device, cfg.FEATURES.WORKERS
    )
    outcome = Outcome(
        protocol=protocol(cfg),
        engine="torch",
        scores=fit.scores,
        train=joined_splits(train, val),
        test=test,
        weights=describe_weights(backbone),
        details={
            "mode": "public_code",
            "batch_norm": "in train mode: its statistics drift"
            if cfg.PUBLIC_CODE.BATCH_NORM_IN_TRAIN_MODE
            else "frozen",
            "backbone_drift": fit.drift,
            "difficult": "absent, in training and in test",
            "best_epoch": fit.best_epoch,
            "val_per_image_AP": [round(100 * value, 4) for value in fit.validation],
            "learning_rates": fit.learning_rates,
            "losses": fit.losses,
            "device": device,
        },
        wall_seconds=time.perf_counter() - started,
        difficult="absent",
        headline=HEADLINE,
    )
    left_out = {name: 100 * value for name, value in average_precisions(fit.scores, test.labels).means().items()}
    difference = differences(outcome.values, left_out, paper)
    outcome = replace(outcome, details={**outcome.details, "difference": difference})
    write_outcome(output, data, cfg, outcome)
    log.info("\n" + score_table(outcome) + "\n" + difference_table(difference))
    return outcome


def read_paper_result(path: str | os.PathLike, weights_sha256: str) -> dict[str, Any]:
    """A result of ``--mode paper``; refused if it is of another protocol or of other weights."""
    result = read_result(path)
    if not result["protocol"].startswith(("voc07-linear-paper", "voc07-linear-custom")):
        raise InputError(
            f"{path} is a result of {result['protocol']}. Give one of `clsa-classify linear --mode paper`."
        )
    if result["weights"].get("sha256") != weights_sha256:
        raise InputError(f"{path} was measured with other weights, {result['weights'].get('file')}. Leave it out.")
    return result


def differences(
    as_the_code: Mapping[str, float], left_out: Mapping[str, float], paper: Mapping[str, Any]
) -> dict[str, Any]:
    """Where the public code's figure comes from, in points.

    ``by_flavour``: public code minus paper, one flavour at a time and difficult images left out in both: what the
    procedure is worth. ``flavour``: per-image AP minus class mAP of the public code's own scores: what the choice of
    the metric is worth, which says nothing of the features. ``difficult``: what counting difficult images as absent
    adds to its per-image AP.
    """
    return {
        "paper": {"protocol": paper["protocol"], "values": paper["values"]},
        "public_code_difficult_left_out": dict(left_out),
        "by_flavour": {
            name: None if paper["values"][name] is None else left_out[name] - paper["values"][name] for name in FLAVOURS
        },
        "flavour": as_the_code[HEADLINE] - as_the_code["mAP envelope"],
        "difficult": as_the_code[HEADLINE] - left_out[HEADLINE],
    }


def difference_table(difference: Mapping[str, Any]) -> str:
    """The same for the log."""
    lines = [f"{'difficult images left out':<34}{'paper':>10}{'public code':>13}{'difference':>12}"]
    for name, flavour in FLAVOURS.items():
        columns = (
            difference["paper"]["values"][name],
            difference["public_code_difficult_left_out"][name],
            difference["by_flavour"][name],
        )
        paper, code, points = ("-" if value is None else f"{value:.2f}" for value in columns)
        lines.append(f"{flavour:<34}{paper:>10}{code:>13}{points:>12}")
    lines.append(
        f"the public code's figure is {difference['flavour']:+.2f} above its own class mAP by the choice of the metric "
        f"alone, {difference['difficult']:+.2f} of it by counting difficult images as absent"
    )
    return "\n".join(lines)


def protocol(cfg: CfgNode) -> str:
    """``voc07-linear-clsa-code``, or ``-custom`` with any other setting."""
    return "voc07-linear-clsa-code" + ("" if cfg.PUBLIC_CODE == get_cfg().PUBLIC_CODE else "-custom")
