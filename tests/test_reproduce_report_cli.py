"""``clsa-report``: any folders, methods by manifest or by name, published rows beside, files for a paper."""

import csv
import json
import shutil

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.run_files import write_result
from clsa.reproduce.report_cli import main
from clsa.reproduce.write_latex import escape

FLAVOUR = "VOC 11-point, IoU .50:.95"


def put(folder, ap50, weights, seed=0, **changes) -> None:
    """A detector on the whole of VOC07, under the published protocol."""
    write_result(
        folder,
        **{
            "stage": "detection",
            "protocol": "voc-r50-c4-24k",
            "metric_flavour": FLAVOUR,
            "values": {"bbox/AP": 57.0, "bbox/AP50": ap50, "bbox/AP75": 63.0},
            "engine": "detectron2",
            "details": {"protocol_check": {"nearest": "voc-r50-c4-24k", "differences": []}},
            **changes,
        },
        per_class={},
        weights=weights,
        dataset={"name": "voc_2007_test", "fingerprint": {"images": 4952}, "miniature": None},
        seed=seed,
        trial=seed,
        wall_seconds=60.0,
        config=CfgNode(),
    )


def weights(method, sha="a"):
    source = {"format": "clsa-pretrain", "method": method, "epoch": 200}
    return {"file": "w.pkl", "sha256": sha * 64, "architecture": {"depth": 50}, "source": source}


@pytest.fixture
def runs(tmp_path):
    for k, (moco, clsa) in enumerate(((82.3, 83.1), (82.4, 83.2), (82.5, 83.3))):
        put(tmp_path / "moco" / f"trial_{k}", moco, weights("moco_v2"), k)
        put(tmp_path / "clsa" / f"trial_{k}", clsa, weights("clsa_multi", "b"), k)
    return tmp_path


def test_a_report_of_two_folders_of_trials(runs, capsys) -> None:
    mine = runs / "mine.yaml"
    mine.write_text(
        "entries:\n  - {method: Ours_100%, protocol: voc-r50-c4-24k, engine: detectron2, "
        f"metric_flavour: '{FLAVOUR}', values: {{bbox/AP50: 81.0}}, source: our notes, status: unverified}}\n"
    )
    arguments = [str(runs / "moco"), str(runs / "clsa"), "--output", str(runs / "report"), "--ledger", str(mine)]
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())  # lines are wrapped
    assert "Does CLSA-Multi transfer better than MoCo v2?" in shown
    assert "MoCo v2, 200 epochs (published, verified: detection/README of facebookresearch/moco, 5 trials)" in shown
    markdown = (runs / "report" / "report.md").read_text()
    assert "| CLSA-Multi | 3 | 57.0 ± 0.00 (+0.0) | **83.2 ± 0.10** (+0.8) |" in markdown
    assert "*Ours_100% (published, unverified: our notes)*" in markdown
    tex = (runs / "report" / "report.tex").read_text()
    assert r"CLSA-Multi & 3 & 57.0 & \textbf{83.2} & " in tex
    assert r"Ours\_100\%" in tex
    assert "unverified: our notes" in tex
    for name in ("table", "tabular"):
        assert tex.count(rf"\begin{{{name}}}") == tex.count(rf"\end{{{name}}}") == 1
    lines = list(csv.DictReader((runs / "report" / "report.csv").open()))
    assert {(line["origin"], line["protocol"], line["flavour"]) for line in lines} == {
        ("measured", "voc-r50-c4-24k", FLAVOUR),
        ("published", "voc-r50-c4-24k", FLAVOUR),
    }


def test_without_moco_v2_random_init_is_the_baseline(runs, capsys) -> None:
    put(runs / "random", 59.0, {"file": None, "sha256": None, "architecture": {"depth": 50}})
    assert main([str(runs / "clsa"), str(runs / "random"), "--output", str(runs / "report")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "MoCo v2 was not measured here; the baseline is Random init." in shown
    report = json.loads((runs / "report" / "report.json").read_text())
    assert [(c["method"], c["published"]) for c in report["comparisons"]] == [
        ("CLSA-Multi", False),
        ("CLSA-Multi", True),
    ]
    assert report["tables"][0]["baseline"] == "random_init"
    assert main([str(runs / "clsa"), "--output", str(runs / "report"), "--baseline", "hog"]) == 1
    assert "--baseline is 'hog', the methods here are clsa_multi" in capsys.readouterr().err


def test_several_pretrainings_are_one_row_only_under_one_name(runs) -> None:
    put(runs / "again" / "trial_0", 81.0, weights("moco_v2", "c"))
    report = runs / "report"
    folders = [str(runs / name) for name in ("moco", "again", "clsa")]
    assert main([*folders, "--output", str(report)]) == 0
    table = json.loads((report / "report.json").read_text())["tables"][0]
    labels = [row["label"] for row in table["rows"]]
    assert labels == ["MoCo v2 (weights aaaaaaaa)", "MoCo v2 (weights cccccccc)", "CLSA-Multi"]
    assert "so there is no one baseline and no delta" in table["notes"][0]
    named = [f"moco_v2={folders[0]}", f"moco_v2={folders[1]}", folders[2]]
    assert main([*named, "--output", str(report)]) == 0
    table = json.loads((report / "report.json").read_text())["tables"][0]
    assert [len(row["samples"][1]["values"]) for row in table["rows"]] == [4, 3]


def test_what_cannot_be_used_is_named_and_the_report_is_made(runs) -> None:
    put(runs / "foreign", 80.0, {"file": "x.pkl", "sha256": "d" * 64})
    put(runs / "flavourless", 80.0, weights("swav", "e"), metric_flavour="")
    shutil.copytree(runs / "moco" / "trial_0", runs / "copy")
    (runs / "torn").mkdir()
    (runs / "torn" / "result.json").write_text("{")
    assert main([str(runs), "--output", str(runs / "report")]) == 0
    left_out = "\n".join(json.loads((runs / "report" / "report.json").read_text())["left_out"])
    for sentence in (
        "foreign/result.json: neither the result nor its weights' manifest names a method. Name it: NAME=",
        "flavourless/result.json: metric_flavour is empty",
        "same method, weights, protocol, settings, seed and trial as",
        "torn/result.json is not a readable result",
    ):
        assert sentence in left_out
    assert len(left_out.splitlines()) == 4


def test_what_is_not_there_is_said(tmp_path, capsys) -> None:
    assert main([str(tmp_path / "none"), "--output", str(tmp_path)]) == 1
    assert "none is not a folder" in capsys.readouterr().err
    assert main([str(tmp_path), "--output", str(tmp_path)]) == 1
    assert "there is no result.json below" in capsys.readouterr().err


def test_latex_prints_what_was_written() -> None:
    assert escape("50 % of a_b & AP_S, 32²") == r"50 \% of a\_b \& AP$_S$, 32$^2$"
