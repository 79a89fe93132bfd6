"""Whole runs on a few images: what they leave, that stopping changes nothing, and what they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clsa.pretrain.checkpointing import last_checkpoint, load_checkpoint
from clsa.pretrain.cli import main

SMALL = {
    "MODEL.DEPTH": "18",
    "MODEL.HEAD_HIDDEN": "8",
    "MODEL.HEAD_OUTPUT": "8",
    "LOSS.QUEUE_LENGTH": "10",  # no multiple of the batch
    "WEAK.SIZE": "32",
    "STRONG.SIZES": "(24,)",
    "DATA.WORKERS": "0",
    "SOLVER.BATCH_SIZE": "4",
    "SOLVER.MAX_ITER": "7",
    "SOLVER.LOG_PERIOD": "2",
    "SOLVER.CHECKPOINT_PERIOD": "100",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """14 images: epochs of 3 steps of 4."""
    root, chance = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("n01", "n02"):
        (root / name).mkdir()
        for number in range(7):
            coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((64, 48), Image.Resampling.BICUBIC).save(root / name / f"{number}.JPEG")
    return root


def words(images, output, *flags, config="base_imagenet", **settings):
    keys = SMALL | {"DATA.TRAIN": str(images), "OUTPUT_DIR": str(output)}
    keys |= {key.replace("__", "."): str(value) for key, value in settings.items()}
    pairs = [word for pair in keys.items() for word in pair]
    return ["--config-file", f"configs/pretrain/{config}.yaml", "--num-gpus", "0", *flags, *pairs]


def run(images, output, *flags, **settings):
    return main(words(images, output, *flags, **settings))


def refused(capsys, images, output, *flags, **settings) -> str:
    capsys.readouterr()
    assert run(images, output, *flags, **settings) == 1
    return capsys.readouterr().err


def lines(output):
    return [json.loads(line) for line in (Path(output) / "metrics.json").read_text().splitlines()]


def bytes_of(value):
    """A checkpoint as nested plain values, every tensor as its dtype, shape and bytes."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().view(-1).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bytes_of(item) for key, item in value.items() if key != "config"}
    if isinstance(value, list):
        return [bytes_of(item) for item in value]
    return value


def final_bytes(output):
    return bytes_of(load_checkpoint(last_checkpoint(output)))


@pytest.fixture(scope="module")
def unstopped(images, tmp_path_factory):
    """CLSA-Single, 7 steps at one go."""
    output = tmp_path_factory.mktemp("unstopped")
    assert run(images, output) == 0
    return output


def test_what_a_run_leaves(unstopped):
    assert {path.name for path in unstopped.iterdir()} == {
        *("config.yaml", "log.txt", "metrics.json", "tensorboard", "last_checkpoint", "checkpoint_0000007.pth")
    }
    content = load_checkpoint(unstopped / "checkpoint_0000007.pth")
    assert (content["method"], content["iteration"], content["epoch"], content["epoch_step"]) == (
        "clsa_single",
        7,
        2,
        1,
    )
    assert {key.split(".")[0] for key in content["query"]} == {"backbone", "head"}
    assert content["query"].keys() == content["key"].keys()
    assert content["queue"]["keys"].shape == (10, 8)
    assert content["queue"]["oldest"].item() == 7 * 4 % 10
    assert content["config"]["LOSS"]["TEMPERATURE"] == 0.2
    records = lines(unstopped)
    assert [record["iteration"] for record in records] == [2, 4, 6, 7]
    assert list(records[0]) == [
        *("iteration", "epoch", "loss", "loss_contrastive", "loss_ddm", "acc1_bank", "acc1_batch"),
        *("ddm_target_entropy", "beta", "lr", "images_per_second", "data_seconds", "step_seconds"),
    ]
    assert records[0]["loss"] == pytest.approx(records[0]["loss_contrastive"] + records[0]["loss_ddm"])
    log = (unstopped / "log.txt").read_text()
    assert "shuffling BN: none, there is one process" in log
    assert "step 6/7 loss" in log


@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (3, 2), (4, 0), (6, 2)])
def test_a_stopped_run_gives_the_bytes_of_the_unstopped_one(images, unstopped, tmp_path, stop, workers):
    assert run(images, tmp_path, SOLVER__STOP_AFTER=stop, DATA__WORKERS=workers) == 0
    assert last_checkpoint(tmp_path).name == f"checkpoint_{stop:07d}.pth"
    assert run(images, tmp_path, "--resume", DATA__WORKERS=workers) == 0
    assert final_bytes(tmp_path) == final_bytes(unstopped)
    assert [record["iteration"] for record in lines(tmp_path)] == sorted({2, 4, 6, 7, stop})


