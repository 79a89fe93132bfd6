"""The ImageNet classifier: views, steps, processes, resuming, frozen; the estimate from cached features; neighbours."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from torchvision.models import resnet18

from clsa.classification import knn
from clsa.classification.backbone import asserted_frozen
from clsa.classification.cli import main
from clsa.classification.config import get_cfg
from clsa.classification.image_folder import read_image_folder
from clsa.classification.imagenet_batches import AugmentedViews, CachedRows
from clsa.classification.imagenet_linear import check_settings, initial_layer, train_layer
from clsa.classification.imagenet_probe import protocol, run_linear
from clsa.classification.seeded_views import EpochBatches, in_order
from clsa.configs.command import InputError
from clsa.configs.launch import start_processes
from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.configs.run_files import read_result
from clsa.convert.backbone_file import write_backbone

ALONE = Process(0, 1, torch.device("cpu"))
SETTINGS = ["IMAGENET.SIZE", "32", "IMAGENET.RESIZE", "36", "IMAGENET.EPOCHS", "3", "IMAGENET.BATCH_SIZE", "16"]
SETTINGS += ["FEATURES.WORKERS", "0", "FEATURES.DEVICE", "cpu", "IMAGENET.LR", "0.1"]


def node(**changes) -> CfgNode:
    cfg = get_cfg().IMAGENET
    for key, value in changes.items():
        cfg[key] = value
    return cfg


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    state = {key: value for key, value in resnet18().state_dict().items() if "fc." not in key and "num_b" not in key}
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    write_backbone(path, state, "torchvision", {})
    return str(path)


def imagenet(weights: str, mini_root: Path, output: Path, *arguments: str) -> int:
    words = ["imagenet", "--weights", weights, "--data", str(mini_root / "imagenet"), "--output", str(output)]
    return main([*words, *arguments, *SETTINGS])


@pytest.fixture(scope="module")
def whole(weights: str, mini_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs, in one process."""
    output = tmp_path_factory.mktemp("whole")
    assert imagenet(weights, mini_root, output, "--num-gpus", "0") == 0
    return output


def layer_of(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "checkpoint.pth", weights_only=True)["layer"]


def test_the_published_schedule_is_the_default() -> None:
    cfg = node()
    assert (cfg.EPOCHS, cfg.LR, cfg.WEIGHT_DECAY, cfg.BATCH_SIZE, cfg.SIZE, cfg.RESIZE) == (100, 10, 0, 256, 224, 256)
    assert protocol(get_cfg(), "imagenet-linear") == "imagenet-linear"


def test_result(whole: Path) -> None:
    result = read_result(whole / "result.json")
    assert (result["protocol"], result["metric_flavour"]) == ("imagenet-linear-custom", "top-1 accuracy")
    lines = [json.loads(line) for line in (whole / "metrics.json").read_text().splitlines()]
    assert [line["lr"] for line in lines] == pytest.approx([0.1, 0.075, 0.025])
    assert result["values"] == {"top-1": lines[-1]["top-1"], "top-5": lines[-1]["top-5"]}
    assert 0 <= result["values"]["top-1"] <= result["values"]["top-5"] <= 100
    assert result["dataset"]["fingerprint"]["images"] == 80
    assert result["details"]["precision"] == "float32"


def test_resumed_to_the_same_bytes(weights: str, mini_root: Path, whole: Path, tmp_path: Path) -> None:
    cfg = load_config(get_cfg(), None, SETTINGS)
    calls = 0

    class Killed(Exception):
        pass

    def stop_in_the_third_epoch(self, epoch):
        nonlocal calls
        calls += 1
        if epoch == 3 and calls == 3:
            raise Killed
        return original(self, epoch)

    original = AugmentedViews.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AugmentedViews, "train", stop_in_the_third_epoch)
        with pytest.raises(Killed):
            run_linear(ALONE, cfg, weights, str(mini_root / "imagenet"), str(tmp_path))
    assert len(torch.load(tmp_path / "checkpoint.pth", weights_only=True)["history"]) == 2
    run_linear(ALONE, cfg, weights, str(mini_root / "imagenet"), str(tmp_path), True)
    assert all(torch.equal(tensor, layer_of(whole)[name]) for name, tensor in layer_of(tmp_path).items())
    assert (tmp_path / "metrics.json").read_text() == (whole / "metrics.json").read_text()


def test_a_checkpoint_of_another_run_is_refused(weights, mini_root, whole, tmp_path, capsys) -> None:
    shutil.copy(whole / "checkpoint.pth", tmp_path)
    assert imagenet(weights, mini_root, tmp_path, "--num-gpus", "0", "--resume", "SEED", "1") == 1
    assert "checkpoint.pth is of another run: seed 0; asked for is seed 1" in capsys.readouterr().err


def test_two_processes_are_one(weights: str, mini_root: Path, whole: Path, tmp_path: Path) -> None:
    cfg = load_config(get_cfg(), None, SETTINGS)
    start_processes(run_linear, 2, False, cfg, weights, str(mini_root / "imagenet"), str(tmp_path))
    for name, tensor in layer_of(whole).items():
        torch.testing.assert_close(layer_of(tmp_path)[name], tensor, atol=1e-5, rtol=1e-5)
    one, two = (read_result(folder / "result.json") for folder in (whole, tmp_path))
    assert one["values"] == two["values"]
    assert two["details"]["processes"] == 2


