"""The report: like beside like, the stronger random start, damaged files named, every format whole."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fvcore.common.config import CfgNode
from PIL import Image

from clsa.configs.loading import load_config
from clsa.configs.run_files import write_result
from clsa.reproduce.config import get_cfg
from clsa.reproduce.findings import difference, findings
from clsa.reproduce.gather import gather
from clsa.reproduce.report import make_report
from clsa.reproduce.tables import build_tables

METHODS = ["chance", "random_init", "moco_v2", "clsa_single"]
WORLD = {"size": "tiny", "seed": 0}
COCO = {"bbox/AP": 10.0, "bbox/AP50": 20.0, "bbox/AP75": 8.0, "bbox/APs": 4.0, "bbox/APm": 12.0, "bbox/APl": None}


def put(folder: Path, values: dict, **changes) -> None:
    """A result.json with these values; by default a VOC07 SVM."""
    result = {
        "stage": "classification",
        "protocol": "voc07-svm-mini5",
        "metric_flavour": "class mAP, envelope",
        "engine": "scikit-learn",
        "name": "voc_2007_test",
        "world": WORLD,
        "seed": 0,
        **changes,
    }
    name, world = result.pop("name"), result.pop("world")
    dataset = {"name": name, "fingerprint": {"images": 40, "file_list_sha256": "ab" * 32}, "miniature": world}
    write_result(
        folder,
        values=values,
        per_class={},
        weights={"file": None, "sha256": None},
        dataset=dataset,
        trial=result.pop("trial", 0),
        wall_seconds=61.0,
        config=CfgNode(),
        **result,
    )


def put_coco(folder: Path, values: dict, **changes) -> None:
    standard = {"stage": "detection", "protocol": "mini-coco", "metric_flavour": "COCO", "engine": "torchvision"}
    put(folder, values, **{**standard, "name": "coco_2017_val", **changes})


def tables(output: Path) -> dict:
    return {table.key: table for table in build_tables(gather(output, METHODS))}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three methods and a baseline, with curves and detections on two images."""
    for method, value in (("moco_v2", 24.71), ("clsa_single", 21.34), ("random_init", 12.7)):
        put(tmp_path / method / "classify" / "svm", {"mAP envelope": value, "per-image AP": value + 10})
        put_coco(tmp_path / method / "detect" / "coco", {k: v and v + value for k, v in COCO.items()})
        detections = [{"image_id": 7, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}]
        target = tmp_path / method / "detect" / "coco" / "inference" / "coco_instances_results.json"
        target.parent.mkdir()
        target.write_text(json.dumps(detections))
        lines = [
            {"iteration": i, "loss_contrastive": 4 - i / 10, "acc1_batch": 5.0 * i, "acc1_bank": 1.0, "loss_ddm": None}
            for i in (1, 2, 3)
        ]
        (tmp_path / method / "pretrain").mkdir()
        if method != "random_init":
            (tmp_path / method / "pretrain" / "metrics.json").write_text("\n".join(map(json.dumps, lines)))
    put(tmp_path / "random_init" / "classify" / "svm_bn_reestimated", {"mAP envelope": 13.2, "per-image AP": 20.0})
    put(tmp_path / "chance" / "classify" / "svm", {"mAP envelope": 7.0, "per-image AP": 18.0})
    coco = tmp_path / "data" / "world" / "coco"
    (coco / "val2017").mkdir(parents=True)
    (coco / "annotations").mkdir()
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(coco / "val2017" / "7.jpg")
    annotations = [
        {"image_id": 7, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 300, "iscrowd": 0},
        {"image_id": 7, "category_id": 2, "bbox": [30, 10, 45, 45], "area": 1500, "iscrowd": 0},
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    content = {"images": [{"id": 7, "file_name": "7.jpg"}], "annotations": annotations, "categories": categories}
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def cfg() -> CfgNode:
    return load_config(get_cfg(), "configs/reproduce/mini.yaml", ["CLASSIFY.BASELINES", "['chance']"])


def test_ap_small_comes_first_and_holds_every_method(run) -> None:
    found = tables(run)
    assert list(found) == ["ap_small", "coco_boxes", "voc07_svm"]
    small = found["ap_small"]
    assert [column.label for column in small.columns] == ["box AP_S"]
    assert {row.method: row.values for row in small.rows} == {
        "random_init": (16.7,),
        "moco_v2": (28.71,),
        "clsa_single": (25.34,),
    }


def test_the_stronger_random_start_is_shown_and_named(run) -> None:
    table = tables(run)["voc07_svm"]
    row = table.row("random_init")
    assert (row.label, row.values) == ("Random init (BN re-estimated)", (13.2, 20.0))
    said = "Random init: 13.2 with BN re-estimated and 12.7 with BN as initialised; the stronger of the two is shown."
    assert table.notes == (said,)


def test_what_a_detector_did_otherwise_than_its_protocol_is_said_once(tmp_path) -> None:
    check = {
        "nearest": "coco-r50-fpn-1x-moco-2fc",
        "differences": [
            {"key": "MODEL.RESNETS.NORM", "value": "BN", "protocol_value": "SyncBN", "why": "..."},
            {"key": "SOLVER.STEPS", "value": [340], "protocol_value": [60000, 80000], "why": "..."},
        ],
    }
    put_coco(tmp_path / "moco_v2" / "detect" / "coco", COCO, details={"protocol_check": check})
    put_coco(tmp_path / "clsa_single" / "detect" / "coco", COCO, details={"protocol_check": check})
    found = tables(tmp_path)
    assert found["coco_boxes"].notes == (
        "mini-coco is not coco-r50-fpn-1x-moco-2fc. 2 settings that move AP differ, of normalisation, schedule "
        "(there in brackets): MODEL.RESNETS.NORM BN (SyncBN); SOLVER.STEPS [340] ([60000, 80000])",
    )
    assert found["ap_small"].notes == ()


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "voc07-svm-fair26"},
        {"engine": "liblinear"},
        {"name": "voc_2007_val"},
    ],
)
def test_what_was_measured_otherwise_gets_a_table_of_its_own(tmp_path, change) -> None:
    put(tmp_path / "moco_v2" / "classify" / "svm", {"mAP envelope": 24.7})
    put(tmp_path / "clsa_single" / "classify" / "svm", {"mAP envelope": 21.3}, **change)
    found = tables(tmp_path)
    assert [(key, [row.values for row in table.rows]) for key, table in found.items()] == [
        ("voc07_svm", [(24.7,)]),
        ("voc07_svm_2", [(21.3,)]),
    ]
    assert len({table.title for table in found.values()}) == 2


