"""The paper's claims as tests on result files: their schema, and each road to a verdict."""

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import write_result
from clsa.reproduce.claims import check_claim, read_claims
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.judging import judge
from clsa.reproduce.ledger import read_ledger
from clsa.reproduce.tables import build_tables

GOOD = {
    "id": "x",
    "statement": "X is above Y.",
    "test": "above",
    "a": {"methods": ["x"]},
    "b": {"methods": ["y"]},
    "key": "top-1",
    "flavour": "top-1 accuracy",
    "protocols": ["imagenet-linear"],
    "to_settle": "run it",
    "flavours": "one",
}
VERDICTS = {claim.id: claim for claim in read_claims()}


IMAGENET = ("imagenet train -> val", 1_331_167)
VOC07 = ("VOC2007 trainval -> test", 9963)


def put(folder, values, protocol, flavour, seed=0, data=VOC07, depth=50, **changes) -> None:
    name, images = data
    write_result(
        folder,
        **{"stage": "classification", "engine": "torch", **changes},
        protocol=protocol,
        metric_flavour=flavour,
        values=values,
        per_class={},
        weights={"file": "w.pth", "sha256": "ab" * 32, "architecture": depth and {"depth": depth}},
        dataset={"name": name, "fingerprint": {"images": images}, "miniature": None},
        seed=seed,
        trial=0,
        wall_seconds=1.0,
        config=CfgNode(),
    )


def put_top1(folder, values, protocol="imagenet-linear", **changes) -> None:
    for k, value in enumerate(values):
        put(folder / str(k), {"top-1": value}, protocol, "top-1 accuracy", seed=k, **{"data": IMAGENET, **changes})


def put_coco(folder, values, protocol, images=5000) -> None:
    for k, value in enumerate(values):
        put(
            folder / protocol / str(k),
            {"bbox/APs": value},
            protocol,
            "COCO",
            seed=k,
            data=("coco_2017_val", images),
            stage="detection",
            engine="detectron2",
            details={"protocol_check": {"nearest": protocol, "differences": []}},
        )


def judged(tmp_path, claim: str, **folders):
    runs = [RunFolder(tmp_path / folder, name) for name, folder in folders.items()]
    gathered = gather_folders(runs, tmp_path / "report")
    assert gathered.left_out == []
    return judge(VERDICTS[claim], build_tables(gathered, read_ledger()))


def test_the_papers_numbers_are_those_of_the_ledger() -> None:
    printed = {value for entry in read_ledger() for value in entry.values.values()}
    sides = [side.printed for claim in VERDICTS.values() for side in (claim.a, claim.b) if side.printed]
    assert {24.4, 20.8, 93.6, 88.9, 69.4, 68.0, 76.2, 76.5} <= set(sides) <= printed


@pytest.mark.parametrize(
    ("contrastive", "word"),
    [
        ((67.9, 68.0, 68.1), "reproduced"),
        ((69.2, 69.4, 69.6), "within noise"),
        ((70.0, 70.1, 70.2), "not reproduced"),
        ((68.0,), "within noise"),
    ],
)
def test_ddm_against_the_contrastive_loss(tmp_path, contrastive, word) -> None:
    put_top1(tmp_path / "a", (69.3, 69.4, 69.5))
    put_top1(tmp_path / "b", contrastive)
    assert judged(tmp_path, "ddm", clsa_single="a", clsa_single_contrastive="b").verdict.word == word


def test_the_supervised_gap(tmp_path) -> None:
    put_top1(tmp_path / "a", (76.2, 76.25, 76.3))
    put_top1(tmp_path / "b", (76.3, 76.35, 76.4))
    assert judged(tmp_path, "supervised", clsa_multi="a", supervised="b").verdict.word == "reproduced"


def test_what_stands_against_comparing_is_said(tmp_path) -> None:
    put_top1(tmp_path / "a", (69.4,), protocol="imagenet-linear-custom")
    put_top1(tmp_path / "b", (68.0,), protocol="imagenet-linear-custom")
    verdict = judged(tmp_path, "ddm", clsa_single="a", clsa_single_contrastive="b").verdict
    assert verdict.word == "not comparable"
    assert verdict.reason == "protocol: imagenet-linear-custom is none of imagenet-linear"
    put_top1(tmp_path / "c", (68.0,))
    verdict = judged(tmp_path, "ddm", clsa_single="a", clsa_single_contrastive="c").verdict
    assert "measured otherwise: one side under imagenet-linear-custom, torch, the other under imagenet-linear" in (
        verdict.reason
    )
    verdict = judged(tmp_path, "ddm", clsa_single="a").verdict
    assert verdict.reason == "no result of CLSA-Single with the contrastive loss in top-1 accuracy"


