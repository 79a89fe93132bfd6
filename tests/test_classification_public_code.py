"""The public code's procedure: its schedule, its views, its drift, and its difference from the paper's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from clsa.classification import imagenet_probe, logistic_probe, lowshot_probe
from clsa.classification.average_precision import average_precisions
from clsa.classification.cli import main
from clsa.classification.config import get_cfg
from clsa.classification.labels import LabelledSplit
from clsa.classification.public_code_linear import PIXEL_MEAN, PIXEL_STD, Crops, learning_rate, train_and_score
from clsa.classification.public_code_probe import differences, protocol
from clsa.classification.seeded_views import EpochBatches, SeededViews
from clsa.configs.loading import PACKAGED, load_config
from clsa.configs.run_files import read_result
from clsa.convert.backbone_file import write_backbone


def settings(**changes) -> CfgNode:
    cfg = get_cfg().PUBLIC_CODE
    for key, value in changes.items():
        cfg[key] = value
    return cfg


def test_the_rate_is_the_schedulers_that_is_stepped_before_every_epoch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    cfg = settings()
    for epoch in range(1, cfg.EPOCHS + 1):
        optimizer.step()
        scheduler.step()
        assert learning_rate(cfg, epoch) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
    assert learning_rate(cfg, 12) == pytest.approx(0)
    assert learning_rate(cfg, 24) == pytest.approx(0.05)


def test_five_crops_and_the_codes_own_mean_and_std() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    crops = Crops(settings(SIZE=64, RESIZE=80), 5)(Image.fromarray(pixels))
    corners = [(0, 0), (0, 56), (16, 0), (16, 56), (8, 28)]
    for crop, (top, left) in zip(crops, corners, strict=True):
        expected = (pixels[top : top + 64, left : left + 64] / 255 - PIXEL_MEAN) / PIXEL_STD
        np.testing.assert_allclose(crop.permute(1, 2, 0), expected, atol=1e-5)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledSplit]:
    """20 + 20 + 10 images; what makes the first class is that they are bright."""
    folder, chance = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    found = []
    for name, count in (("train", 20), ("val", 20), ("test", 10)):
        labels = np.where(np.arange(count)[:, None] % 2 == [0, 1], 1, -1).astype(np.int8)
        paths = tuple(folder / f"{name}{number}.png" for number in range(count))
        for path, (bright, _) in zip(paths, labels, strict=True):
            Image.fromarray(chance.integers(0, 128, (40, 50, 3), dtype=np.uint8) + np.uint8(60 * (bright == 1))).save(
                path
            )
        found.append(LabelledSplit(name, tuple(path.stem for path in paths), paths, ("a", "b"), labels))
    return found


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return body.requires_grad_(False)


SMALL = {"SIZE": 32, "RESIZE": 36, "EPOCHS": 3, "BATCH_SIZE": 8}


def test_the_statistics_drift_as_a_forward_pass_in_train_mode_moves_them(splits) -> None:
    train, val, test = splits
    cfg, drifted = settings(**SMALL), network()
    fit = train_and_score(drifted, train, val, test, cfg, seed=5)

    from clsa.classification.public_code_linear import train_transform

    views, expected = SeededViews(train.paths, train_transform(cfg), 5), network().train()
    for epoch in range(1, fit.best_epoch + 1):
        for keys in EpochBatches(20, 8, 5, epoch, drop_last=False):
            expected(torch.stack([views[key][0] for key in keys]))
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(drifted.state_dict()[name], tensor, msg=name)
    assert fit.drift["tensors_changed"] == 2  # one mean, one variance; no weight
    assert fit.drift["running_mean_shift"] > 0.01
    last_of_the_best = max(epoch for epoch in range(3) if fit.validation[epoch] == max(fit.validation))
    assert fit.best_epoch == last_of_the_best + 1
    again = train_and_score(network(), train, val, test, cfg, seed=5)
    np.testing.assert_array_equal(fit.scores, again.scores)


def test_without_the_drift_nothing_moves(splits) -> None:
    frozen = network()
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    fit = train_and_score(frozen, *splits, settings(**SMALL, BATCH_NORM_IN_TRAIN_MODE=False), seed=5)
    assert fit.drift == {"tensors_changed": 0, "running_mean_shift": 0.0, "running_var_log_ratio": 0.0}
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.state_dict().items())


def test_differences_written_out() -> None:
    names = ("mAP envelope", "mAP step", "mAP 11-point", "per-image AP")
    code, left_out = (dict(zip(names, v, strict=True)) for v in ((80.0, 79.0, 78.0, 90.0), (82.0, 81.0, 80.0, 89.5)))
    paper = {"protocol": "voc07-linear-paper", "values": dict(zip(names, (75.0, 74.0, None, 85.0), strict=True))}
    found = differences(code, left_out, paper)
    assert found["by_flavour"] == {"mAP envelope": 7.0, "mAP step": 7.0, "mAP 11-point": None, "per-image AP": 4.5}
    assert (found["flavour"], found["difficult"]) == (10.0, 0.5)


def test_from_the_command_line(mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    state = {key: value for key, value in resnet18().state_dict().items() if "fc." not in key and "num_b" not in key}
    for name in ("r18.pth", "other.pth"):
        write_backbone(tmp_path / name, state, "torchvision", {})
        state["conv1.weight"] = state["conv1.weight"] * 2
    tiny = ["FEATURES.SIZE", "32", "FEATURES.RESIZE", "32", "FEATURES.WORKERS", "0", "FEATURES.DEVICE", "cpu"]
    tiny += ["PUBLIC_CODE.SIZE", "32", "PUBLIC_CODE.RESIZE", "36", "PUBLIC_CODE.EPOCHS", "1", "LINEAR.EPOCHS", "2"]
    common = ["--data", str(mini_root / "VOC2007"), "--cache", "none"]

    def run(mode: str, output: str, *arguments: str, weights: str = "r18.pth") -> int:
        words = ["linear", "--mode", mode, "--weights", str(tmp_path / weights), "--output", str(tmp_path / output)]
        return main([*words, *common, *arguments, *tiny])

    assert run("public_code", "code") == 0
    result, paper = (read_result(tmp_path / "code" / name) for name in ("result.json", "paper/result.json"))
    assert (result["protocol"], result["metric_flavour"]) == ("voc07-linear-clsa-code-custom", "per-image AP")
    assert result["dataset"]["fingerprint"] == paper["dataset"]["fingerprint"]  # train and val are trainval
    with np.load(tmp_path / "code" / "scores.npz") as saved:
        absent = average_precisions(saved["scores"], saved["labels"], "absent").means()
        left_out = average_precisions(saved["scores"], saved["labels"]).means()
    assert result["values"] == pytest.approx({name: 100 * value for name, value in absent.items()})
    points = {name: 100 * left_out[name] - paper["values"][name] for name in left_out}
    assert result["details"]["difference"]["by_flavour"] == pytest.approx(points)
    assert result["details"]["backbone_drift"]["tensors_changed"] == 40  # ResNet-18's 20 BatchNorms, no weight

    given = ["--paper-result", str(tmp_path / "code" / "paper" / "result.json")]
    assert run("public_code", "given", *given) == 0
    assert not (tmp_path / "given" / "paper").exists()
    assert (
        json.loads((tmp_path / "given" / "result.json").read_text())["details"]["difference"]["by_flavour"]
        == (result["details"]["difference"]["by_flavour"])
    )
    assert run("public_code", "refused", *given, weights="other.pth") == 1
    assert "was measured with other weights" in capsys.readouterr().err
    assert run("public_code", "refused", "DATA.CLASSES", "['bird', 'cow']") == 1
    assert "on VOC07's 20 classes" in capsys.readouterr().err
    assert run("paper", "refused", *given) == 1
    assert "--paper-result is compared with --mode public_code" in capsys.readouterr().err


def test_protocol() -> None:
    cfg = get_cfg()
    assert protocol(cfg) == "voc07-linear-clsa-code"
    cfg.PUBLIC_CODE.BATCH_NORM_IN_TRAIN_MODE = False
    assert protocol(cfg) == "voc07-linear-clsa-code-custom"


PACKAGED_CONFIGS = [
    ("voc07_linear_public_code", "linear --mode public_code", protocol, "voc07-linear-clsa-code"),
    ("mini_linear_public_code", "linear --mode public_code", protocol, "voc07-linear-clsa-code-custom"),
    ("voc07_lowshot", "lowshot", lambda cfg: lowshot_probe.protocol(cfg, "given"), "voc07-lowshot-fair18"),
    ("mini_lowshot", "lowshot", lambda cfg: cfg.LOWSHOT.K, (1, 2, 4, 8, 16)),
    ("voc07_logistic", "logistic", logistic_probe.protocol, "voc07-logistic"),
    ("mini_logistic", "logistic", logistic_probe.protocol, "voc07-logistic-center_crop-96of96"),
    ("imagenet_linear", "imagenet", lambda cfg: imagenet_probe.protocol(cfg, "imagenet-linear"), "imagenet-linear"),
    ("imagenet_linear", "knn", lambda cfg: imagenet_probe.protocol(cfg, "imagenet-knn"), "imagenet-knn"),
    ("mini_imagenet", "knn", lambda cfg: imagenet_probe.protocol(cfg, "imagenet-knn"), "imagenet-knn-96of96"),
]


@pytest.mark.parametrize(("name", "command", "described", "expected"), PACKAGED_CONFIGS)
def test_packaged_configs_name_their_command_and_their_protocol(name: str, command: str, described, expected) -> None:
    file = f"configs/classification/{name}.yaml"
    cfg = load_config(logistic_probe.defaults() if command == "logistic" else get_cfg(), file)
    assert described(cfg) == expected
    assert f"clsa-classify {command} " in (text := (PACKAGED / "classification" / f"{name}.yaml").read_text())
    assert f"--config-file {file}" in text
