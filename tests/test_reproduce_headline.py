"""The report's own question: what the methods are measured against, in which words, and what was measured."""

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.run_files import write_result
from clsa.reproduce.baseline import ABSENT, fall_back
from clsa.reproduce.claims import read_claims
from clsa.reproduce.content import Content, build_content
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.ledger import Published, read_ledger
from clsa.reproduce.tables import build_tables

FLAVOUR = "VOC 11-point, IoU .50:.95"
SCHEDULE = {"MAX_ITER": 24000, "IMS_PER_BATCH": 16}
C4 = CfgNode({"MODEL": {"RESNETS": {"DEPTH": 50}, "BACKBONE": {"NAME": "build_resnet_backbone"}, "MASK_ON": False}})
C4.SOLVER = CfgNode(SCHEDULE)
C4.DATASETS = CfgNode({"TRAIN": ["voc_2007_trainval", "voc_2012_trainval"]})


def put(folder, values, method=None, epoch=200, miniature=None, protocol="voc-r50-c4-24k") -> None:
    """Trials of a detector on VOC07 under the published protocol; without a method from a random start.

    Results as they were before they named the backbone's depth: only the config does.
    """
    source = {"format": "clsa-pretrain", "method": method, "epoch": epoch}
    for k, ap in enumerate(values):
        write_result(
            folder / str(k),
            stage="detection",
            protocol=protocol,
            metric_flavour=FLAVOUR,
            values={"bbox/AP": ap, "bbox/AP50": 82.0, "bbox/AP75": 63.0},
            per_class={},
            engine="detectron2",
            weights={"file": "w", "sha256": method * 4, "source": source} if method else {"file": None, "sha256": None},
            dataset={"name": "voc_2007_test", "fingerprint": {"images": 4952}, "miniature": miniature},
            seed=k,
            trial=k,
            wall_seconds=1.0,
            config=C4,
            details={"protocol_check": {"nearest": protocol, "differences": []}},
        )


def report(folder, baseline=None, published=None) -> Content:
    """As ``clsa-report`` puts it together."""
    gathered = gather_folders([RunFolder(folder)], folder / "report")
    published = published or read_ledger()
    tables = build_tables(gathered, published, baseline) if baseline else fall_back(build_tables(gathered, published))
    return build_content(gathered, tables, published, read_claims())


def test_one_checkpoint_and_a_random_start_are_an_answer(tmp_path) -> None:
    put(tmp_path / "mine", (57.8, 57.9, 58.0), "mine")
    put(tmp_path / "random", (32.8, 32.9, 33.0))
    content = report(tmp_path)
    against_random, against_published = content.comparisons
    assert (against_random.baseline, against_random.verdict.word) == ("Random init", "above, beyond noise")
    assert against_published.baseline == "MoCo v2, 200 epochs (published)"
    assert against_published.measured == (
        "mine 57.9 ± 0.10 (n = 3), MoCo v2, 200 epochs 57.0 ± 0.2 "
        "(published, not measured here: detection/README of facebookresearch/moco, 5 trials)"
    )
    assert against_published.verdict.reason.startswith("+0.90, 95 % interval")
    assert content.headline.question == (
        "Does mine transfer better than Random init and MoCo v2, 200 epochs (published)?"
    )
    assert content.headline.answer.startswith("MoCo v2 was not measured here; the baseline is Random init. VOC")
    assert ABSENT in content.tables[0].notes
    assert content.tables[0].delta_text(content.tables[0].row("mine"), 0) == "+25.0"
    assert content.findings[:2] == [
        "mine is above Random init on 1 of 1 measures, below it on 0.",
        "VOC detection AP: mine (57.9) is 25.0 points above Random init (32.9).",
    ]


@pytest.mark.parametrize(
    ("given", "counts", "assumed"),
    [({}, "3 and 1 trials", "1 trial assumed"), ({"trials": 5}, "3 and 5 trials", "5 trials")],
)
def test_a_published_number_without_a_spread_decides_nothing(tmp_path, given, counts, assumed) -> None:
    put(tmp_path / "mine", (57.8, 57.9, 58.0), "mine")
    entry = {"method": "MoCo v2", "protocol": "voc-r50-c4-24k", "metric_flavour": FLAVOUR, "engine": "detectron2"}
    entry |= {"values": {"bbox/AP": 57.0}, "source": "a paper", "status": "verified"}
    (found,) = report(tmp_path, published=[Published(**entry, **given)]).comparisons
    assert found.verdict.word == "within noise"
    assert f"+0.90, with {counts}: the spread is unknown" in found.verdict.reason
    assert found.measured.endswith(f"(published, not measured here: a paper, {assumed})")


def test_where_moco_was_measured_nothing_published_stands_in_for_it(tmp_path) -> None:
    put(tmp_path / "mine", (57.8, 57.9, 58.0), "mine")
    put(tmp_path / "moco", (57.0, 57.1, 57.2), "moco_v2")
    put(tmp_path / "random", (32.8, 32.9, 33.0))
    content = report(tmp_path)
    assert [(c.method, c.baseline, c.published) for c in content.comparisons] == [("mine", "MoCo v2", False)]
    assert content.headline.answer.startswith("VOC detection AP: mine 57.9")
    (asked_for,) = [c for c in report(tmp_path, "random_init").comparisons if c.method == "mine"]
    assert (asked_for.baseline, asked_for.published) == ("Random init", False)


def test_reproduced_is_not_said_of_the_miniature_world(tmp_path) -> None:
    world = {"size": "small", "seed": 0}
    put(tmp_path / "clsa", (24.0, 24.1, 24.2), "clsa_single", miniature=world)
    put(tmp_path / "moco", (22.0, 22.1, 22.2), "moco_v2", miniature=world)
    content = report(tmp_path)
    assert content.headline.word == "above, beyond noise"
    assert "eproduced" not in content.headline.answer
    assert content.headline.paper.startswith("Of 8 claims, 8 not comparable.")


def test_the_first_screen_names_detector_backbone_data_and_schedule(tmp_path) -> None:
    put(tmp_path / "clsa", (58.0, 58.1, 58.2), "clsa_single")
    put(tmp_path / "moco", (57.0, 57.1, 57.2), "moco_v2")
    content = report(tmp_path)
    assert content.headline.measured == (
        "VOC detection AP in percent (VOC 11-point, IoU .50:.95), protocol voc-r50-c4-24k; engine detectron2; "
        "Faster R-CNN with C4 on ResNet-50, trained on voc_2007_trainval and voc_2012_trainval, "
        "24,000 iterations of 16 images; data: voc_2007_test, 4952 images, photographs; 3 trials a method"
    )
    assert [row.depth for row in content.tables[0].rows] == [50, 50]
