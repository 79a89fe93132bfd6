"""clsa-ap's figures against pycocotools, on the data as they are and on resamples with their copies written out."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from clsa.reproduce.ap.accumulate import average_precision, build_curves, levels_reached, mean_over_categories
from clsa.reproduce.ap.annotations import GroundTruth, ground_truth
from clsa.reproduce.ap.bootstrap import draw_images, share_of_wins, spread, spread_around
from clsa.reproduce.ap.matching import count_objects, match
from clsa.reproduce.ap.measure import measure
from clsa.reproduce.ap.results import detections
from clsa.reproduce.ap.sizes import COCO_RANGES, AreaRange, size_bins

RANGES = (*COCO_RANGES, *size_bins([20, 40, 80]))


def made_up_data(seed: int, coarse: bool, files: int = 1) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """12 images of 3 categories, and results, with crowds, ignored objects (area -1), masks, doubled detections.

    ``coarse``: boxes in whole pixels and scores in tenths, so that IoUs and scores tie, within images as well.
    """
    chance = np.random.default_rng(seed)
    images = [{"id": int(k) + 5, "width": 260, "height": 260, "file_name": f"{k}.jpg"} for k in chance.permutation(12)]
    annotations, results = [], [[] for _ in range(files)]
    for image in images:
        for _ in range(chance.integers(0, 6)):
            side = np.exp(chance.uniform(2.5, 4.9))
            box = [float(v) for v in (*chance.uniform(0, 90, 2), side * chance.uniform(0.6, 1.2), side)]
            box = [float(round(v)) for v in box] if coarse else box
            names = {"image_id": image["id"], "category_id": int(chance.integers(1, 4))}
            ignored, filled = chance.random() < 0.06, chance.choice([0.7, 1.0])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    **names,
                    "bbox": box,
                    "segmentation": rectangle(box),
                    "area": -1 if ignored else filled * box[2] * box[3],
                    "iscrowd": int(chance.random() < 0.12),
                }
            )
            for file in results:
                for _ in range(chance.integers(0, 4)):
                    moved = np.array(box) + chance.normal(0, 0.06 * side, 4) * (chance.random() < 0.8)
                    moved = [*moved[:2].clip(0).tolist(), *moved[2:].clip(1).tolist()]
                    score = round(float(chance.random()), 1 if coarse else 12)
                    wrong = {"category_id": 1} if chance.random() < 0.1 else {}
                    file.append(
                        {**names, **wrong, "bbox": moved, "segmentation": rectangle(moved), "score": score},
                    )
    for file in results:
        chance.shuffle(file)
    categories = [{"id": k, "name": f"c{k}"} for k in (1, 2, 3)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def rectangle(box: list[float]) -> dict[str, Any]:
    """The run lengths of a box in an image of 260 x 260 pixels."""
    return mask_tools.frPyObjects(np.array([box]), 260, 260)[0]


def official(
    content: dict[str, Any], results: list[dict[str, Any]], ranges: tuple[AreaRange, ...] = RANGES, task: str = "bbox"
) -> np.ndarray:
    """pycocotools' average precision: (A, K, T), nan where its precision is -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        # With a box in the result, pycocotools takes the box's area for the mask's.
        results = [{k: v for k, v in r.items() if task == "bbox" or k != "bbox"} for r in results]
        evaluation = COCOeval(truth, truth.loadRes(results), task)
        evaluation.params.areaRng = [[r.low, r.high] for r in ranges]
        evaluation.params.areaRngLbl = [r.name for r in ranges]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]  # (T, recall, K, A)
    return np.where(precision[:, 0] > -1, precision.mean(axis=1), np.nan).transpose(2, 1, 0)


