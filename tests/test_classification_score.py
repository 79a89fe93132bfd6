"""clsa-classify score: four figures of one matrix, and no comparison across them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from clsa.classification.average_precision import FLAVOURS, average_precisions
from clsa.classification.cli import main
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import read_class_labels, read_image_ids


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    labels = rng.choice([1, -1, 0], size=(40, 5), p=[0.3, 0.6, 0.1])
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "scores.npy", rng.normal(size=(40, 5)) + labels)
    return tmp_path / "scores.npy", tmp_path / "labels.npy"


def score(files: tuple[Path, Path], *arguments: str) -> int:
    return main(["score", "--scores", str(files[0]), "--labels", str(files[1]), *arguments])


def test_all_four_figures(files, capsys: pytest.CaptureFixture) -> None:
    means = average_precisions(np.load(files[0]), np.load(files[1])).means()
    assert score(files) == 0
    printed = capsys.readouterr().out
    for name, flavour in FLAVOURS.items():
        assert re.search(rf"{flavour} +{100 * means[name]:.2f}\n", printed)
    assert "difficult labels left out" in printed

    assert score(files, "--json", "--difficult", "absent") == 0
    report = json.loads(capsys.readouterr().out)
    absent = average_precisions(np.load(files[0]), np.load(files[1]), "absent").means()
    assert report["values"] == pytest.approx({name: 100 * value for name, value in absent.items()})
    assert report["difficult"] == "absent"
    assert (report["images"], report["classes"]) == (40, 5)
    assert set(report["per_class"]["mAP step"]) == set("01234")


def test_comparison_within_a_flavour_only(files, capsys: pytest.CaptureFixture) -> None:
    means = average_precisions(np.load(files[0]), np.load(files[1])).means()
    here = 100 * means["per-image AP"]
    assert score(files, "--published", "93.6", "--flavour", "per-image AP", "--json") == 0
    comparison = json.loads(capsys.readouterr().out)["comparison"]
    assert comparison["difference"] == pytest.approx(here - 93.6)
    assert score(files, "--published", "93.6", "--flavour", "per-image AP") == 0
    assert f"per-image AP: {here:.2f} here, 93.6 published: {here - 93.6:+.2f}" in capsys.readouterr().out

    assert score(files, "--published", "93.6", "--flavour", "per-image AP", "--metric", "mAP envelope") == 1
    refusal = capsys.readouterr()
    assert refusal.out == ""
    assert "A comparison across flavours is refused: class mAP, envelope and per-image AP are two" in refusal.err
    assert f"{100 * means['mAP envelope']:.2f} and {here:.2f} on these very scores" in refusal.err


def test_labels_of_a_voc_folder(mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    voc = mini_root / "VOC2007"
    ids = read_image_ids(voc, "test")
    by_class = [read_class_labels(voc, name, "test") for name in VOC_CLASSES]
    scores = np.array([[labels[image_id] == 1 for labels in by_class] for image_id in ids], dtype=float)
    np.save(tmp_path / "perfect.npy", scores)
    assert main(["score", "--scores", str(tmp_path / "perfect.npy"), "--data", str(voc), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["values"].values()) == {100.0}
    assert list(report["per_class"]["mAP envelope"]) == list(VOC_CLASSES)


def test_a_class_without_a_positive_is_null(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    labels = np.array([[1, -1], [-1, -1]])
    np.savez(tmp_path / "scores.npz", scores=np.eye(2), labels=labels, classes=np.array(["cat", "dog"]))
    assert main(["score", "--scores", str(tmp_path / "scores.npz"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["per_class"]["mAP envelope"] == {"cat": 100.0, "dog": None}
    assert report["classes_without_a_positive"] == ["dog"]


def test_bad_input(files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scores, labels = np.load(files[0]), np.load(files[1])
    broken = scores.copy()
    broken[2, 1] = np.nan
    cases = {
        "nan": (broken, labels, (), "score of image 2 for class 1 is nan"),
        "two": (scores, np.where(labels == 0, 2, labels), (), r"1 \(present\), -1 \(absent\) or 0 .*got .*2"),
        "zero_one": (scores, (labels == 1).astype(int), (), r"has no label -1.* 2 \* labels - 1"),
        "shape": (scores[:, :4], labels, (), r"\(40, 4\) and labels of shape \(40, 5\) do not fit"),
        "which": (
            scores,
            labels,
            ("--published", "88.9"),
            "88.9 of which average precision.*across flavours is refused",
        ),
        "other": (scores, labels, ("--published", "42", "--flavour", "COCO"), "'COCO' is none of .*Look up"),
        "lonely": (scores, labels, ("--flavour", "per-image AP"), "--published, which is missing"),
    }
    for name, (bad_scores, bad_labels, arguments, message) in cases.items():
        pair = tmp_path / f"{name}_s.npy", tmp_path / f"{name}_l.npy"
        np.save(pair[0], bad_scores)
        np.save(pair[1], bad_labels)
        assert score(pair, *arguments) == 1, name
        assert re.search(message, capsys.readouterr().err), name


def test_files_that_are_no_arrays(files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["score", "--scores", str(files[0])]) == 1
    assert "holds no labels. Give --labels L.npy, or --data DIR" in capsys.readouterr().err
    (tmp_path / "text.npy").write_text("0.5 0.2\n")
    assert score((tmp_path / "text.npy", files[1])) == 1
    assert re.search(r"text.npy cannot be read as a NumPy file", capsys.readouterr().err)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert score((tmp_path / "objects.npy", files[1])) == 1
    assert re.search(r"objects.npy cannot be read .* numpy.save", capsys.readouterr().err)
