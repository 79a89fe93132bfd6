"""How the report is written down: nothing beyond the terminal's width, long lists folded, both counts of a mean."""

import csv
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.run_files import write_result
from clsa.reproduce.comparisons import compare
from clsa.reproduce.content import Content
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.headline import Headline
from clsa.reproduce.html_parts import css_class, note, plain_table
from clsa.reproduce.ledger import read_ledger
from clsa.reproduce.tables import build_tables
from clsa.reproduce.write_csv import csv_text
from clsa.reproduce.write_html import html_text
from clsa.reproduce.write_markdown import markdown_text
from clsa.reproduce.write_terminal import terminal_text

LONG = "COCO AP_S (boxes): CLSA-Single (21.3) is 3.4 points below MoCo v2 (24.7), " * 6
PATH = "/data/" + "a_long_folder/" * 12 + "result.json"
SETTINGS = [f"MODEL.RPN.KEY_{k} {k} ({k + 1})" for k in range(29)]
NOTE = f"x is not y. 29 settings that move AP differ, of proposals (there in brackets): {'; '.join(SETTINGS)}"


def put(folder: Path, method: str, values: dict, trial: int, sha: str, **changes) -> None:
    """A detector under MoCo's VOC protocol, measured in full."""
    write_result(
        folder,
        **{
            "stage": "detection",
            "protocol": "voc-r50-c4-24k",
            "metric_flavour": "VOC 11-point, IoU .50:.95",
            "engine": "detectron2",
            **changes,
        },
        values=values,
        per_class={},
        weights={"file": "w.pkl", "sha256": sha, "architecture": {"depth": 50}, "source": {"method": method}},
        dataset={"name": "voc_2007_test", "fingerprint": {"images": 4952}, "miniature": None},
        seed=trial,
        trial=trial,
        wall_seconds=1.0,
        config=CfgNode(),
    )


@pytest.fixture
def content(tmp_path: Path) -> Content:
    """Two pretrainings of two trials beside one pretraining of two, and the ledger; a detector with other settings."""
    for pretraining in "ab":
        for trial in (0, 1):
            values = {"bbox/AP": 57.0 + trial + (pretraining == "b"), "bbox/AP50": 83.0}
            put(tmp_path / f"clsa_{pretraining}{trial}", "clsa_multi", values, trial, pretraining)
    for trial in (0, 1):
        put(tmp_path / f"moco_{trial}", "moco_v2", {"bbox/AP": 56.04 + trial, "bbox/AP50": 82.0}, trial, "m")
    differences = [
        {"key": key, "value": k, "protocol_value": k + 1, "why": "..."}
        for k, key in enumerate(("SOLVER.STEPS", "MODEL.RPN.NMS_THRESH", "TEST.DETECTIONS_PER_IMAGE"))
    ]
    check = {"protocol_check": {"nearest": "coco-r50-c4-1x", "differences": differences}}
    coco = {"protocol": "mine", "metric_flavour": "COCO", "details": check}
    put(tmp_path / "coco", "moco_v2", {"bbox/APs": 20.0, "bbox/AP": 38.0}, 0, "m", **coco)
    folders = [RunFolder(folder, "clsa_multi" if "clsa" in folder.name else "") for folder in tmp_path.iterdir()]
    tables = build_tables(gather_folders(sorted(folders, key=lambda f: str(f.path)), tmp_path), read_ledger())
    return Content(
        title="Does it transfer?",
        headline=Headline("Does CLSA-Multi transfer better? " * 5, "", LONG, LONG, LONG),
        facts=[("Data", "x")],
        findings=[LONG, "Short."],
        tables=tables,
        comparisons=compare(tables),
        claims=[],
        durations=[],
        published=read_ledger(),
        left_out=[f"{PATH}: {LONG}"],
    )


@pytest.mark.parametrize("width", [60, 100, 160])
def test_nothing_but_a_path_is_wider_than_the_terminal(content, width) -> None:
    lines = terminal_text(content, width=width).splitlines()
    assert [line for line in lines if len(line) > width] == [f"- {PATH}:"]
    text = " ".join(" ".join(lines).split())
    for sentence in (*content.findings, "They are listed in report.md.", "in brackets: points above or below MoCo v2"):
        assert " ".join(sentence.split()) in text
    assert "SOLVER.STEPS 0 (1)" not in text


def test_settings_are_folded_and_the_rest_is_not(content) -> None:
    page, markdown = html_text(content, [], {}), markdown_text(content, [])
    said = "mine is not coco-r50-c4-1x. 3 settings that move AP differ, of schedule, proposals, detections an image."
    assert f"<p class='note'>{said}</p><details class='note'><summary>The 3 settings" in page
    assert "<li>SOLVER.STEPS 0 (1)</li>" in page
    assert f"{said}\n\n<details><summary>The 3 settings, the protocol's in brackets</summary>\n\n- `SOLVER." in markdown
    assert note(NOTE).count("<li>") == 29
    assert note("AP_S: none.") == "<p class='note'>AP<sub>S</sub>: none.</p>"


def test_verdicts_are_cards_with_ap_small_set_as_everywhere() -> None:
    table = plain_table(["claim", "verdict", "why"], [["A above B, AP_S", "above, beyond noise", "x < y"]], True)
    assert "<table class=cards>" in table
    assert "<th scope='row'>A above B, AP<sub>S</sub></th>" in table
    assert "<td data-name='verdict'><span class='verdict above-beyond-noise'>above, beyond noise</span></td>" in table
    assert "<td data-name='why'>x &lt; y</td>" in table


def test_every_word_of_a_verdict_has_its_look() -> None:
    style = (Path(__file__).parents[1] / "reproduce" / "report.css").read_text()
    for word in ("reproduced", "above, beyond noise", "within noise", "not reproduced", "below, beyond noise"):
        assert f".verdict.{css_class(word)}" in style


def test_a_mean_names_what_it_is_over_and_published_numbers_keep_their_digits(content) -> None:
    assert "CLSA-Multi (2 pretrainings x 2 trials)" in html_text(content, [], {})
    lines = [line for line in csv.DictReader(csv_text(content).splitlines()) if line["metric"] == "box AP"]
    (clsa,) = [line for line in lines if line["method"] == "clsa_multi"]
    assert [clsa[name] for name in ("n", "pretrainings", "trials", "weights")] == ["2", "2", "4", "2"]
    assert (float(clsa["mean"]), float(clsa["std"])) == pytest.approx((58.0, 0.5**0.5))  # 57.5 and 58.5
    assert float(clsa["delta"]) == pytest.approx(58.0 - 56.54)
    for text in (html_text(content, [], {}), markdown_text(content, []), terminal_text(content, width=100)):
        assert "+1.5" in text
        assert "54.19" in text
    assert "59.80" in markdown_text(content, [])
