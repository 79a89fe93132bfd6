"""The ledger of published numbers: its schema, and that it says what the sources say."""

from pathlib import Path

import pytest
import yaml

from clsa import configs
from clsa.configs.command import InputError
from clsa.reproduce.ledger import FOLDER, check_entry, detector_of, read_ledger

GOOD = {
    "method": "MoCo v2",
    "epochs": 200,
    "protocol": "voc-r50-c4-24k",
    "metric_flavour": "VOC 11-point, IoU .50:.95",
    "values": {"bbox/AP50": 82.4},
    "source": "somebody",
    "status": "verified",
}

#: (method, epochs, protocol) -> values, as printed by the sources.
PRINTED = [
    ("CLSA-Single", 200, "imagenet-linear", {"top-1": 69.4}),
    ("CLSA-Single", 800, "imagenet-linear", {"top-1": 72.2}),
    ("CLSA-Multi", 200, "imagenet-linear", {"top-1": 73.3}),
    ("CLSA-Multi", 800, "imagenet-linear", {"top-1": 76.2}),
    ("Supervised", None, "imagenet-linear", {"top-1": 76.5}),
    ("CLSA-Single, contrastive loss in place of DDM", 200, "imagenet-linear", {"top-1": 68.0}),
    ("MoCo v2", 200, "imagenet-linear", {"top-1": 67.5}),
    ("MoCo v2", 800, "imagenet-linear", {"top-1": 71.1}),
    ("CLSA-Single", 200, "imagenet-linear", {"top-1": 66.5}),
    ("CLSA, five strong views", 200, "imagenet-linear", {"top-1": 68.3}),
    ("MoCo v2", 200, "imagenet-linear", {"top-1": 67.6}),
    ("CLSA-Single", 200, "imagenet-pretraining-8-v100", {"hours": 70}),
    ("CLSA-Multi", 200, "imagenet-pretraining-8-v100", {"hours": 166}),
    ("MoCo v1", 200, "imagenet-pretraining-8-v100", {"hours": 53}),
    ("CLSA", None, "voc07-linear-clsa-code", {"per-image AP": 93.6}),
    ("SwAV", None, "voc07-linear", {"mAP envelope": 88.9}),
    ("CLSA", None, "coco-detector-not-stated", {"bbox/APs": 24.4}),
    ("previous best, as the CLSA paper calls it", None, "coco-detector-not-stated", {"bbox/APs": 20.8}),
    ("CLSA", None, "coco-detector-not-stated", {"bbox/AP": 42.3}),
    ("MoCo v1", 200, "coco-detector-not-stated", {"bbox/APs": 21.35, "bbox/AP": 38.66}),
    ("CLSA", None, "voc-r50-c4-24k", {"bbox/AP50": 83.2}),
    ("Supervised", None, "voc07-svm-openselfsup19-res5", {"mAP envelope": 87.17}),
    ("MoCo v1", 200, "voc07-svm-openselfsup19-res5", {"mAP envelope": 79.18}),
    ("MoCo v2", 200, "voc07-svm-openselfsup19-res5", {"mAP envelope": 84.26}),
    ("Random init", None, "voc07-svm-openselfsup19-res2", {"mAP envelope": 30.54}),
    ("SwAV", 200, "voc07-svm-mmselfsup", {"mAP envelope": 87.00}),
    ("BYOL", 200, "voc07-svm-mmselfsup", {"mAP envelope": 86.31}),
    ("SimSiam", 200, "voc07-svm-mmselfsup", {"mAP envelope": 85.20}),
    ("Supervised", None, "voc-r50-c4-24k", {"bbox/AP50": 81.3, "bbox/AP": 53.5, "bbox/AP75": 58.8}),
    ("MoCo v1", 200, "voc-r50-c4-24k", {"bbox/AP50": 81.5, "bbox/AP": 55.9, "bbox/AP75": 62.6}),
    ("MoCo v2", 200, "voc-r50-c4-24k", {"bbox/AP50": 82.4, "bbox/AP": 57.0, "bbox/AP75": 63.6}),
    ("MoCo v2", 800, "voc-r50-c4-24k", {"bbox/AP50": 82.5, "bbox/AP": 57.4, "bbox/AP75": 64.0}),
    ("Random init", None, "voc-r50-c4-24k", {"bbox/AP50": 59.02, "bbox/AP": 32.83, "bbox/AP75": 31.60}),
    ("Supervised", None, "voc-r50-c4-24k", {"bbox/AP50": 81.58, "bbox/AP": 54.19, "bbox/AP75": 59.80}),
    ("MoCo v1", 200, "voc-r50-c4-24k", {"bbox/AP50": 81.38, "bbox/AP": 55.95, "bbox/AP75": 62.23}),
    ("MoCo v2", 200, "voc-r50-c4-24k", {"bbox/AP50": 82.24, "bbox/AP": 56.97, "bbox/AP75": 63.43}),
    ("TWIST", None, "voc-r50-fpn-24k-infomin-4conv1fc", {"bbox/AP50": 84.2, "bbox/AP": 58.1, "bbox/AP75": 65.4}),
    ("Supervised", None, "coco-r50-c4-1x", {"bbox/AP": 38.2, "segm/AP": 33.3}),
    ("MoCo v2", 800, "coco-r50-c4-1x", {"bbox/AP": 39.5, "segm/AP": 34.5}),
    (
        "Random init",
        None,
        "coco-r50-c4-2x",
        {"bbox/AP": 35.6, "bbox/AP50": 54.6, "bbox/AP75": 38.2, "segm/AP": 31.4, "segm/AP50": 51.5, "segm/AP75": 33.5},
    ),
    (
        "Supervised",
        None,
        "coco-r50-c4-2x",
        {"bbox/AP": 40.0, "bbox/AP50": 59.9, "bbox/AP75": 43.1, "segm/AP": 34.7, "segm/AP50": 56.5, "segm/AP75": 36.9},
    ),
    ("Supervised", None, "coco-r50-c4-2x", {"bbox/AP": 40.0, "segm/AP": 34.7}),
    (
        "MoCo v1",
        200,
        "coco-r50-c4-2x",
        {"bbox/AP": 40.9, "bbox/AP50": 60.5, "bbox/AP75": 44.2, "segm/AP": 35.5, "segm/AP50": 57.1, "segm/AP75": 37.7},
    ),
    ("MoCo v1", 200, "coco-r50-c4-2x", {"bbox/AP": 40.7, "segm/AP": 35.6}),
    (
        "MoCo v2",
        200,
        "coco-r50-c4-2x",
        {"bbox/AP": 41.0, "bbox/AP50": 60.6, "bbox/AP75": 44.5, "segm/AP": 35.6, "segm/AP50": 57.2, "segm/AP75": 38.0},
    ),
    ("InfoMin", 200, "coco-r50-c4-2x", {"bbox/AP": 41.3, "segm/AP": 36.0}),
    ("Random init", None, "coco-r50-fpn-1x-infomin-4conv1fc", {"bbox/AP": 32.8, "segm/AP": 29.9}),
    ("Supervised", None, "coco-r50-fpn-1x-infomin-4conv1fc", {"bbox/AP": 39.7, "segm/AP": 35.9}),
    ("MoCo v2", 800, "coco-r50-fpn-1x-infomin-4conv1fc", {"bbox/AP": 40.4, "segm/AP": 36.4}),
    ("Supervised", None, "coco-r50-fpn-2x-infomin-4conv1fc", {"bbox/AP": 41.6, "segm/AP": 37.6}),
    ("MoCo v2", 200, "coco-r50-fpn-2x-infomin-4conv1fc", {"bbox/AP": 41.7, "segm/AP": 37.6}),
    ("InfoMin", 200, "coco-r50-fpn-2x-infomin-4conv1fc", {"bbox/AP": 42.5, "segm/AP": 38.4}),
    ("Random init", None, "coco-r50-fpn-2x-infomin-4conv1fc", {"bbox/AP": 38.4, "segm/AP": 34.7}),
    ("Random init", None, "coco-r50-fpn-1x-moco-2fc", {"bbox/AP": 31.0, "segm/AP": 28.5}),
    ("Supervised", None, "coco-r50-fpn-1x-moco-2fc", {"bbox/AP": 38.9, "segm/AP": 35.4}),
]