def test_two_flavours_are_never_subtracted_and_the_four_figures_are_shown(tmp_path) -> None:
    four = {"mAP envelope": 85.0, "mAP step": 84.9, "mAP 11-point": 83.0, "per-image AP": 92.0}
    for folder in ("a", "b"):
        put(tmp_path / folder, four, "voc07-linear-clsa-code", "per-image AP")
    found = judged(tmp_path, "voc07-as-printed", clsa_multi="a", swav="b")
    assert found.verdict.word == "not comparable"
    assert "the claim sets per-image AP beside class mAP, envelope" in found.verdict.reason
    assert "CLSA-Multi mAP envelope 85.0, mAP step 84.9, mAP 11-point 83.0, per-image AP 92.0" in found.measured


C4, FPN = "coco-r50-c4-1x", "coco-r50-fpn-1x-moco-2fc"


@pytest.mark.parametrize(
    ("under_fpn", "word", "said"),
    [
        ((20.0, 20.1, 20.2), "mixed", f"{FPN}, detectron2: not reproduced, −2.00"),
        ((23.9, 24.1, 24.3), "reproduced", f"{FPN}, detectron2: +2.00"),
        ((22.0, 22.1, 22.2), "mixed", f"{FPN}, detectron2: within noise, +0.00"),
    ],
)
def test_every_protocol_that_bears_on_a_claim_is_judged(tmp_path, under_fpn, word, said) -> None:
    for protocol, moco, clsa in ((C4, (20.0, 20.1, 20.2), (22.0, 22.1, 22.2)), (FPN, (22.0, 22.1, 22.2), under_fpn)):
        put_coco(tmp_path / "moco", moco, protocol)
        put_coco(tmp_path / "clsa", clsa, protocol)
    found = judged(tmp_path, "ap-small", moco_v2="moco", clsa_multi="clsa")
    assert found.verdict.word == word
    assert said in found.verdict.reason
    assert f"{C4}, detectron2: " in found.verdict.reason
    assert [one.protocol for one in found.by_table] == [C4, FPN]
    assert found.measured.count("CLSA-Multi") == 2


def test_a_part_of_the_data_bears_on_no_claim(tmp_path) -> None:
    put_coco(tmp_path / "moco", (20.0, 20.1, 20.2), C4, images=100)
    put_coco(tmp_path / "clsa", (22.0, 22.1, 22.2), C4, images=100)
    verdict = judged(tmp_path, "ap-small", moco_v2="moco", clsa_multi="clsa").verdict
    assert (verdict.word, verdict.reason) == ("not comparable", "data: 100 images of coco_2017_val, in full 5000")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (("imagenet10 train -> val", 500), "data: 500 images of imagenet10 train -> val, in full 1331167"),
        (("my own", 1_331_167), "data: my own is none that is known to be the claim's"),
    ],
)
def test_only_the_full_imagenet_is_imagenet(tmp_path, data, reason) -> None:
    put_top1(tmp_path / "a", (69.4, 69.5, 69.6), data=data)
    put_top1(tmp_path / "b", (68.0, 68.1, 68.2), data=data)
    verdict = judged(tmp_path, "ddm", clsa_single="a", clsa_single_contrastive="b").verdict
    assert (verdict.word, verdict.reason) == ("not comparable", reason)


@pytest.mark.parametrize(
    ("depths", "reason"),
    [
        ((101, 50), "backbone: CLSA-Single is ResNet-101, not ResNet-50"),
        ((18, 18), "backbone: both are ResNet-18, not ResNet-50"),
        ((None, 50), "backbone: CLSA-Single is of a depth that the result does not name, not ResNet-50"),
    ],
)
def test_the_depth_must_be_the_papers(tmp_path, depths, reason) -> None:
    put_top1(tmp_path / "a", (69.3, 69.4, 69.5), depth=depths[0])
    put_top1(tmp_path / "b", (67.9, 68.0, 68.1), depth=depths[1])
    verdict = judged(tmp_path, "ddm", clsa_single="a", clsa_single_contrastive="b").verdict
    assert (verdict.word, verdict.reason) == ("not comparable", reason)


@pytest.mark.parametrize(("name", "word"), [("birds *", "reproduced"), ("fish *", "not comparable")])
def test_a_claim_on_data_of_ones_own_names_it(tmp_path, name, word) -> None:
    for method, values in (("x", (3.0, 3.1, 3.2)), ("y", (1.0, 1.1, 1.2))):
        put_top1(tmp_path / method, values, protocol="own", data=("birds train -> val", 400))
    gathered = gather_folders([RunFolder(tmp_path / method, method) for method in "xy"], tmp_path / "report")
    claim = check_claim({**GOOD, "datasets": [name], "protocols": ["own"]}, "here")
    assert judge(claim, build_tables(gathered)).verdict.word == word


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": "below"}, "test is 'below', it must be one of above, at_most_below"),
        ({"flavour": ""}, "flavour is missing"),
        ({"a": ["x"]}, "a is .*it must hold methods"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"datasets": "birds"}, "datasets is 'birds', it must be a list"),
    ],
)
def test_a_bad_claim_is_named_with_its_field(change, message) -> None:
    assert check_claim(GOOD, "here").margin == 0
    with pytest.raises(InputError, match=f"here: {message}"):
        check_claim({**GOOD, **change}, "here")