def test_a_killed_run_gives_the_bytes_of_the_unstopped_one(images, unstopped, tmp_path):
    """SIGKILL, at whatever step it happens to be once the first checkpoint is there."""
    command = [sys.executable, "-m", "clsa.pretrain.cli", *words(images, tmp_path, SOLVER__CHECKPOINT_PERIOD=1)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "last_checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last_checkpoint(tmp_path) is not None
    assert run(images, tmp_path, "--resume", SOLVER__CHECKPOINT_PERIOD=1) == 0
    assert final_bytes(tmp_path) == final_bytes(unstopped)
    assert [record["iteration"] for record in lines(tmp_path)][-2:] == [6, 7]


def test_after_one_step_the_key_network_has_moved_a_thousandth(images, tmp_path):
    """0.999 of the initial network, which random_init writes for the same seed, and 0.001 of the stepped query."""
    assert run(images, tmp_path / "start", METHOD="random_init") == 0
    assert run(images, tmp_path / "step", SOLVER__MAX_ITER=1, METHOD="moco_v2") == 0
    start, after = (
        load_checkpoint(last_checkpoint(tmp_path / "start")),
        load_checkpoint(last_checkpoint(tmp_path / "step")),
    )
    assert start.keys().isdisjoint({"key", "queue", "optimizer"})
    moved = 0
    for name, query in after["query"].items():
        if name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            continue
        expected = 0.999 * start["query"][name] + 0.001 * query
        torch.testing.assert_close(after["key"][name], expected, rtol=1e-6, atol=1e-8)
        moved += not torch.equal(start["query"][name], query)
    assert moved > 50
    assert lines(tmp_path / "step")[0]["loss_ddm"] is None


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_several_strong_views_reduced_precision_and_the_short_recipe(images, tmp_path, precision):
    settings = {"METHOD": "clsa_multi", "STRONG__SIZES": "(32, 24)", "STRONG__SCALES": "((0.2, 1.0), (0.1, 0.5))"}
    settings |= {"SOLVER__PRECISION": precision, "MODEL__CHANNELS_LAST": True, "MODEL__HEAD_NORM": "BN"}
    settings |= {"LOSS__BANK": "batch_and_queue", "LOSS__BETA_ZERO_STEPS": 1, "LOSS__BETA_RAMP_STEPS": 2}
    settings |= {"STRONG__WEAK_FIRST": True, "SOLVER__MAX_ITER": 3, "SOLVER__LOG_PERIOD": 1, "SOLVER__WARMUP_ITERS": 2}
    assert run(images, tmp_path, **settings) == 0
    records = lines(tmp_path)
    assert [record["beta"] for record in records] == [0.0, 0.5, 1.0]
    assert all(np.isfinite(record["loss"]) for record in records)
    assert load_checkpoint(last_checkpoint(tmp_path))["query"]["backbone.conv1.weight"].dtype == torch.float32


def test_a_loss_that_is_not_finite_stops_with_step_and_parts_and_leaves_the_last_good_checkpoint(
    images, tmp_path, capsys
):
    assert run(images, tmp_path, SOLVER__STOP_AFTER=2) == 0
    message = refused(capsys, images, tmp_path, "--resume", SOLVER__LR="1e30")
    assert "the loss is not finite at step 4: loss nan, loss_contrastive nan, loss_ddm nan" in message
    assert f"The last good checkpoint is {tmp_path / 'checkpoint_0000002.pth'}. Lower SOLVER.LR" in message
    assert last_checkpoint(tmp_path).name == "checkpoint_0000002.pth"
    load_checkpoint(last_checkpoint(tmp_path))


def test_refusals(images, unstopped, tmp_path, capsys):
    assert "unknown config key 'SOLVER.LRR'" in refused(capsys, images, tmp_path, SOLVER__LRR=1)
    assert "data folder '/no/such' does not exist" in refused(capsys, "/no/such", tmp_path)
    message = refused(capsys, images, tmp_path, SOLVER__BATCH_SIZE=15, LOSS__QUEUE_LENGTH=30)
    assert "holds 14 images, fewer than one batch of SOLVER.BATCH_SIZE 15" in message
    assert "SOLVER.BATCH_SIZE 12 is larger than LOSS.QUEUE_LENGTH 10" in refused(
        capsys, images, tmp_path, SOLVER__BATCH_SIZE=12
    )
    assert "already holds checkpoints" in refused(capsys, images, unstopped)
    assert not any(tmp_path.iterdir())


def test_resume_refuses_another_run_and_a_damaged_checkpoint(images, unstopped, tmp_path, capsys):
    message = refused(capsys, images, unstopped, "--resume", METHOD="moco_v2", LOSS__QUEUE_LENGTH=12)
    assert "LOSS.QUEUE_LENGTH was 10, now 12; METHOD was 'clsa_single', now 'moco_v2'" in message
    whole = (unstopped / "checkpoint_0000007.pth").read_bytes()
    (tmp_path / "checkpoint_0000007.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "last_checkpoint").write_text("checkpoint_0000007.pth")
    assert "checkpoint_0000007.pth cannot be read: it is cut off" in refused(capsys, images, tmp_path, "--resume")


def test_an_unreadable_image_ends_the_run_with_its_name(tmp_path, capsys):
    (tmp_path / "images" / "n01").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "images" / "n01" / f"{number}.JPEG").write_bytes(b"\xff\xd8\xff\xe0 no more")
    message = refused(capsys, tmp_path / "images", tmp_path / "out", DATA__WORKERS=1)
    assert "error: image" in message
    assert ".JPEG cannot be read" in message
    assert "Traceback" not in message


def test_a_finished_run_has_nothing_left_to_train(images, unstopped, capsys):
    before = final_bytes(unstopped)
    assert run(images, unstopped, "--resume") == 0
    assert "nothing to train: step 7 is done" in capsys.readouterr().out
    assert final_bytes(unstopped) == before


def test_more_gpus_than_there_are(images, tmp_path, capsys):
    if torch.cuda.device_count() >= 64:
        pytest.skip("64 GPUs are here")
    pairs = words(images, tmp_path)
    pairs[pairs.index("--num-gpus") + 1] = "64"
    assert main(pairs) == 1
    assert "64 GPUs are asked for, PyTorch sees" in capsys.readouterr().err


def test_convert_leaves_the_weights_of_the_last_checkpoint(images, tmp_path):
    from clsa.convert.backbone_file import read_backbone

    assert run(images, tmp_path, "--convert", "torchvision", METHOD="random_init") == 0
    backbone = read_backbone(tmp_path / "backbone_torchvision.pth")
    query = load_checkpoint(last_checkpoint(tmp_path))["query"]
    assert torch.equal(backbone.state["conv1.weight"], query["backbone.conv1.weight"])
    assert os.path.exists(tmp_path / "backbone_torchvision.pth.json")