def test_frozen_means_frozen() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).requires_grad_(False)
    with asserted_frozen(network.eval()):
        network(torch.randn(2, 3, 8, 8))
    with pytest.raises(RuntimeError, match="not in eval mode"), asserted_frozen(network):
        network.train()(torch.randn(2, 3, 8, 8))


def test_an_epoch_is_one_order_of_all_images_whoever_takes_part() -> None:
    alone = list(EpochBatches(11, 4, seed=1, epoch=2))
    assert [len(batch) for batch in alone] == [4, 4]
    shares = [list(EpochBatches(11, 4, 1, 2, rank, 2)) for rank in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == alone
    assert sorted(i for batch in EpochBatches(11, 4, 1, 2, drop_last=False) for _, i in batch) == list(range(11))
    assert alone != list(EpochBatches(11, 4, 1, 3))
    assert [key for rank in range(3) for batch in in_order(11, 2, rank, 3) for key in batch] == [
        (0, index) for index in range(11)
    ]


def test_two_epochs_written_out(tmp_path: Path) -> None:
    """Cached rows: softmax cross entropy, momentum, the cosine by epoch, in float64."""
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(8, 5)).astype(np.float32), np.arange(8) % 6
    cfg = node(EPOCHS=2, BATCH_SIZE=4, LR=0.5)
    batches = CachedRows(x, y, x, y, 4, 3, "cpu")
    history = train_layer(batches, 5, 6, cfg, 3, ALONE, tmp_path, {})

    layer = initial_layer(5, 6, 3)
    w, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    assert abs(w.std() - 0.01) < 0.004
    assert not b.any()
    speed_w, speed_b, losses = 0.0, 0.0, []
    for epoch, lr in ((1, 0.5), (2, 0.25)):
        total = 0.0
        for batch in EpochBatches(8, 4, 3, epoch):
            rows = [index for _, index in batch]
            logits = x[rows] @ w.T + b
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            total -= np.log(p[range(4), y[rows]]).sum()
            error = (p - np.eye(6)[y[rows]]) / 4
            speed_w, speed_b = 0.9 * speed_w + error.T @ x[rows], 0.9 * speed_b + error.sum(axis=0)
            w, b = w - lr * speed_w, b - lr * speed_b
        losses.append(total / 8)
    assert [record["loss"] for record in history] == pytest.approx(losses, rel=1e-5)
    np.testing.assert_allclose(layer_of(tmp_path)["weight"], w, rtol=1e-4, atol=1e-6)
    logits = x @ w.T + b
    rank = (logits > logits[range(8), y][:, None]).sum(axis=1)
    assert history[-1]["top-1"] == 100 * (rank == 0).mean()
    assert history[-1]["top-5"] == 100 * (rank < 5).mean()


def test_cached_features_are_named_an_estimate(weights: str, mini_root: Path, tmp_path: Path) -> None:
    assert imagenet(weights, mini_root, tmp_path, "--cached-features") == 0
    result = read_result(tmp_path / "result.json")
    assert result["protocol"] == "imagenet-linear-cached-features-custom"
    assert result["details"]["estimate"] == "one centre crop of each image, no augmentation"
    assert list((tmp_path / "features").glob("train-*/avgpool.npy"))


def test_votes_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    train, targets, test = chance.normal(size=(30, 4)), chance.integers(0, 3, 30), chance.normal(size=(7, 4))
    monkeypatch.setattr(knn, "_TRAIN_ROWS", 8)  # four blocks
    votes = knn.vote(train, targets, test, 3, (1, 10), 0.07)
    for k, found in votes.items():
        for query, row in zip(test, found.numpy(), strict=True):
            similarity = train @ query / np.linalg.norm(train, axis=1) / np.linalg.norm(query)
            expected = np.zeros(3)
            for index in np.argsort(-similarity)[:k]:
                expected[targets[index]] += math.exp(similarity[index] / 0.07)
            np.testing.assert_allclose(row, expected, rtol=1e-4)


def test_knn_result(weights: str, mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["knn", "--weights", weights, "--data", str(mini_root / "imagenet"), "--output", str(tmp_path)]
    assert main([*words, *SETTINGS]) == 1
    assert "KNN.NEIGHBOURS (20, 200): each must be at least 1, and at most the 60" in capsys.readouterr().err
    assert main([*words, *SETTINGS, "KNN.NEIGHBOURS", "(1, 20)"]) == 0
    result = read_result(tmp_path / "result.json")
    assert result["protocol"] == "imagenet-knn-32of36"
    assert list(result["values"]) == ["1-NN top-1", "1-NN top-5", "20-NN top-1", "20-NN top-5"]


def test_refused_folders_and_settings(mini_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold a folder of images for each class"):
        read_image_folder(tmp_path, "train", "val")
    shutil.copytree(mini_root / "imagenet", tmp_path / "less")
    shutil.rmtree(next((tmp_path / "less" / "val").iterdir()))
    with pytest.raises(InputError, match=r"train has 20 classes, val 19; .* only in train"):
        read_image_folder(tmp_path / "less", "train", "val")
    with pytest.raises(InputError, match="BATCH_SIZE 256 must be a multiple of the 3 processes"):
        check_settings(node(), 1000, 3)
    with pytest.raises(InputError, match="BATCH_SIZE is 256, and there are 60 training images"):
        check_settings(node(), 60, 1)