def test_every_entry_keeps_the_schema_and_none_stands_twice() -> None:
    entries = read_ledger()
    keys = [(e.method, e.epochs, e.protocol, tuple(e.values.items()), e.source) for e in entries]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("method", "epochs", "protocol", "values"), PRINTED)
def test_the_published_numbers_are_in_it(method, epochs, protocol, values) -> None:
    assert (method, epochs, protocol, values) in [(e.method, e.epochs, e.protocol, e.values) for e in read_ledger()]


def test_detectors_are_named_as_the_results_of_our_configs_are() -> None:
    stems = {path.stem for path in (Path(configs.__file__).parent / "detection").glob("*.yaml")}
    ours = {stem.replace("_", "-") for stem in stems}  # as a run without overrides names its protocol
    ids = {e.protocol for e in read_ledger() if e.protocol.startswith(("voc-", "coco-"))}
    assert ids - ours == {"coco-detector-not-stated"}


@pytest.mark.parametrize(
    ("protocol", "stated"),
    [
        ("voc-r50-c4-24k", ("c4", "24k")),
        ("coco-r50-c4-2x", ("c4", "2x")),
        ("coco-r50-fpn-1x-moco-2fc", ("moco-2fc", "1x")),
        ("coco-r50-fpn-2x-infomin-4conv1fc", ("infomin-4conv1fc", "2x")),
        ("voc-r50-fpn-24k-infomin-4conv1fc", ("infomin-4conv1fc", "24k")),
        ("coco-detector-not-stated", ("not stated", "not stated")),
        ("imagenet-linear", None),
    ],
)
def test_head_and_schedule_of_a_protocol(protocol, stated) -> None:
    assert detector_of(protocol) == stated