@pytest.mark.parametrize("world", [{"size": "tiny", "seed": 1}, None])
def test_a_result_from_other_data_of_the_same_name_is_left_out_and_named(tmp_path, world) -> None:
    for method in ("chance", "moco_v2"):
        put(tmp_path / method / "classify" / "svm", {"mAP envelope": 24.7})
    put(tmp_path / "clsa_single" / "classify" / "svm", {"mAP envelope": 21.3}, world=world)
    found = gather(tmp_path, METHODS)
    assert [m.method for m in found.measured] == ["chance", "moco_v2"]
    (said,) = found.left_out
    assert "clsa_single/classify/svm/result.json: its voc_2007_test has other images" in said
    assert "than that of 2 other results of voc07-svm-mini5 (40 images, miniature world of seed 0)" in said


def test_other_settings_under_the_same_protocol_do_not_share_a_table(tmp_path) -> None:
    lr = {"key": "SOLVER.BASE_LR", "value": 0.1, "protocol_value": 0.02, "why": "..."}
    for method, differences in (("moco_v2", []), ("clsa_single", [lr])):
        check = {"nearest": "coco-r50-fpn-1x-moco-2fc", "differences": differences}
        put_coco(tmp_path / method / "detect" / "coco", COCO, details={"protocol_check": check})
    small = [table for table in tables(tmp_path).values() if table.key.startswith("ap_small")]
    assert [[row.method for row in table.rows] for table in small] == [["moco_v2"], ["clsa_single"]]
    assert "settings" in small[1].columns[0].protocol.title


