"""clsa-classify from the command line to its files, and its refusals."""

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from clsa.classification.average_precision import FLAVOURS, average_precisions
from clsa.classification.cli import main
from clsa.classification.config import get_cfg
from clsa.classification.linear_probe import LINEAR
from clsa.classification.probe import protocol_id
from clsa.classification.svm_probe import SVM
from clsa.configs.loading import PACKAGED, load_config
from clsa.configs.run_files import read_result
from clsa.convert.backbone_file import write_backbone
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import read_image_ids

TINY = ["FEATURES.SIZE", "32", "FEATURES.RESIZE", "32", "FEATURES.WORKERS", "0", "FEATURES.DEVICE", "cpu"]
SMALL_SVM = [*TINY, "SVM.GRID", "mini5", "SVM.SOLVER", "exact"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    state = {key: value for key, value in resnet18().state_dict().items() if "fc." not in key and "num_b" not in key}
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    write_backbone(path, state, "torchvision", {"source": {"file": "checkpoint.pth", "method": "random_init"}})
    return path


def probe(kind: str, mini_root: Path, output: Path, *arguments: str) -> int:
    return main([kind, "--data", str(mini_root / "VOC2007"), "--output", str(output), *arguments])


@pytest.fixture(scope="module")
def svm_run(mini_root: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output folder of one SVM probe, and what it printed."""
    output, printed = tmp_path_factory.mktemp("svm"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert probe("svm", mini_root, output, "--weights", str(weights), *SMALL_SVM) == 0
    return output, printed.getvalue()


def test_svm_result(svm_run: tuple[Path, str], weights: Path) -> None:
    output, printed = svm_run
    result = read_result(output / "result.json")
    assert result["stage"] == "classification"
    assert result["protocol"] == "voc07-svm-mini5-square-32of32"
    assert result["metric_flavour"] == "class mAP, envelope"
    assert result["engine"] == "torch"
    assert result["details"]["solver"]["name"] == "exact"
    assert result["weights"]["method"] == "random_init"
    assert result["weights"]["sha256"] == json.loads(Path(f"{weights}.json").read_text())["sha256"]
    assert result["dataset"]["name"] == "VOC2007 trainval -> test"
    assert result["dataset"]["miniature"]["size"] == "tiny"
    assert result["details"]["fits"] == 20 * (3 * 5 + 1)
    assert result["details"]["not_converged"] == 0
    assert set(result["details"]["best_cost"]) == set(VOC_CLASSES)
    assert set(result["details"]["best_cost"].values()) <= {0.01, 0.1, 1.0, 10.0, 100.0}
    assert {"config.yaml", "log.txt", "result.json", "scores.npz"} == {path.name for path in output.iterdir()}
    for name, flavour in FLAVOURS.items():
        assert re.search(rf"{flavour} +{result['values'][name]:.2f}\n", printed)


def test_scores_npz_gives_the_figures_again(svm_run: tuple[Path, str], mini_root: Path) -> None:
    output, _ = svm_run
    result = read_result(output / "result.json")
    with np.load(output / "scores.npz", allow_pickle=False) as saved:
        assert tuple(saved["classes"]) == VOC_CLASSES
        assert list(saved["image_ids"]) == read_image_ids(mini_root / "VOC2007", "test")
        again = average_precisions(saved["scores"], saved["labels"])
    assert result["values"] == pytest.approx({name: 100 * value for name, value in again.means().items()}, abs=1e-9)
    assert list(result["per_class"]["mAP step"].values()) == pytest.approx((100 * again.step).tolist(), abs=1e-9)


def test_linear_is_reproducible(mini_root: Path, weights: Path, tmp_path: Path) -> None:
    scores = []
    for run in ("first", "second"):
        assert probe("linear", mini_root, tmp_path / run, "--weights", str(weights), *TINY) == 0
        scores.append(np.load(tmp_path / run / "scores.npz")["scores"])
    np.testing.assert_array_equal(*scores)
    result = read_result(tmp_path / "first" / "result.json")
    assert (result["protocol"], result["engine"]) == ("voc07-linear-paper-square-32of32", "torch")
    assert result["details"]["loss_last_epoch"] < result["details"]["loss_first_epoch"]
    assert result["details"]["normalisation"] == "none"


def test_chance_is_about_the_share_of_positives(mini_root: Path, tmp_path: Path) -> None:
    assert probe("svm", mini_root, tmp_path, "--features", "chance", "CHANCE.DRAWS", "200", *SMALL_SVM) == 0
    result = read_result(tmp_path / "result.json")
    with np.load(tmp_path / "scores.npz") as saved:
        scores, labels = saved["scores"], saved["labels"]
    assert scores.shape == (200, *labels.shape)
    step = np.mean([average_precisions(draw, labels).step for draw in scores], axis=0)
    assert list(result["per_class"]["mAP step"].values()) == pytest.approx((100 * step).tolist())
    # Expected step AP of a random ranking with P positives of N: (P-1)/(N-1) + (1 - (P-1)/(N-1)) * H_N / N
    counted, positives = (labels != 0).sum(axis=0), (labels == 1).sum(axis=0)
    harmonic = np.array([sum(1 / rank for rank in range(1, count + 1)) for count in counted])
    others = (positives - 1) / (counted - 1)
    expected = others + (1 - others) * harmonic / counted
    assert result["values"]["mAP step"] == pytest.approx(100 * expected.mean(), abs=1)
    assert result["weights"] == {"file": None, "sha256": None}


def test_colour_histogram_through_the_linear_layer(mini_root: Path, tmp_path: Path) -> None:
    assert probe("linear", mini_root, tmp_path, "--features", "colour_histogram", *TINY, "LINEAR.EPOCHS", "3") == 0
    result = read_result(tmp_path / "result.json")
    assert result["protocol"] == "voc07-linear-custom-square-32of32"
    assert result["details"]["features"] == "colour_histogram"


def test_classes_without_a_positive_test_image_are_named(
    mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    voc = tmp_path / "VOC2007"
    voc.mkdir()
    (voc / "JPEGImages").symlink_to(mini_root / "VOC2007" / "JPEGImages")
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    for path in (mini_root / "VOC2007" / "ImageSets" / "Main").iterdir():
        text = path.read_text()
        absent = path.name == "sofa_test.txt"
        (voc / "ImageSets" / "Main" / path.name).write_text(re.sub(r" +1\n", " -1\n", text) if absent else text)
    arguments = ["svm", "--data", str(voc), "--output", str(tmp_path / "out"), "--features", "chance"]
    assert main(arguments) == 0
    result = read_result(tmp_path / "out" / "result.json")
    assert result["details"]["classes_without_a_test_image"] == ["sofa"]
    assert result["per_class"]["mAP envelope"]["sofa"] is None
    assert result["values"]["mAP envelope"] is not None
    assert "no positive test image, left out of the means: sofa" in capsys.readouterr().out


LAYERS = ("conv1", "res2", "avgpool")


@pytest.fixture(scope="module")
def layers_run(mini_root: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of SVMs on three layers, whose features `extract` has left in the cache."""
    folder = tmp_path_factory.mktemp("layers")
    shared = ["--weights", str(weights), "--data", str(mini_root / "VOC2007"), "--cache", str(folder / "cache")]
    small = [*SMALL_SVM, "FEATURES.SIZE", "64", "FEATURES.RESIZE", "64"]
    assert main(["extract", *shared, "--layer", *LAYERS, *small]) == 0
    assert main(["svm", *shared, "--output", str(folder / "svm"), "--layer", *LAYERS, *small]) == 0
    return folder / "svm"


def test_all_layers_in_one_call(layers_run: Path) -> None:
    best = read_result(layers_run / "result.json")
    by_layer = {layer: read_result(layers_run / layer / "result.json") for layer in LAYERS}
    assert best["details"]["images_computed"] == 0  # everything was in the cache
    for layer, result in by_layer.items():
        name = {"avgpool": ""}.get(layer, f"-{layer}")
        assert result["protocol"] == f"voc07-svm-mini5{name}-square-64of64"
        assert result["details"]["layer"] == layer
        own = result["details"]["cross_validated_ap"]
        assert result["details"]["cross_validated_map"] == pytest.approx(np.mean(list(own.values())), abs=1e-3)
        assert set(own) == set(result["details"]["best_cost"]) == set(result["per_class"]["mAP envelope"])
        figures = best["details"]["figures_by_layer"][layer]
        assert {key: figures[key] for key in result["values"]} == result["values"]
    dimensions = {layer: result["details"]["dimensions"] for layer, result in by_layer.items()}
    assert dimensions == {"conv1": 64 * 4 * 4, "res2": 64, "avgpool": 512}


def test_the_best_layer_is_not_chosen_on_the_test_images(layers_run: Path) -> None:
    best = read_result(layers_run / "result.json")
    by_layer = {layer: read_result(layers_run / layer / "result.json") for layer in LAYERS}
    chosen = max(LAYERS, key=lambda layer: by_layer[layer]["details"]["cross_validated_map"])
    assert best["details"]["best_layer"] == chosen
    assert best["details"]["best_layer_by"] == "cross_validated_map"
    on_test = max(LAYERS, key=lambda layer: by_layer[layer]["values"]["mAP envelope"])
    assert best["details"]["best_layer_on_test"] == on_test
    assert best["values"] == by_layer[chosen]["values"]
    assert best["protocol"] == by_layer[chosen]["protocol"] + "-best-of-conv1+res2+avgpool"
    with np.load(layers_run / "scores.npz") as best_scores, np.load(layers_run / chosen / "scores.npz") as scores:
        np.testing.assert_array_equal(best_scores["scores"], scores["scores"])


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("lowshot", "multilabel-lowshot-mini5-own-samples-square-32of32"),
        ("logistic", "multilabel-logistic-square-32of32-bilinear"),
    ],
)
def test_other_classes_than_vocs_are_no_voc_figure(mini_root: Path, tmp_path: Path, kind: str, protocol: str) -> None:
    small = ["LOWSHOT.K", "(2,)", "LOWSHOT.SAMPLES", "1", "LOWSHOT.GRID", "mini5"]
    small += ["LOGISTIC.JOBS", "1", "FEATURES.TRANSFORM", "square", "FEATURES.INTERPOLATION", "bilinear"]
    classes = ["DATA.CLASSES", "['bird', 'cow']"]
    assert probe(kind, mini_root, tmp_path, "--features", "hog", *TINY, *small, *classes) == 0
    assert read_result(tmp_path / "result.json")["protocol"] == protocol


