"""``clsa-classify score``: the four average precisions of anybody's scores, and what may be compared with what.

N images, K classes
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clsa.configs.command import InputError

from .average_precision import FLAVOURS, AveragePrecisions, average_precisions


@dataclass(frozen=True)
class Published:
    """A figure in percent, and which average precision its authors computed."""

    value: float
    flavour: str


def load_scores(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...] | None]:
    """Scores (N, K) of a ``.npy``; or those, the labels and the classes of a ``scores.npz`` that a probe wrote."""
    content = _load(path)
    if isinstance(content, np.ndarray):
        return content, None, None
    with content:
        if "scores" not in content:
            raise InputError(f"{path} holds {', '.join(content) or 'nothing'}, need an array named scores")
        classes = tuple(map(str, content["classes"])) if "classes" in content else None
        return content["scores"], content.get("labels"), classes


def load_labels(path: str | os.PathLike) -> np.ndarray:
    """Labels (N, K) of 1 / -1 / 0.

    Raises:
        InputError: no array; no -1 in it, for labels of 0 and 1 would read as "difficult" and "present".
    """
    labels = _load(path)
    if not isinstance(labels, np.ndarray):
        raise InputError(f"{path} holds several arrays, need one .npy of labels, images x classes")
    if labels.size and not (labels == -1).any():
        raise InputError(
            f"{path} has no label -1. Labels are 1 (present), -1 (absent) or 0 (difficult). Labels of 0 and 1 alone "
            "become these by 2 * labels - 1."
        )
    return labels


def score_report(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None, difficult: str, published: Published | None
) -> dict[str, Any]:
    """Everything that ``--json`` prints: percent throughout, None where there is nothing to find."""
    found = average_precisions(scores, labels, difficult)
    values = {name: 100 * value for name, value in found.means().items()}
    names = list(classes or ()) or [str(column) for column in range(scores.shape[1])]
    report = {
        "values": values,
        "flavours": FLAVOURS,
        "difficult": difficult,
        "images": len(scores),
        "classes": len(names),
        "difficult_labels": int((labels == 0).sum()),
        "classes_without_a_positive": [n for n, ap in zip(names, found.envelope, strict=True) if np.isnan(ap)],
        "images_without_a_positive": int(np.isnan(found.per_image).sum()),
        "per_class": _by_class(found, names),
    }
    if published is not None:
        report["comparison"] = compare(values, published)
    return report


def compare(values: dict[str, float], published: Published, metric: str | None = None) -> dict[str, Any]:
    """The difference to a published figure, within one flavour.

    Args:
        metric: which figure is to be compared; None for the one of the published flavour.

    Raises:
        InputError: an unknown flavour, or two different ones: what lies between them on these very scores is told.
    """
    name = value_name(published.flavour)
    if metric is not None and (asked := value_name(metric)) != name:
        raise InputError(
            f"A comparison across flavours is refused: {FLAVOURS[asked]} and {FLAVOURS[name]} are two measurements, "
            f"{values[asked]:.2f} and {values[name]:.2f} on these very scores. With {published.value:g}, a "
            f"{FLAVOURS[name]}, compare {values[name]:.2f}."
        )
    return {
        "flavour": FLAVOURS[name],
        "here": values[name],
        "published": published.value,
        "difference": values[name] - published.value,
    }


def value_name(flavour: str) -> str:
    """``"class mAP, envelope"`` or its short name ``"mAP envelope"`` -> the short name."""
    for name, full in FLAVOURS.items():
        if flavour in (name, full):
            return name
    raise InputError(
        f"flavour {flavour!r} is none of {'; '.join(FLAVOURS.values())}. A comparison across flavours is refused: on "
        "the same scores they differ by several points. Look up which one the paper's code computes."
    )


def score_text(report: dict[str, Any]) -> str:
    """The report as a table."""
    lines = [f"{FLAVOURS[name]:<34}{value:>8.2f}" for name, value in report["values"].items()]
    lines.append(
        f"{report['images']} images, {report['classes']} classes, {report['difficult_labels']} difficult labels "
        f"{'left out' if report['difficult'] == 'left out' else 'counted as absent'}"
    )
    if report["classes_without_a_positive"]:
        lines.append(f"no positive image, left out of the means: {', '.join(report['classes_without_a_positive'])}")
    if comparison := report.get("comparison"):
        lines.append(
            f"{comparison['flavour']}: {comparison['here']:.2f} here, {comparison['published']:g} published: "
            f"{comparison['difference']:+.2f}"
        )
    return "\n".join(lines)


def _by_class(found: AveragePrecisions, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    columns = {"mAP envelope": found.envelope, "mAP step": found.step, "mAP 11-point": found.eleven_point}
    return {
        key: {n: None if np.isnan(ap) else 100 * float(ap) for n, ap in zip(names, column, strict=True)}
        for key, column in columns.items()
    }


def _load(path: str | os.PathLike) -> Any:
    try:
        return np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy file: {error}. Save it with numpy.save.") from error