def test_trials_one_level_deeper_become_mean_and_standard_deviation(tmp_path, cfg) -> None:
    for k, value in enumerate((20.0, 21.0, 23.0)):
        put_coco(tmp_path / "moco_v2" / "detect" / "coco" / f"trial_{k}", {"bbox/APs": value}, seed=k, trial=k)
    put_coco(tmp_path / "clsa_single" / "detect" / "coco", {"bbox/APs": 24.0})
    table = tables(tmp_path)["ap_small"]
    row = table.row("moco_v2")
    assert row.trials == 3
    assert row.values[0] == pytest.approx(64 / 3)
    assert row.samples[0].std == pytest.approx((7 / 3) ** 0.5)  # deviations -4/3, -1/3, 5/3 over n - 1
    assert table.delta_text(table.row("clsa_single"), 0) == "+2.7"
    make_report(cfg, tmp_path)
    assert "| MoCo v2 | 3 | 21.3 ± 1.53 |" in (tmp_path / "report.md").read_text()
    lines = list(csv.DictReader((tmp_path / "report.csv").open()))
    (moco,) = [line for line in lines if line["table"] == "ap_small" and line["method"] == "moco_v2"]
    assert (moco["trials"], moco["protocol"], moco["flavour"]) == ("3", "mini-coco", "COCO")
    assert float(moco["std"]) == pytest.approx((7 / 3) ** 0.5)
    assert moco["source"].count("result.json") == 3


def test_the_planners_report_takes_its_baseline_from_the_config(tmp_path) -> None:
    for method, value in (("random_init", 12.0), ("moco_v2", 18.0), ("clsa_single", 22.0)):
        put(tmp_path / method / "classify" / "svm", {"mAP envelope": value})
    make_report(load_config(get_cfg(), "configs/reproduce/mini.yaml", ["BASELINE", "random_init"]), tmp_path)
    comparisons = json.loads((tmp_path / "report.json").read_text())["comparisons"]
    assert [(c["method"], c["baseline"]) for c in comparisons] == [
        ("MoCo v2", "Random init"),
        ("CLSA-Single", "Random init"),
    ]


def test_the_same_trial_twice_counts_once(tmp_path) -> None:
    for folder in ("a", "b"):
        put_coco(tmp_path / "moco_v2" / "detect" / folder, {"bbox/APs": 20.0})
    found = gather(tmp_path, METHODS)
    assert len(found.measured) == 1
    assert "same method, weights, protocol, settings, seed and trial as" in found.left_out[0]


def put_voc(folder: Path, small: float | None, difficult: str = "ignored") -> None:
    """A detector on VOC with VOC's AP and, of the same detections, the figures of VOC's COCO form."""
    form = {f"bbox_coco_form/{key}": 20.0 for key in ("AP", "AP50", "AP75", "APm", "APl")}
    flavour = "VOC 11-point, IoU .50:.95"
    put(
        folder,
        {"bbox/AP": 30.0, "bbox/AP50": 50.0, **form, "bbox_coco_form/APs": small},
        stage="detection",
        protocol="mini-voc",
        engine="torchvision",
        metric_flavour=flavour,
        details={"flavours": {"bbox": flavour, "bbox_coco_form": f"COCO form of VOC, difficult {difficult}"}},
    )


def test_vocs_coco_form_has_a_table_of_its_own_with_ap_small_first(tmp_path, cfg) -> None:
    put_voc(tmp_path / "moco_v2" / "detect" / "voc", 4.25)
    put_voc(tmp_path / "clsa_single" / "detect" / "voc", 5.5, difficult="crowd")
    put_coco(tmp_path / "moco_v2" / "detect" / "coco", COCO)
    found = tables(tmp_path)
    assert list(found) == ["ap_small", "coco_boxes", "voc", "voc_coco_form"]
    form = found["voc_coco_form"]
    # a column for each treatment of difficult objects
    labels = ["box AP_S", "box AP_M", "box AP_L", "box AP", "box AP50", "box AP75"]
    assert [column.label for column in form.columns[::2]] == [column.label for column in form.columns[1::2]] == labels
    assert {column.flavour for column in form.columns[::2]} == {"COCO form of VOC, difficult ignored"}
    assert {column.flavour for column in form.columns[1::2]} == {"COCO form of VOC, difficult crowd"}
    assert form.row("moco_v2").values == (4.25, *[None, 20] * 5, None)
    assert form.row("clsa_single").values == (None, 5.5, *[None, 20] * 5)
    for key, flavour in (("voc", "VOC 11-point, IoU .50:.95"), ("coco_boxes", "COCO"), ("ap_small", "COCO")):
        assert {column.flavour for column in found[key].columns} == {flavour}
        assert not [column for column in found[key].columns if column.key.startswith("bbox_coco_form")]
    make_report(cfg, tmp_path)
    assert "## VOC07+12 detection, COCO form" in (tmp_path / "report.md").read_text()
    report = json.loads((tmp_path / "report.json").read_text())
    by_size = [plot["caption"] for plot in report["plots"] if plot["title"] == "VOC AP by object size (COCO form)"]
    assert [caption.split(", ")[2] for caption in by_size] == ["difficult ignored", "difficult crowd"]


