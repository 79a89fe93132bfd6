"""clsa-ap and files that are broken in one place: an answer, or a sentence that says what is wrong, never a crash."""

import json
from pathlib import Path
from typing import Any

import pytest

from clsa.configs.command import InputError
from clsa.reproduce.ap.annotations import read_annotations
from clsa.reproduce.ap.measure import measure
from clsa.reproduce.ap.results import read_results
from clsa.reproduce.ap.sizes import size_bins
from clsa.reproduce.ap.table import as_text

OBJECT = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
TRUTH = {
    "info": {"description": "x"},
    "images": [{"id": 7, "width": 20, "height": 20, "file_name": "7.jpg"}],
    "categories": [{"id": 3, "name": "dog"}],
    "annotations": [{**OBJECT, "segmentation": [[0, 0, 5, 0, 5, 5, 0, 5]]}],
}
MASK = {"size": [20, 20], "counts": [0, 5, 395]}
RESULTS = [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.5, "segmentation": MASK}]
#: ``...``: not there at all.
ODD = (None, "x", float("inf"), {"a": 1}, 10**400, ...)


def average_precision(folder: Path, truth: Any, results: Any, iou_type: str) -> dict[str, Any]:
    """Through files, the table and strict JSON, as the command does it."""
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    ground = read_annotations(folder / "truth.json", iou_type)
    found = measure(ground, {"A": read_results(folder / "results.json", ground)}, size_bins([32]), 2, 0)
    assert as_text(found)
    assert json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_no_odd_value_in_any_one_place_makes_a_crash(tmp_path, iou_type, places, changed) -> None:
    said = []
    cases = [(changed(TRUTH, path, value), RESULTS) for path in places(TRUTH) for value in ODD]
    cases += [(TRUTH, changed(RESULTS, path, value)) for path in places(RESULTS) for value in ODD]
    for truth, results in cases:
        try:
            average_precision(tmp_path, truth, results, iou_type)
        except InputError as error:
            said.append(str(error))
    assert len(cases) / 4 < len(said) < len(cases)
    assert all(str(tmp_path) in sentence for sentence in said)


@pytest.mark.parametrize("coordinate", [float("inf"), 1e300, 10**400, 1e7])
def test_a_polygon_far_outside_the_image_is_refused(tmp_path, coordinate, changed) -> None:
    """pycocotools walks along it pixel by pixel: for minutes, then out of its memory."""
    truth = changed(TRUTH, ("annotations", 0, "segmentation", 0, 3), coordinate)
    with pytest.raises(InputError, match="annotation 1: segmentation is a polygon with the coordinate"):
        average_precision(tmp_path, truth, RESULTS, "segm")


def test_a_polygon_that_reaches_over_the_edge_is_not(tmp_path, changed) -> None:
    truth = changed(TRUTH, ("annotations", 0, "segmentation", 0), [-3, 0, 5, 0, 5, 5, -3, 5])
    assert average_precision(tmp_path, truth, RESULTS, "segm")["objects"]["AP"] == 1


def test_run_lengths_that_do_not_fill_the_image_are_refused(tmp_path, changed) -> None:
    results = changed(RESULTS, (0, "segmentation", "counts"), [0, 5, 4000])
    with pytest.raises(InputError, match="run lengths that do not add up to the image's 400 pixels"):
        average_precision(tmp_path, TRUTH, results, "segm")


@pytest.mark.parametrize("info", [None, [], ["x"], "x", {"description": None}])
def test_whatever_info_is_it_is_no_error(tmp_path, info) -> None:
    found = average_precision(tmp_path, {**TRUTH, "info": info}, RESULTS, "bbox")
    assert found["files"][0]["values"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("area", [float("nan"), float("inf"), None, "25"])
def test_an_area_that_is_no_number_is_refused_and_the_object_does_not_vanish(tmp_path, area, changed) -> None:
    truth = changed(TRUTH, ("annotations", 0, "area"), area)
    with pytest.raises(InputError, match=r"annotation 1 needs .* a finite area"):
        average_precision(tmp_path, truth, RESULTS, "bbox")
