"""What ``clsa-ap`` finds out, as one dictionary: what its table shows, its plot draws and ``--json`` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .accumulate import average_precision, build_curves, mean_over_categories
from .annotations import GroundTruth
from .bootstrap import bootstrap, draw_images, share_of_wins, spread, spread_around
from .matching import THRESHOLDS, Matches, count_objects, match
from .results import Detections
from .sizes import COCO_RANGES, AreaRange

#: What is compared between files, AP_S first, with its area range's index.
COMPARED = {"AP_S": 1, "AP": 0}


def measure(
    truth: GroundTruth,
    files: Mapping[str, Detections],
    bins: Sequence[AreaRange],
    resamples: int,
    seed: int,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Average precision of each file, by size and by category, and of each pair the difference.

    Args:
        files: by name, in the order in which they are compared: each later one with each earlier one.
        bins: finer sizes than COCO's three.
        resamples: of the bootstrap over images; 0 for none.

    Returns:
        JSON-ready, all average precisions in percent; None where there is no object to find, and without bootstrap.
        ``files[k]``: ``values`` AP_S, AP, AP50, AP75, AP_M, AP_L; ``intervals`` of AP_S and AP; ``per_category``;
        ``by_size`` for each of ``sizes``. ``differences``: for each pair and for AP_S and AP the observed one, mean and
        95 % interval of the resamples, their bias (mean minus observed), and how often the second file beats the first.
        Which truth the intervals hold: see :mod:`.bootstrap`.
    """
    ranges = (*COCO_RANGES, *bins)
    objects = count_objects(truth, ranges)
    matches = [match(truth, found, ranges, name if show_progress else None) for name, found in files.items()]
    drawn = draw_images(len(truth.image_ids), resamples, seed)
    resampled = 100 * bootstrap(matches, objects, drawn, show_progress)  # (R, F, A)
    described = [
        {
            "name": name,
            "file": str(found.source),
            "detections": len(found.score),
            **_figures(file_matches, objects, truth.category_names),
        }
        for (name, found), file_matches in zip(files.items(), matches, strict=True)
    ]
    for k, file in enumerate(described):
        file["intervals"] = {
            metric: interval(file["values"][metric], resampled[:, k, area]) for metric, area in COMPARED.items()
        }
        for area, size in enumerate(file["by_size"], len(COCO_RANGES)):
            size["interval"] = interval(size["AP"], resampled[:, k, area])
    return {
        "format": "clsa-ap",
        "version": 1,
        "annotations": str(truth.source),
        "flavour": truth.flavour,
        "iou_type": truth.iou_type,
        "unit": "percent",
        "images": len(truth.image_ids),
        "objects": {r.name: int(counts.sum()) for r, counts in zip(COCO_RANGES, objects, strict=False)},
        "sizes": describe_sizes(bins, objects[len(COCO_RANGES) :]),
        "files": described,
        "bootstrap": {"resamples": resamples, "seed": seed, "over": "images", "interval": 95},
        "differences": [
            {
                "metric": metric,
                "first": described[a]["name"],
                "second": described[b]["name"],
                **_difference(
                    described[a]["values"][metric], described[b]["values"][metric], resampled[:, [a, b], area]
                ),
            }
            for a, b in combinations(range(len(described)), 2)
            for metric, area in COMPARED.items()
        ],
    }


def describe_sizes(bins: Sequence[AreaRange], objects: Sequence[csr_array]) -> list[dict[str, Any]]:
    """Of each bin its name, area, and how many objects of how many categories it holds."""
    return [
        {
            "name": size.name,
            "area": [size.low, size.high],
            "objects": int(counts.sum()),
            "categories": int((counts.sum(axis=0) > 0).sum()),
        }
        for size, counts in zip(bins, objects, strict=True)
    ]


def interval(observed: float | None, resampled: np.ndarray) -> dict[str, float] | None:
    """95 % interval and bias of a file's average precision, percent, from its (R,) resamples; see :mod:`.bootstrap`."""
    found = None if observed is None else spread_around(observed, resampled, most=100)
    return None if found is None else {"low": found.low, "high": found.high, "bias": spread(resampled).mean - observed}


def _figures(matches: Matches, objects: Sequence[csr_array], category_names: Sequence[str]) -> dict[str, Any]:
    """``values``, ``per_category`` and ``by_size`` on the images as they are: each once."""
    images, categories = objects[0].shape
    once = np.ones((1, images), dtype=np.int32)
    average = 100 * average_precision(build_curves(matches, images, categories), once, objects)[0]  # (A, K, T)
    by_metric = {
        "AP_S": average[1],
        "AP": average[0],
        "AP50": average[0, :, THRESHOLDS == 0.5].T,
        "AP75": average[0, :, THRESHOLDS == 0.75].T,
        "AP_M": average[2],
        "AP_L": average[3],
    }  # (K, T or 1) each
    return {
        "values": {metric: _number(mean_over_categories(of)) for metric, of in by_metric.items()},
        "per_category": {
            name: {
                "objects": int(objects[0][:, [k]].sum()),
                "small_objects": int(objects[1][:, [k]].sum()),
                **{metric: _number(of[k].mean()) for metric, of in by_metric.items()},
            }
            for k, name in enumerate(category_names)
        },
        "by_size": [{"AP": _number(mean_over_categories(of))} for of in average[len(COCO_RANGES) :]],
    }


def _difference(first: float | None, second: float | None, resampled: np.ndarray) -> dict[str, Any]:
    """Second minus first; ``resampled`` is (R, 2)."""
    difference = resampled[:, 1] - resampled[:, 0]
    found = spread(difference)
    observed = None if first is None or second is None else second - first
    return {
        "observed": observed,
        "resampled": None if found is None else asdict(found),
        "bias": None if found is None or observed is None else found.mean - observed,
        "second_beats_first": share_of_wins(difference),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