def test_without_any_small_object_the_report_ranks_nobody_by_it(tmp_path, cfg) -> None:
    for method in ("random_init", "moco_v2", "clsa_single"):
        put_voc(tmp_path / method / "detect" / "voc", None)
    make_report(cfg, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert not [sentence for sentence in report["findings"] if "COCO form" in sentence]
    assert [table["key"] for table in report["tables"]] == ["voc", "voc_coco_form"]


def test_the_report_in_all_its_formats(run, cfg, capsys) -> None:
    make_report(cfg, run)
    shown = capsys.readouterr().out
    said = " ".join(shown.split())  # as one line
    assert "CLSA-Single (21.3) is 3.4 points below MoCo v2 (24.7)" in said
    assert "MoCo v2, the best pretrained, is 11.5 points above Random init (BN re-estimated) (13.2)" in said
    assert "One seed (0) of each" in said
    assert re.search(r"CLSA-Single +21\.3 \(−3\.4\) +31\.3", shown)

    markdown = (run / "report.md").read_text()
    assert "| MoCo v2 | 1 | **24.7** | **34.7** |" in markdown
    assert "| CLSA-Single | 1 | 21.3 (−3.4) | 31.3 (−3.4) |" in markdown
    assert "| mAP envelope<br>class mAP, envelope<br>voc07-svm-mini5<br>scikit-learn<br>voc_2007_test |" in markdown
    published = markdown.split("## Published numbers, none of them measured here")[1]
    assert "| CLSA | box AP_S 24.4 | verified |" in published
    assert markdown.index("## AP_S") < markdown.index("## What the numbers say")
    assert "**Measured:** COCO AP_S (boxes) in percent (COCO), protocol mini-coco; engine torchvision" in markdown
    assert (
        "**Does CLSA-Single transfer better than MoCo v2?** COCO AP_S (boxes): CLSA-Single 25.3, MoCo v2 28.7. Within"
        in markdown
    )
    for picture in re.findall(r"!\[.*\]\((.*)\)", markdown):
        assert Image.open(run / picture).width > 800

    report = json.loads((run / "report.json").read_text())
    assert report["tables"][0]["key"] == "ap_small"
    row = report["tables"][2]["rows"][2]
    assert (row["method"], row["seeds"]) == ("moco_v2", [0])
    assert [found["values"] for found in row["samples"]] == [[24.71], [34.71]]
    assert row["values"] == [24.71, 34.71]
    assert [claim["verdict"]["word"] for claim in report["claims"]] == ["not comparable"] * 8
    assert {plot["file"] for plot in report["plots"]} >= {
        "plots/curve_acc1_batch.png",
        "plots/methods_voc07_svm.png",
        "plots/detections.png",
    }


class Page(HTMLParser):
    """Counts open elements, and collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.fetched += [value for name, value in attrs if name in ("src", "srcset", "href", "data")]
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if "h2" in self.open:
            self.headings.append(data)


def test_the_page_is_one_well_formed_file_that_fetches_nothing(run, cfg) -> None:
    make_report(cfg, run)
    text = (run / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.fetched
    assert all(value.startswith("data:image/png;base64,") for value in page.fetched)
    assert "<script" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert page.headings[-1] == "Published numbers, none of them measured here"
    assert "".join(page.headings).startswith("AP")
    assert "<td class=best>24.7</td>" in text
    assert text.index("Does CLSA-Single transfer better") < text.index("<section")


def test_damaged_files_are_named_and_left_out_and_the_report_is_made(run, cfg) -> None:
    (run / "moco_v2" / "classify" / "svm" / "result.json").write_text('{"schema_')
    other = run / "clsa_single" / "classify" / "svm" / "result.json"
    other.write_text(other.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    put(run / "random_init" / "classify" / "svm", {"mAP envelope": 712.0})
    (run / "moco_v2" / "detect" / "coco" / "inference" / "coco_instances_results.json").write_text("[{}]")
    (run / "moco_v2" / "pretrain" / "metrics.json").write_text('{"iteration": 1, "acc1_batch": 2.0}\n{"iterat')
    make_report(cfg, run)
    left_out = json.loads((run / "report.json").read_text())["left_out"]
    expected = [
        (r"random_init/classify/svm/result\.json: mAP envelope is 712\.0", "percentage"),
        (r"moco_v2/classify/svm/result\.json", "not a readable result"),
        (r"moco_v2/pretrain/metrics\.json", "1 of its lines"),
        (r"clsa_single/classify/svm/result\.json", "result schema 99"),
        (r"moco_v2/detect/coco/inference/coco_instances_results\.json", "1 results name an unknown image"),
        (r"AP by object size, mini-coco: not drawn", "instances_val2017.json has 10 objects of no size"),
        (r"AP_S by category, mini-coco: nothing of Random init, MoCo v2, CLSA-Single", "per_class .* no bbox/APs"),
    ]
    assert len(left_out) == len(expected)
    for sentence, (path, reason) in zip(left_out, expected, strict=True):
        assert re.search(path, sentence)
        assert re.search(reason, sentence)
    assert "not a readable result" in (run / "report.html").read_text()
    assert [row.method for row in tables(run)["voc07_svm"].rows] == ["chance", "random_init"]


def test_a_report_without_any_result_says_so_little_and_is_made(tmp_path, cfg) -> None:
    make_report(cfg, tmp_path)
    assert "Published numbers" in (tmp_path / "report.html").read_text()


def test_a_report_that_stands_is_not_written_again(run, cfg, tmp_path_factory) -> None:
    make_report(cfg, run)
    moved = tmp_path_factory.mktemp("moved") / "run"
    shutil.copytree(run, moved)
    for folder in (run, moved):
        before = (folder / "report.html").stat().st_mtime_ns
        make_report(cfg, folder)
        assert (folder / "report.html").stat().st_mtime_ns == before
    put(run / "moco_v2" / "classify" / "svm", {"mAP envelope": 30.0})
    (moved / "plots" / "detections.png").unlink()
    make_report(cfg, run)
    assert "30.0" in (run / "report.html").read_text()
    make_report(cfg, moved)
    assert (moved / "plots" / "detections.png").is_file()


def test_detectors_that_detect_nothing_are_not_ranked(tmp_path) -> None:
    for method, value in (("random_init", 0.0), ("moco_v2", 0.2), ("clsa_single", 0.9)):
        put_coco(tmp_path / method / "detect" / "coco", {"bbox/AP": value})
    gathered = gather(tmp_path, METHODS)
    found = build_tables(gathered)
    assert [found[0].printed(row, 0) for row in found[0].rows] == ["0.00", "0.20", "0.90"]
    said = findings(found, gathered)
    assert said[0] == "COCO AP (boxes): every method is below 1, too little to tell them apart."
    assert not any("CLSA-Single" in sentence for sentence in said)


def test_unequal_lengths_are_said(run) -> None:
    with open(run / "moco_v2" / "pretrain" / "metrics.json", "a") as file:
        file.write('\n{"iteration": 9}')
    gathered = gather(run, METHODS)
    said = "The methods were NOT pretrained equally long (last logged iteration: MoCo v2 9, CLSA-Single 3)."
    assert said in findings(build_tables(gathered), gathered)


def test_differences_are_those_of_the_unrounded_numbers() -> None:
    assert difference(20.03, 19.99) == "level with"
    assert difference(21.34, 24.71) == "3.4 points below"
    assert difference(4.46, 3.24) == "1.2 points above"  # printed 4.5 and 3.2