def test_every_detector_in_the_files_states_head_and_schedule_and_nothing_else_does() -> None:
    for path in FOLDER.glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text())["entries"]:
            is_detector = entry["protocol"].startswith(("voc-", "coco-"))
            assert ("head" in entry, "schedule" in entry) == (is_detector, is_detector), entry
    assert {(e.head, e.schedule) for e in read_ledger()} == {
        ("c4", "24k"),
        ("c4", "1x"),
        ("c4", "2x"),
        ("moco-2fc", "1x"),
        ("infomin-4conv1fc", "1x"),
        ("infomin-4conv1fc", "2x"),
        ("infomin-4conv1fc", "24k"),
        ("not stated", "not stated"),
        (None, None),
    }


def test_an_entry_of_ones_own_may_leave_head_and_schedule_to_the_id() -> None:
    assert (check_entry(GOOD, "here").head, check_entry(GOOD, "here").schedule) == ("c4", "24k")


def test_what_compares_with_nothing_says_what_departs() -> None:
    departing = {(e.method, e.protocol): e.departs for e in read_ledger() if e.departs}
    assert "MAX_SIZE_TRAIN 1200" in departing["MoCo v2", "coco-r50-c4-2x"]
    assert "the head is not stated" in departing["Supervised", "coco-r50-fpn-1x-moco-2fc"]


def test_the_two_voc07_figures_of_the_paper_do_not_share_a_flavour() -> None:
    flavours = {e.method: e.metric_flavour for e in read_ledger() if e.protocol.startswith("voc07-linear")}
    assert flavours == {"CLSA": "per-image AP", "SwAV": "class mAP, envelope"}


def test_what_was_not_read_at_its_source_says_so() -> None:
    doubtful = {(e.method, e.protocol): e.status for e in read_ledger() if e.status != "verified"}
    assert doubtful["CLSA", "voc-r50-c4-24k"] == "unverified"
    assert doubtful["MoCo v1", "coco-detector-not-stated"] == "second-hand"
    assert doubtful["SwAV", "voc07-linear"] == "second-hand"  # as the CLSA paper quotes it
    for method in ("Random init", "Supervised"):
        assert doubtful[method, "coco-r50-fpn-1x-moco-2fc"] == "second-hand"


def test_a_good_entry() -> None:
    assert check_entry(GOOD, "here").values == {"bbox/AP50": 82.4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "sure"}, "status is 'sure', it must be one of verified, second-hand, unverified"),
        ({"source": ""}, "source is '', it must be a text"),
        ({"metric_flavour": "mAP"}, "metric_flavour is 'mAP', it must be one of COCO"),
        ({"values": {"bbox/AP50": 824}}, "values is .*it must be names with numbers"),
        ({"values": {}}, "values is {}, it must be at least one number"),
        ({"spread": {"bbox/AP": 0.2}}, "spread is .*of the same names as values"),
        ({"epochs": "200"}, "epochs is '200', it must be a count"),
        ({"head": "moco-2fc"}, "head is 'moco-2fc', it must be c4, as the protocol's id says"),
        ({"schedule": "2x"}, "schedule is '2x', it must be 24k, as the protocol's id says"),
        ({"protocol": "imagenet-linear", "head": "c4"}, "head is 'c4', it must be left out"),
        ({"depth": "50"}, "depth is '50', it must be a count"),
        ({"departs": 1200}, "departs is 1200, it must be a text"),
        ({"epoch": 200}, "unknown field 'epoch', known are method, protocol"),
    ],
)
def test_a_bad_entry_is_named_with_its_field(change, message) -> None:
    with pytest.raises(InputError, match=f"ledger here: {message}"):
        check_entry({**GOOD, **change}, "here")


def test_a_bad_file_is_named(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("entry: []\n")
    with pytest.raises(InputError, match=r"a\.yaml must hold one key, entries"):
        read_ledger(tmp_path)
    (tmp_path / "a.yaml").write_text("entries:\n  - method: x\n")
    with pytest.raises(InputError, match=r"ledger a\.yaml, entry 1: protocol is None, it must be a text"):
        read_ledger(tmp_path)