def with_copies(content: dict[str, Any], results: list[dict[str, Any]], times: np.ndarray) -> tuple[dict, list]:
    """Image k of ascending ids ``times[k]`` times, as images of their own side by side."""
    images, annotations, copied = [], [], []
    for image, many in zip(sorted(content["images"], key=lambda image: image["id"]), times, strict=True):
        for _ in range(many):
            new = {"image_id": len(images) + 1}
            images.append({**image, "id": new["image_id"]})
            annotations += [{**a, **new} for a in content["annotations"] if a["image_id"] == image["id"]]
            copied += [{**r, **new} for r in results if r["image_id"] == image["id"]]
    annotations = [{**annotation, "id": k} for k, annotation in enumerate(annotations, 1)]
    return {**content, "images": images, "annotations": annotations}, copied


def ours(truth: GroundTruth, results: list[dict[str, Any]], weights: np.ndarray) -> tuple[np.ndarray, bool]:
    """(B, A, K, T), and whether ties had to be unrolled."""
    images, categories = len(truth.image_ids), len(truth.category_ids)
    matches = match(truth, detections(results, Path("results"), truth), RANGES)
    curves = build_curves(matches, images, categories, copies=int(weights.max()))
    return average_precision(curves, weights.astype(np.int32), count_objects(truth, RANGES)), curves.has_ties


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("coarse", [False, True])
def test_equals_pycocotools(task: str, coarse: bool) -> None:
    """Every area range, category and threshold."""
    for seed in range(5):
        content, (results,) = made_up_data(seed, coarse)
        truth = ground_truth(content, Path("annotations"), task)
        once, _ = ours(truth, results, np.ones((1, 12)))
        np.testing.assert_allclose(once[0], official(content, results, task=task), rtol=0, atol=1e-12)


@pytest.mark.parametrize("coarse", [False, True])
def test_resamples_equal_pycocotools_on_written_out_copies(coarse: bool) -> None:
    """The slow reference: pycocotools from the start for each resample."""
    unrolled = []
    for seed in range(4):
        content, (results,) = made_up_data(seed, coarse)
        drawn = draw_images(12, 4, seed)
        fast, has_ties = ours(ground_truth(content, Path("annotations"), "bbox"), results, drawn)
        unrolled.append(has_ties)
        for row, times in zip(fast, drawn, strict=True):
            np.testing.assert_allclose(row, official(*with_copies(content, results, times)), rtol=0, atol=1e-12)
    assert all(unrolled) if coarse else not any(unrolled)


def test_intervals_equal_the_slow_references() -> None:
    content, files = made_up_data(3, coarse=True, files=2)
    truth = ground_truth(content, Path("annotations"), "bbox")
    found = measure(
        truth, {name: detections(r, Path(name), truth) for name, r in zip("AB", files, strict=True)}, (), 12, seed=5
    )
    slow = np.array(
        [
            [mean_over_categories(official(*with_copies(content, results, times), COCO_RANGES)) for results in files]
            for times in draw_images(12, 12, seed=5)
        ]
    )  # (R, F, A)
    for difference, area in zip(found["differences"], (1, 0), strict=True):
        expected = 100 * (slow[:, 1, area] - slow[:, 0, area])
        got = difference["resampled"]
        assert got["mean"] == pytest.approx(expected.mean(), abs=1e-10)
        assert difference["bias"] == pytest.approx(expected.mean() - difference["observed"], abs=1e-10)
        assert [got["low"], got["high"]] == pytest.approx(np.percentile(expected, [2.5, 97.5]), abs=1e-10)
        assert difference["second_beats_first"] == pytest.approx((expected > 0).mean())
    for file, results, of_slow in zip(found["files"], files, slow.transpose(1, 0, 2), strict=True):
        observed = 100 * mean_over_categories(official(content, results, COCO_RANGES))
        moved = 100 * of_slow - 100 * of_slow.mean(axis=0) + observed
        for metric, area in (("AP_S", 1), ("AP", 0)):
            expected = np.percentile(moved[:, area], [2.5, 97.5]).clip(0, 100)
            got = file["intervals"][metric]
            assert [got["low"], got["high"]] == pytest.approx(expected, abs=1e-10)
            assert got["bias"] == pytest.approx(100 * of_slow[:, area].mean() - observed[area], abs=1e-10)


