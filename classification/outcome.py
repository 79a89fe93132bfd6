"""What a probe found: the four average precisions of its scores, as files and as a table."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from clsa.configs.run_files import atomic_write, write_result
from clsa.datasets.fingerprint import dataset_record

from .average_precision import FLAVOURS, AveragePrecisions, average_precisions
from .labels import LabelledSplit

HEADLINE = "mAP envelope"


@dataclass(frozen=True)
class Outcome:
    """Scores of the test images, (N, K), or (draws, N, K) whose average precisions are averaged; and their origin."""

    protocol: str
    engine: str
    scores: np.ndarray
    train: LabelledSplit
    test: LabelledSplit
    weights: Mapping[str, Any]
    details: Mapping[str, Any]
    wall_seconds: float
    difficult: str = "left out"  # of the test images; what average_precisions does with them
    headline: str = HEADLINE  # the figure whose flavour names the result's

    @cached_property
    def draws(self) -> list[AveragePrecisions]:
        """Average precisions of each draw; one for a trained probe."""
        stack = self.scores if self.scores.ndim == 3 else self.scores[None]
        return [average_precisions(scores, self.test.labels, self.difficult) for scores in stack]

    @property
    def values(self) -> dict[str, float]:
        """The four figures in percent; NaN where nothing is defined."""
        return {name: 100 * float(np.mean([draw.means()[name] for draw in self.draws])) for name in FLAVOURS}

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """The three class-wise average precisions in percent, by the same names; NaN for an absent class."""
        by_name = {
            "mAP envelope": [draw.envelope for draw in self.draws],
            "mAP step": [draw.step for draw in self.draws],
            "mAP 11-point": [draw.eleven_point for draw in self.draws],
        }
        return {
            name: dict(zip(self.test.classes, (100 * np.mean(columns, axis=0)).tolist(), strict=True))
            for name, columns in by_name.items()
        }

    @property
    def undefined_classes(self) -> list[str]:
        """Classes without a positive test image."""
        return [name for name, value in self.per_class[HEADLINE].items() if np.isnan(value)]


def write_outcome(output: str | os.PathLike, voc_dir: str | os.PathLike, cfg: CfgNode, outcome: Outcome) -> Path:
    """Write ``scores.npz``, from which anybody can compute the figures again, then ``result.json``.

    ``scores.npz`` holds ``scores`` (N, K) or (draws, N, K) float64, ``labels`` (N, K) int8, ``image_ids`` (N,) and
    ``classes`` (K,); ``numpy.load`` reads it without pickle.
    """
    with atomic_write(Path(output) / "scores.npz") as file:
        np.savez(
            file,
            scores=outcome.scores,
            labels=outcome.test.labels,
            image_ids=np.array(outcome.test.image_ids),
            classes=np.array(outcome.test.classes),
        )
    root = Path(voc_dir)
    name = f"{root.resolve().name} {outcome.train.name} -> {outcome.test.name}"
    files = [path.relative_to(root) for path in (*outcome.train.paths, *outcome.test.paths)]
    return write_result(
        output,
        stage="classification",
        protocol=outcome.protocol,
        metric_flavour=FLAVOURS[outcome.headline],
        values=outcome.values,
        per_class=outcome.per_class,
        engine=outcome.engine,
        weights=outcome.weights,
        dataset=dataset_record(name, files, root),
        seed=cfg.SEED,
        trial=cfg.TRIAL,
        wall_seconds=outcome.wall_seconds,
        config=cfg,
        details={
            **outcome.details,
            "flavours": FLAVOURS,
            "images": {outcome.train.name: len(outcome.train.paths), outcome.test.name: len(outcome.test.paths)},
            "classes_without_a_test_image": outcome.undefined_classes,
            "images_without_a_class": int(np.isnan(outcome.draws[0].per_image).sum()),
        },
    )


def score_table(outcome: Outcome) -> str:
    """The classes with their average precisions, and the four figures below, in percent."""
    per_class, costs = outcome.per_class, outcome.details.get("best_cost", {})
    lines = [f"{'class':<14}{'positives':>10}{'best C':>10}{'envelope':>10}{'step':>8}{'11-point':>10}"]
    for column, name in enumerate(outcome.test.classes):
        positives = int((outcome.test.labels[:, column] == 1).sum())
        cost = f"{costs[name]:.3g}" if name in costs else "-"
        envelope, step, eleven = (_percent(per_class[key][name]) for key in per_class)
        lines.append(f"{name:<14}{positives:>10}{cost:>10}{envelope:>10}{step:>8}{eleven:>10}")
    lines += [f"{FLAVOURS[name]:<34}{_percent(value):>10}" for name, value in outcome.values.items()]
    lines.append(f"protocol {outcome.protocol}, engine {outcome.engine}, {outcome.wall_seconds:.1f} s")
    return "\n".join(lines)


def layer_table(best: Outcome) -> str:
    """The layers with their figures in percent, and which one is best."""
    layers = best.details["figures_by_layer"]
    columns = [key for key in next(iter(layers.values())) if key != "dimensions"]
    lines = [f"{'layer':<9}{'dimensions':>11}" + "".join(f"{name:>21}" for name in columns)]
    for layer, figures in layers.items():
        lines.append(f"{layer:<9}{figures['dimensions']:>11}" + "".join(f"{_percent(figures[c]):>21}" for c in columns))
    lines.append(
        f"best layer by {best.details['best_layer_by']}, without the test images: {best.details['best_layer']}, "
        f"{HEADLINE} {_percent(best.values[HEADLINE])} (highest on test: {best.details['best_layer_on_test']})"
    )
    lines.append(f"protocol {best.protocol}, engine {best.engine}, {best.wall_seconds:.1f} s")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
