"""One field of a result.json damaged, whichever it is: the report is made, of the other results at least."""

import json

import pytest

from clsa.configs.command import InputError
from clsa.configs.run_files import RESULT_KEYS
from clsa.reproduce.checked import read_checked
from clsa.reproduce.claims import read_claims
from clsa.reproduce.content import build_content
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.ledger import read_ledger
from clsa.reproduce.plots.detection_sheet import detection_plot
from clsa.reproduce.plots.gallery import all_plots
from clsa.reproduce.saved_detections import SavedDetections
from clsa.reproduce.tables import build_tables
from clsa.reproduce.write_csv import csv_text
from clsa.reproduce.write_latex import latex_text
from clsa.reproduce.write_markdown import markdown_text
from clsa.reproduce.write_terminal import terminal_text

#: A field that is not there.
DELETED = ...
WRONG = (None, [1], DELETED, "x", 3)
SHARED = {
    "schema_version": 1,
    "engine": "torchvision",
    "weights": {
        "file": "backbone.pth",
        "sha256": "ab" * 32,
        "method": "moco_v2",
        "architecture": {"depth": 50},
        "source": {
            "file": "/nowhere/checkpoint.pth",
            "sha256": "cd" * 32,
            "format": "clsa-pretrain",
            "network": "query network",
            "method": "moco_v2",
            "epoch": 200,
            "iteration": 1000,
        },
    },
    "dataset": {
        "name": "coco_2017_val",
        "root": "/nowhere",
        "fingerprint": {"images": 40, "file_list_sha256": "ef" * 32},
        "miniature": {"size": "tiny", "seed": 0},
    },
    "seed": 0,
    "trial": 0,
    "wall_seconds": 60.0,
    "versions": {},
    "git_commit": None,
    "created": "",
}
DETECTION = {
    **SHARED,
    "stage": "detection",
    "protocol": "coco-r50-c4-2x",
    "metric_flavour": "COCO",
    "values": {"bbox/AP": 40.0, "bbox/AP50": 60.0, "bbox/APs": 20.0, "bbox/APm": None},
    "per_class": {"bbox/AP": {"person": 40.0, "bicycle": None}, "bbox/APs": {"person": 20.0}},
    "details": {
        "flavours": {"bbox": "COCO"},
        "protocol_check": {
            "nearest": "coco-r50-c4-2x",
            "follows_scaling_rule": None,
            "differences": [{"key": "SOLVER.BASE_LR", "value": 0.1, "protocol_value": 0.02, "why": ""}],
        },
    },
    "config": {"MODEL": {"RESNETS": {"DEPTH": 50}}, "SOLVER": {"MAX_ITER": 10}},
}
FLAVOURS = {"mAP envelope": "class mAP, envelope", "per-image AP": "per-image AP"}
SVM = {
    **SHARED,
    "stage": "classification",
    "protocol": "voc07-svm-fair26-best-of-res4+avgpool",
    "metric_flavour": "class mAP, envelope",
    "values": {"mAP envelope": 80.0, "per-image AP": 85.0},
    "per_class": {"mAP envelope": {"person": 80.0}},
    "details": {
        "features": "backbone",
        "layer": "avgpool",
        "flavours": FLAVOURS,
        "best_layer": "avgpool",
        "best_layer_on_test": "avgpool",
        "figures_by_layer": {
            "res4": {"dimensions": 9216, "mAP envelope": 70.0},
            "avgpool": {"dimensions": 2048, "mAP envelope": 80.0},
        },
    },
    "config": {"FEATURES": {"REESTIMATE_BN": False, "LAYERS": ["res4", "avgpool"]}, "SVM": {"GRID": "fair26"}},
}
DRAWS = {"mAP envelope": {"mean": 41.0, "std": 1.0, "samples": [40.0, 42.0]}}
LOWSHOT = {
    **SVM,
    "protocol": "voc07-lowshot-fair26",
    "values": {"cross_validated, k=1": 41.0, "oracle_c, k=1": 41.0},
    "per_class": {},
    "details": {"features": "backbone", "low_shot": {"1": {"cross_validated": DRAWS, "oracle_c": DRAWS, "fits": 5}}},
}