def test_an_image_folder_is_no_voc_figure(mini_root: Path, tmp_path: Path) -> None:
    splits = ["DATA.TRAIN_SPLIT", "val", "DATA.TEST_SPLIT", "train"]
    arguments = [
        "svm",
        "--data",
        str(mini_root / "imagenet"),
        "--output",
        str(tmp_path / "out"),
        "--features",
        "chance",
    ]
    assert main([*arguments, *splits]) == 0
    result = read_result(tmp_path / "out" / "result.json")
    assert result["protocol"] == "imagefolder-svm-fair26-val-train"
    assert result["dataset"]["name"] == "imagenet val -> train"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "backbone"], "need --weights W.pth"),
        (["--features", "chance", "--weights", "W.pth"], "--features chance uses no weights, got --weights W.pth"),
        (["--features", "hog", "FEATURES.REESTIMATE_BN", "True"], "needs a backbone, got features hog"),
        (["--features", "hog", "SVM.GRID", "all"], "SVM.GRID 'all' is unknown. Give one of fair26"),
        (
            ["--features", "hog", "SVM.SOLVER", "ours"],
            "SVM.SOLVER 'ours' is unknown. Give one of exact, sklearn\\.",
        ),
        (["--features", "hog", "--layer", "res4", "res5"], "features hog: one layer only, got res4, res5"),
        (["--features", "hog", "--layer", "res6", "SVM.GRID", "mini5"], "'res6' is none of them"),
        (["--features", "chance", "FEATURES.SIZES", "96"], "unknown config key 'FEATURES.SIZES'.*Did you mean"),
        (["FEATURES.KIND", "sift"], "features 'sift' are unknown. Give one of backbone"),
        (["--features", "chance", "DATA.TEST_SPLIT", "trainval"], "are in both trainval and trainval"),
        (["--features", "chance", "CHANCE.DRAWS", "0"], "CHANCE.DRAWS must be at least 1, got 0"),
        (["--weights", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_refusals(
    mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    assert probe("svm", mini_root, tmp_path, *arguments) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "result.json").exists()


def test_missing_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["svm", "--features", "chance", "--data", str(tmp_path / "none"), "--output", str(tmp_path)]) == 1
    assert "data folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["svm", "linear"])
def test_help_has_examples(kind: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([kind, "--help"])
    assert stopped.value.code == 0
    assert "examples:\n" in (printed := capsys.readouterr().out)
    assert f"clsa-classify {kind} --weights backbone_torchvision.pth --data DATASETS/VOC2007" in printed


@pytest.mark.parametrize(
    ("name", "kind", "protocol"),
    [
        ("voc07_svm", "svm", "voc07-svm-fair26"),
        ("voc07_linear_paper", "linear", "voc07-linear-paper"),
        ("mini_svm", "svm", "voc07-svm-mini5-square-96of96"),
        ("mini_linear", "linear", "voc07-linear-paper-square-96of96"),
        ("smoke_svm", "svm", "voc07-svm-mini5-square-64of64"),
        ("smoke_linear", "linear", "voc07-linear-paper-square-64of64"),
    ],
)
def test_packaged_configs_name_their_protocol(name: str, kind: str, protocol: str) -> None:
    cfg = load_config(get_cfg(), f"configs/classification/{name}.yaml")
    assert protocol_id({"svm": SVM, "linear": LINEAR}[kind], cfg) == protocol
    header = (PACKAGED / "classification" / f"{name}.yaml").read_text()
    assert f"clsa-classify {kind} --config-file configs/classification/{name}.yaml" in header


def test_every_departure_shows_in_the_protocol() -> None:
    changes = {
        "voc07-svm-vissl11": ["SVM.GRID", "vissl11"],
        "voc07-svm-fair26": ["SVM.SOLVER", "exact", "SVM.TOLERANCE", "1e-5"],
        "voc07-svm-fair26-exact0.001": ["SVM.SOLVER", "exact", "SVM.TOLERANCE", "1e-3"],
        "voc07-svm-fair26-center_crop-224of256": ["FEATURES.TRANSFORM", "center_crop"],
        "voc07-svm-fair26-res4-half": ["FEATURES.LAYERS", "['res4']", "FEATURES.PRECISION", "half"],
        "voc07-svm-fair26-bicubic": ["FEATURES.INTERPOLATION", "bicubic"],
        "voc07-svm-fair26-train-val": ["DATA.TRAIN_SPLIT", "train", "DATA.TEST_SPLIT", "val"],
    }
    for expected, overrides in changes.items():
        assert protocol_id(SVM, load_config(get_cfg(), None, overrides)) == expected
    assert protocol_id(LINEAR, load_config(get_cfg(), None, ["LINEAR.EPOCHS", "50"])) == "voc07-linear-custom"
