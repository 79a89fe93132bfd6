"""Stopping, killing and going on; what the last step does; the monitor. With a small network in a ResNet's place."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clsa.configs.processes import Process
from clsa.pretrain.batch_order import BatchOrder
from clsa.pretrain.checkpointing import last_checkpoint, load_checkpoint
from clsa.pretrain.cli import main
from clsa.pretrain.data import Normalise, batches
from clsa.pretrain.interruption import StopRequest
from clsa.pretrain.knn_monitor import choose, leave_one_out_top1
from clsa.pretrain.methods import MomentumContrast
from clsa.pretrain.sources import open_source

KILL_RESUME = Path(__file__).parents[1] / "benchmarks" / "kill_resume.py"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch):
    monkeypatch.setattr("clsa.pretrain.networks.build_backbone", runpy.run_path(str(KILL_RESUME))["small_backbone"])


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """11 images of two classes: epochs of two steps of 4."""
    root, chance = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(11):
        folder = root / f"n{number % 2}"
        folder.mkdir(exist_ok=True)
        pixels = chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.JPEG")
    return root


def run(images, output, *flags, **settings):
    keys = {"DATA.TRAIN": images, "OUTPUT_DIR": output, "DATA.WORKERS": 0, "MODEL.DEPTH": 18}
    keys |= {"MODEL.HEAD_HIDDEN": 16, "MODEL.HEAD_OUTPUT": 8, "LOSS.QUEUE_LENGTH": 22, "WEAK.SIZE": 24}
    keys |= {"STRONG.SIZES": "(16,)", "SOLVER.BATCH_SIZE": 4, "SOLVER.MAX_ITER": 6, "SOLVER.LOG_PERIOD": 2}
    keys |= {key.replace("__", "."): value for key, value in settings.items()}
    pairs = [str(word) for pair in keys.items() for word in pair]
    return main(["--config-file", "configs/pretrain/base_imagenet.yaml", "--num-gpus", "0", *flags, *pairs])


def final(output):
    return load_checkpoint(last_checkpoint(output))


def same(a, b):
    return runpy.run_path(str(KILL_RESUME))["same"](a, b)


def lines(output):
    return [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]


@pytest.fixture
def signalled_in_step(monkeypatch):
    """``signalled_in_step(3, SIGTERM)``: this process gets it while it does its third step."""

    def arrange(step, number):
        done, enqueue = [], MomentumContrast.enqueue

        def and_signal(self, keys):
            enqueue(self, keys)
            done.append(1)
            if len(done) == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(MomentumContrast, "enqueue", and_signal)

    return arrange


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_finishes_the_step_saves_and_leaves_with_75(images, tmp_path, signalled_in_step, number):
    assert run(images, tmp_path / "whole") == 0
    before = signal.getsignal(number)
    signalled_in_step(3, number)
    with pytest.raises(SystemExit) as left:
        run(images, tmp_path / "stopped", "--convert", "torchvision")
    assert left.value.code == os.EX_TEMPFAIL == 75
    assert signal.getsignal(number) == before
    assert last_checkpoint(tmp_path / "stopped").name == "checkpoint_0000003.pth"
    assert not list((tmp_path / "stopped").glob("backbone*"))
    assert run(images, tmp_path / "stopped", "--resume") == 0
    whole, stopped = final(tmp_path / "whole"), final(tmp_path / "stopped")
    assert same({**whole, "config": None}, {**stopped, "config": None})


def test_a_signal_in_the_last_step_changes_nothing(images, tmp_path, signalled_in_step):
    signalled_in_step(6, signal.SIGTERM)
    assert run(images, tmp_path) == 0


def test_one_process_answers_at_once():
    with StopRequest(1) as request:
        assert not request.agreed()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert request.agreed()


@pytest.mark.parametrize(("kills", "options"), [(20, ()), (6, ("--steps", "40", "--workers", "1"))])
def test_killed_at_random_moments_it_ends_with_the_bytes_of_the_undisturbed_run(kills, options):
    command = [sys.executable, KILL_RESUME, "--kills", str(kills), *options]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"killed {kills} times, a whole checkpoint each time" in answer.stdout
    assert "left in the end: 0" in answer.stdout
    assert "final checkpoint equal bit for bit: True" in answer.stdout
    assert len(set(re.search(r"of step (.*)", answer.stdout)[1].split(", "))) > (3 if kills == 20 else 1)


def test_a_list_in_another_order_is_not_resumed(images, tmp_path, capsys):
    names = sorted(str(path.relative_to(images)) for path in images.glob("*/*.JPEG"))
    (tmp_path / "list.txt").write_text("\n".join(names))
    settings = {"DATA__ROOT": images}
    assert run(tmp_path / "list.txt", tmp_path / "out", SOLVER__STOP_AFTER=1, **settings) == 0
    (tmp_path / "list.txt").write_text("\n".join(reversed(names)))
    assert run(tmp_path / "list.txt", tmp_path / "out", "--resume", **settings) == 1
    assert "list.txt have other names or another order than that run's" in capsys.readouterr().err
    assert run(images, tmp_path / "out", "--resume") == 0  # the folder of the same images, in the list's first order
    assert final(tmp_path / "out")["iteration"] == 6


@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "bfloat16")])
def test_the_precision_may_change(images, tmp_path, before, after):
    assert run(images, tmp_path, SOLVER__PRECISION=before, SOLVER__STOP_AFTER=2) == 0
    assert run(images, tmp_path, "--resume", SOLVER__PRECISION=after) == 0
    assert f"SOLVER.PRECISION was '{before}', now '{after}'" in (tmp_path / "log.txt").read_text()
    assert final(tmp_path)["iteration"] == 6
    assert bool(final(tmp_path)["scaler"]) == (after == "float16")


def test_another_number_of_processes_goes_on_with_the_same_images():
    """Epochs of 5 steps of 6: two processes to step 7, three to step 8, one to the end. 1 of 31 images is dropped."""
    seen = []
    for start, stop, processes in [(0, 7, 2), (7, 8, 3), (8, 15, 1)]:
        orders = [list(BatchOrder(31, 6, 0, start, stop, Process(r, processes, CPU))) for r in range(processes)]
        seen += [[index for order in orders for index in order[step]] for step in range(stop - start)]
    for epoch in range(3):
        indices = [index for step in seen[5 * epoch : 5 * epoch + 5] for _, index in step]
        assert {of for step in seen[5 * epoch : 5 * epoch + 5] for of, _ in step} == {epoch}
        assert len(indices) == len(set(indices)) == 30
    assert seen == list(BatchOrder(31, 6, 0, 0, 15, Process(0, 1, CPU)))  # nor is the order another


def test_re_estimated_statistics_are_those_of_all_weak_views_together(images, tmp_path):
    """The first BN's input does not depend on any BN, so its population's mean and variance can be had directly."""
    assert run(images, tmp_path / "plain") == 0
    settings = {"MODEL__BN_STATISTICS": "re_estimated", "MODEL__BN_REESTIMATION_STEPS": 3}
    assert run(images, tmp_path / "again", **settings) == 0
    assert run(images, tmp_path / "resumed", SOLVER__STOP_AFTER=5, **settings) == 0
    assert run(images, tmp_path / "resumed", "--resume", **settings) == 0
    plain, again, resumed = (final(tmp_path / name) for name in ("plain", "again", "resumed"))
    assert same(again["query"], resumed["query"])
    for name, weight in plain["query"].items():
        assert torch.equal(weight, again["query"][name]) == ("running" not in name and "num_batches" not in name), name
    assert same(plain["key"], again["key"])
    assert same(plain["rng"], again["rng"])

    from clsa.configs.loading import load_config
    from clsa.pretrain.config import get_cfg

    cfg = load_config(get_cfg(), str(tmp_path / "again" / "config.yaml"))
    normalise, weak = Normalise(CPU, False), []
    for _, view, _ in batches(cfg, open_source(cfg.DATA), Process(0, 1, CPU), 6, 9):
        weak.append(normalise(view))
    convolved = nn.functional.conv2d(torch.cat(weak), again["query"]["backbone.0.weight"], stride=2).transpose(0, 1)
    torch.testing.assert_close(again["query"]["backbone.1.running_mean"], convolved.flatten(1).mean(1))
    torch.testing.assert_close(
        again["query"]["backbone.1.running_var"], convolved.flatten(1).var(1), rtol=1e-3, atol=1e-6
    )


def test_the_monitor_logs_and_changes_nothing(images, tmp_path):
    assert run(images, tmp_path / "off") == 0
    settings = {"MONITOR__PERIOD": 3, "MONITOR__DATA": images, "MONITOR__NEIGHBOURS": 3}
    assert run(images, tmp_path / "on", **settings) == 0
    off, on = final(tmp_path / "off"), final(tmp_path / "on")
    assert same({**off, "config": None}, {**on, "config": None})
    top1 = {record["iteration"]: record.get("knn_top1") for record in lines(tmp_path / "on")}
    assert list(top1) == [2, 3, 4, 6]
    assert top1[2] is top1[4] is None
    assert all(0 <= top1[step] <= 100 for step in (3, 6))
    assert "knn_top1" not in lines(tmp_path / "off")[0]
    assert " knn " in (tmp_path / "on" / "log.txt").read_text()


def test_nearest_neighbours_vote_without_the_image_itself():
    """Angles: 0, 10 and 20 degrees of class 0; 90, 100 of class 1, and 12 of class 1, among the wrong ones."""
    angles = torch.tensor([0.0, 10, 20, 90, 100, 12]).deg2rad()
    features = 7 * torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    # one neighbour: 0 -> 10 right, 10 -> 12 wrong, 20 -> 12 wrong, 90 -> 100 and back right, 12 -> 10 wrong
    assert leave_one_out_top1(features, labels, 1) == pytest.approx(100 * 3 / 6)
    # all five vote, nearer ones count more: 0 right; 10 and 20: two of class 0 near; 90, 100 by each other; 12 wrong
    assert leave_one_out_top1(features, labels, 5) == pytest.approx(100 * 5 / 6)


def test_the_monitors_images_are_spread_over_classes_and_images():
    samples = [(f"{label}/{number}", label) for label in range(10) for number in range(6)]
    assert choose(samples, 2, 3) == [("0/0", 0), ("0/2", 0), ("0/4", 0), ("5/0", 5), ("5/2", 5), ("5/4", 5)]
    assert choose(samples, 99, 99) == samples


def test_the_monitor_refuses_what_it_cannot_use(images, tmp_path, capsys):
    for settings, message in [
        ({"MONITOR__PERIOD": 3}, "MONITOR.PERIOD is set, but MONITOR.DATA is empty"),
        ({"MONITOR__PERIOD": 3, "MONITOR__DATA": "/no/such"}, "MONITOR.DATA '/no/such' does not exist"),
        ({"MONITOR__PERIOD": 3, "MONITOR__DATA": images}, "gives 11 images, the monitor needs two classes and more"),
    ]:
        assert run(images, tmp_path / "out", **settings) == 1
        assert message in capsys.readouterr().err


def test_sync_bn_wants_gpus():
    from clsa.configs.command import InputError
    from clsa.configs.loading import load_config
    from clsa.pretrain.config import get_cfg

    cfg = load_config(get_cfg(), None, ["MODEL.NORM", "SyncBN", "MODEL.DEPTH", "18"])
    MomentumContrast(cfg, Process(0, 1, CPU))  # alone there is nothing to share
    with pytest.raises(InputError, match="SyncBN normalises over several processes on GPUs only"):
        MomentumContrast(cfg, Process(0, 2, CPU))
