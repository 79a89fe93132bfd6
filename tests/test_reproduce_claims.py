"""The paper's claims as tests on result files: their schema, and each road to a verdict."""

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import write_result
from clsa.reproduce.claims import check_claim, judge, read_claims
from clsa.reproduce.gather import RunFolder, gather_folders
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


def put(folder, values, protocol, flavour, seed=0) -> None:
    write_result(
        folder,
        stage="classification",
        protocol=protocol,
        metric_flavour=flavour,
        values=values,
        per_class={},
        engine="torch",
        weights={"file": "w.pth", "sha256": "ab" * 32},
        dataset={"name": "somewhere", "fingerprint": {"images": 40}, "miniature": None},
        seed=seed,
        trial=0,
        wall_seconds=1.0,
        config=CfgNode(),
    )


def put_top1(folder, values, protocol="imagenet-linear") -> None:
    for k, value in enumerate(values):
        put(folder / str(k), {"top-1": value}, protocol, "top-1 accuracy", seed=k)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": "below"}, "test is 'below', it must be one of above, at_most_below"),
        ({"flavour": ""}, "flavour is missing"),
        ({"a": ["x"]}, "a is .*it must hold methods"),
        ({"colour": 1}, "unknown field 'colour'"),
    ],
)
def test_a_bad_claim_is_named_with_its_field(change, message) -> None:
    assert check_claim(GOOD, "here").margin == 0
    with pytest.raises(InputError, match=f"here: {message}"):
        check_claim({**GOOD, **change}, "here")
