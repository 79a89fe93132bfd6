"""Published numbers stand beside what was measured in the same way, and beside nothing else; the others are named."""

import json
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.run_files import write_result
from clsa.reproduce.full_sizes import full_size
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.ledger import Published, read_ledger
from clsa.reproduce.tables import build_tables

VOC, COCO = "voc_2007_test", "coco_2017_val"
SVM = "VOC2007 trainval -> test"


def put(folder: Path, protocol: str, flavour: str, values: dict, name: str, images: int, **changes) -> None:
    is_detector = protocol.startswith(("voc-", "coco-"))
    weights = {"file": "w.pth", "sha256": "ab" * 32, "architecture": {"depth": changes.pop("depth", 50)}}
    write_result(
        folder,
        **{
            "stage": "detection" if is_detector else "classification",
            "engine": "detectron2" if is_detector else "torch",
            "details": {"protocol_check": {"nearest": protocol, "differences": changes.pop("differences", [])}},
            "seed": changes.pop("seed", 0),
            "config": changes.pop("config", CfgNode()),
            **changes,
        },
        protocol=protocol,
        metric_flavour=flavour,
        values=values,
        per_class={},
        weights={**weights, "source": {"method": "moco_v2"}},
        dataset={"name": name, "fingerprint": {"images": images}, "miniature": None},
        trial=0,
        wall_seconds=1.0,
    )


def coco(folder: Path, images: int = 5000, protocol: str = "coco-r50-c4-2x", **changes) -> None:
    put(folder, protocol, "COCO", {"bbox/AP": 41.0}, COCO, images, **changes)


def svm(folder: Path, protocol: str, **changes) -> None:
    put(folder, protocol, "class mAP, envelope", {"mAP envelope": 84.0}, SVM, 9963, **changes)


def imagenet(folder: Path, images: int, name: str = "imagenet train -> val", **changes) -> None:
    put(folder, "imagenet-linear", "top-1 accuracy", {"top-1": 68.0}, name, images, **changes)


def table_of(folder: Path, key: str, ledger=None):
    gathered = gather_folders([RunFolder(folder)], folder / "report")
    return {table.key: table for table in build_tables(gathered, read_ledger() if ledger is None else ledger)}[key]


def placed(table) -> list[tuple]:
    return [(row.label, *row.values) for row in table.published]


def test_full_data_of_the_same_protocol(tmp_path) -> None:
    coco(tmp_path)
    table = table_of(tmp_path, "coco_boxes")
    assert placed(table) == [
        ("Supervised", 40.0),
        ("MoCo v1, 200 epochs", 40.7),
        ("InfoMin, 200 epochs", 41.3),
    ]
    assert table.notes == (
        "Published, but not measured in the same way, so not placed here: Random init, Supervised, MoCo v1 at 200 "
        "epochs, MoCo v2 at 200 epochs (trained with MAX_SIZE_TRAIN 1200, not the protocol's 1333).",
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"images": 100}, "data: 100 images of coco_2017_val, in full 5000"),
        ({"engine": "torchvision"}, "engine: detectron2, not torchvision"),
        ({"depth": 101}, "backbone: a ResNet-50, here a ResNet-101"),
        ({"depth": None}, "backbone: a ResNet-50, here one of unknown depth"),
        (
            {"differences": [{"key": "SOLVER.BASE_LR", "value": 0.1, "protocol_value": 0.02}]},
            "settings other than the protocol's: batch and lr",
        ),
        ({"protocol": "coco-r50-c4-2x SEED_X=1"}, "protocol: coco-r50-c4-2x, not coco-r50-c4-2x SEED_X=1"),
    ],
)
def test_what_keeps_published_detectors_away(change, why, tmp_path) -> None:
    coco(tmp_path, **change)
    table = table_of(tmp_path, "coco_boxes")
    assert not table.published
    said = [note for note in table.notes if note.startswith("Published, but not measured in the same way")]
    assert len(said) == 1
    assert f"InfoMin at 200 epochs ({why})" in said[0]