@pytest.mark.parametrize("good", [DETECTION, SVM, LOWSHOT], ids=["detection", "svm", "lowshot"])
def test_a_report_is_made_whatever_field_is_damaged(good, tmp_path, places, changed) -> None:
    ledger, claims = read_ledger(), read_claims()
    for name in ("damaged", "whole"):
        (tmp_path / name).mkdir()
    (tmp_path / "whole" / "result.json").write_text(json.dumps({**good, "seed": 1, "trial": 1}))
    named = 0
    for i, place in enumerate(places(good)):
        for wrong in (WRONG[i % 5], WRONG[(i + 2) % 5]):  # two of the five kinds in turn: time is short
            (tmp_path / "damaged" / "result.json").write_text(json.dumps(changed(good, place, wrong)))
            try:
                gathered = gather_folders([RunFolder(tmp_path)], tmp_path / "report")
                tables = build_tables(gathered, ledger)
                plots = all_plots(tables, gathered, None)
                content = build_content(gathered, tables, ledger, claims)
                for write in (csv_text, latex_text, terminal_text):
                    write(content)
                markdown_text(content, plots)
            except Exception as error:
                raise AssertionError(f"{place} {wrong!r} stopped the report: {error!r}") from error
            assert gathered.measured, f"{place} {wrong!r} took the whole result with it: {gathered.left_out}"
            named += bool(gathered.left_out)
    assert named > 15


@pytest.mark.parametrize(
    ("place", "wrong", "said"),
    [
        ("dataset.fingerprint", "x", "dataset.fingerprint is 'x', it must be a mapping"),
        ("dataset.miniature", 3, "dataset.miniature is 3, it must be a mapping"),
        ("weights.source", "x", "weights.source is 'x', it must be a mapping"),
        ("weights.sha256", [1], r"weights.sha256 is \[1\], it must be a text"),
        ("weights.source.epoch", [1], r"weights.source.epoch is \[1\], it must be a whole number"),
        ("wall_seconds", "x", "wall_seconds is 'x', it must be a number"),
        ("wall_seconds", float("nan"), "wall_seconds is nan, it must be a number"),
        ("seed", True, "seed is True, it must be a whole number"),
        ("per_class", None, "per_class is None, it must be a mapping"),
        ("per_class.bbox/AP.person", "x", "per_class.bbox/AP.person is 'x', it must be a number"),
        ("values.bbox/AP", 140, "bbox/AP is 140, it must be a percentage in 0..100"),
        ("dataset.name", DELETED, "dataset.name is missing, it must be a text"),
        ("details.protocol_check.differences.0.key", DELETED, "differences.0.key is missing, it must be a text"),
    ],
)
def test_the_damaged_field_is_named(place, wrong, said, tmp_path, changed) -> None:
    keys = tuple(int(key) if key.isdecimal() else key for key in place.split("."))
    path = tmp_path / "result.json"
    path.write_text(json.dumps(changed(DETECTION, keys, wrong)))
    with pytest.raises(InputError, match=said):
        read_checked(path)


def test_the_whole_results_are_read(tmp_path) -> None:
    for result in (DETECTION, SVM, LOWSHOT):
        assert set(result) == set(RESULT_KEYS)
        (tmp_path / "result.json").write_text(json.dumps(result))
        assert read_checked(tmp_path / "result.json") == result


def test_an_image_without_a_file_name_is_named_and_costs_the_sheet_alone(tmp_path) -> None:
    folder = tmp_path / "coco" / "annotations"
    folder.mkdir(parents=True)
    box = {"image_id": 7, "category_id": 1, "bbox": [10, 10, 20, 20]}
    annotations = [{"id": 1, **box, "area": 300, "iscrowd": 0}]
    content = {"images": [{"id": 7}], "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "instances_val2017.json").write_text(json.dumps(content))
    run = tmp_path / "run"
    (run / "inference").mkdir(parents=True)
    (run / "inference" / "coco_instances_results.json").write_text(json.dumps([{**box, "score": 0.9}]))
    (run / "result.json").write_text(json.dumps(DETECTION))
    gathered = gather_folders([RunFolder(run)], tmp_path / "report")
    assert detection_plot(gathered, SavedDetections(gathered, tmp_path)) is None
    (said,) = gathered.left_out
    assert "The sheet of detections: image 7 of" in said
    assert "has the file_name None, it must be the name of a file" in said