def test_summary_equals_pycocotools_own() -> None:
    content, (results,) = made_up_data(1, coarse=False)
    truth = ground_truth(content, Path("annotations"), "bbox")
    found = measure(truth, {"A": detections(results, Path("A"), truth)}, size_bins([40]), 0, 0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = dict(zip(("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"), evaluation.stats[:6], strict=True))
    (file,) = found["files"]
    assert list(file["values"]) == ["AP_S", "AP", "AP50", "AP75", "AP_M", "AP_L"]
    for metric, value in expected.items():
        assert file["values"][metric] == pytest.approx(None if value < 0 else 100 * value, abs=1e-10)
    small = evaluation.eval["precision"][:, :, 2, 1, -1]
    assert file["per_category"]["c3"]["AP_S"] == pytest.approx(100 * small[small > -1].mean(), abs=1e-10)
    counted = [a for a in content["annotations"] if not a["iscrowd"] and a["area"] >= 0]
    assert [size["objects"] for size in found["sizes"]] == [
        sum(a["area"] < 1600 for a in counted),
        sum(a["area"] >= 1600 for a in counted),
    ]
    assert file["intervals"] == {"AP_S": None, "AP": None}


def one_image(*scores_and_boxes: tuple[float, list[float]], objects: list[list[float]]) -> float:
    content = {
        "images": [{"id": 1, "width": 100, "height": 100, "file_name": "1.jpg"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            # Id 0, which pycocotools takes for "not matched", counts like any other here.
            {"id": k, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for k, box in enumerate(objects)
        ],
    }
    truth = ground_truth(content, Path("annotations"), "bbox")
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for score, box in scores_and_boxes]
    found = measure(truth, {"A": detections(results, Path("A"), truth)}, size_bins(), 0, 0)
    return found["files"][0]["values"]["AP"]


def test_worked_example() -> None:
    """Three objects; true, false, true in order of scores: precision 1 up to recall 1/3, then 2/3 up to 2/3."""
    a, b, c, nothing = [0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [0, 80, 10, 10]
    got = one_image((0.9, a), (0.8, nothing), (0.7, b), objects=[a, b, c])
    assert got == pytest.approx(100 * (34 * 1 + 33 * 2 / 3) / 101)


def test_the_hundred_best_detections_of_an_image_and_category_count() -> None:
    box, nothing = [0, 0, 10, 10], [50, 50, 10, 10]
    false = [(0.9, nothing)] * 99
    assert one_image(*false, (0.5, box), objects=[box]) == pytest.approx(1)  # precision 1 / 100
    assert one_image(*false, (0.9, nothing), (0.5, box), objects=[box]) == 0


def test_recall_levels_are_compared_as_pycocotools_does() -> None:
    """0.29 is a level whose float is not 29 / 100 times anything: searchsorted on the quotients decides."""
    for objects in (1, 3, 7, 50, 100, 399):
        (reached,) = levels_reached(np.array([objects]))
        recall = np.arange(1, objects + 1) / objects
        first = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
        np.testing.assert_array_equal(np.diff(reached), np.bincount(first, minlength=objects))


def test_draws_are_seeded_and_more_of_them_begin_alike() -> None:
    drawn = draw_images(50, 8, seed=3)
    assert (drawn.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(drawn[:3], draw_images(50, 3, seed=3))
    assert (drawn != draw_images(50, 8, seed=4)).any()


def test_resamples_without_an_object_are_left_out() -> None:
    assert spread(np.array([np.nan, 1.0, 3.0])).mean == 2
    assert spread(np.full(3, np.nan)) is None
    assert share_of_wins(np.array([np.nan, 1.0, 0.0, -1.0])) == 0.5
    moved = spread_around(0.1, np.array([0.2, 0.4, 0.6]))
    assert (moved.mean, moved.low) == (0.1, 0)
    assert moved.high == pytest.approx(0.59 - 0.3)