def test_the_layer_is_part_of_the_protocol(tmp_path) -> None:
    """OpenSelfSup's 84.26 is of res5 and its 30.54 of res2: neither stands beside an average pool."""
    for layer in ("", "-res5", "-res2"):
        svm(tmp_path / f"svm{layer}", f"voc07-svm-openselfsup19{layer}")
    tables = [table_of(tmp_path, key) for key in ("voc07_svm", "voc07_svm_2", "voc07_svm_3")]
    found = {table.columns[0].protocol.name: placed(table) for table in tables}
    assert found == {
        "voc07-svm-openselfsup19": [],
        "voc07-svm-openselfsup19-res5": [
            ("Supervised", 87.17),
            ("MoCo v1, 200 epochs", 79.18),
            ("MoCo v2, 200 epochs", 84.26),
        ],
        "voc07-svm-openselfsup19-res2": [("Random init", 30.54)],
    }
    (said,) = next(t for t in tables if t.columns[0].protocol.name == "voc07-svm-openselfsup19").notes
    assert "MoCo v2 at 200 epochs (protocol: voc07-svm-openselfsup19-res5, not voc07-svm-openselfsup19)" in said


@pytest.mark.parametrize(
    ("images", "name", "depth", "count", "why"),
    [
        (1_331_167, "imagenet train -> val", 50, 11, ""),
        (1_331_167, "ILSVRC2012 train -> val", 50, 11, ""),
        (500, "imagenet train -> val", 50, 0, "data: 500 images of imagenet train -> val, in full 1331167"),
        (500, "imagenet10 part -> val", 50, 0, "how many images imagenet10 part -> val has in full is not known"),
        (1_331_167, "imagenet train -> val", 101, 0, "backbone: a ResNet-50, here a ResNet-101"),
    ],
)
def test_imagenet(images, name, depth, count, why, tmp_path) -> None:
    imagenet(tmp_path, images, name, depth=depth)
    table = table_of(tmp_path, "imagenet")
    assert len(table.published) == count
    assert bool(table.notes) == bool(why)
    assert not why or why in table.notes[0]


def test_an_entry_of_another_depth_stands_beside_its_own(tmp_path) -> None:
    imagenet(tmp_path, 1_331_167, depth=101)
    entry = Published("Ours", "imagenet-linear", "top-1 accuracy", {"top-1": 70.0}, "here", "unverified", depth=101)
    assert placed(table_of(tmp_path, "imagenet", [entry])) == [("Ours", 70.0)]


def test_beside_the_miniature_world_nothing_published_stands_or_is_missed(tmp_path) -> None:
    svm(tmp_path, "voc07-linear-paper-square-96of96")
    result = json.loads((tmp_path / "result.json").read_text())
    result["dataset"]["miniature"] = {"seed": 0}
    (tmp_path / "result.json").write_text(json.dumps(result))
    table = table_of(tmp_path, "voc07_linear")
    assert (table.published, table.notes) == ((), ())


def test_sizes_of_the_full_data() -> None:
    assert full_size(VOC, "voc-r50-c4-24k") == 4952
    assert full_size(COCO, "coco-r50-c4-2x") == 5000
    assert full_size("VOC2007 trainval -> test", "voc07-svm-fair26") == 9963
    assert full_size("mine trainval -> test", "multilabel-svm-fair26") is None


def test_results_that_differ_in_settings_alone_are_no_copies(tmp_path) -> None:
    for rate in (0.05, 0.1, 0.5):
        config = CfgNode({"LINEAR": CfgNode({"LR": rate})})
        svm(tmp_path / f"lr{rate}", "voc07-linear-custom", config=config)
    gathered = gather_folders([RunFolder(tmp_path)], tmp_path / "report")
    assert (len(gathered.measured), gathered.left_out) == (3, [])
    titles = [table.columns[0].protocol.title for table in build_tables(gathered)]
    assert len(set(titles)) == 3


def test_one_result_on_all_images_outweighs_two_on_a_part(tmp_path) -> None:
    for seed, images in enumerate((100, 100, 5000)):
        coco(tmp_path / str(seed), images, seed=seed)
    gathered = gather_folders([RunFolder(tmp_path)], tmp_path / "report")
    assert [m.result["dataset"]["fingerprint"]["images"] for m in gathered.measured] == [5000]
    assert len(gathered.left_out) == 2
    assert "other images (100 images, real) than that of 1 other results" in gathered.left_out[0]
