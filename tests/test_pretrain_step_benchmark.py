"""The step's benchmark at toy size: both sides compute the same; views as they are handed over, and loaders."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root, chance = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(3):  # fewer than a batch
        Image.fromarray(chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(root / f"{number}.jpg")
    return root


@pytest.fixture
def printed(monkeypatch, capsys):
    """``printed("--batch", "4")``: what the benchmark says."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["step.py", "--depth", "18", "--queue", "16", "--scale", "0.1", *words])
        monkeypatch.syspath_prepend(str(BENCHMARKS))  # as where it is run as a script
        runpy.run_path(str(BENCHMARKS / "step.py"), run_name="__main__")  # stops where the losses differ
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("method", "views", "rounds"), [("clsa_single", 3, 2), ("clsa_multi", 11, 1)])
def test_a_step_from_what_the_loader_hands_over(method, views, rounds, printed):
    """Ours from uint8 crops, with drawn operations for the device."""
    said = printed("--method", method, "--batch", "4", "--rounds", str(rounds), "--augment-on", "device")
    assert f"{method}, ResNet-18, batch 4, queue 16, views{views * ' 32'}, cpu" in said
    literal, ours = re.search(r"literal ([0-9.]+), ours ([0-9.]+)", said).groups()
    assert float(literal) == pytest.approx(float(ours), rel=1e-4)
    assert re.search(r"literal / ours, CPU time: [0-9.]+ \([0-9.]+ to [0-9.]+, " + f"{rounds} rounds", said)
    assert "loaded" not in said


def test_loaders_and_steps_in_turn(images, printed):
    words = ["--batch", "4", "--rounds", "1", "--images", str(images), "--workers", "1", "--augment-on", "device"]
    said = printed(*words, "--loaded-rounds", "2", "--loaded-steps", "1")
    assert re.search(r"literal, loaded +CPU +[0-9.]+ s  wall +[0-9.]+ s +[0-9.]+ images/s", said)
    assert re.search(r"ours, loaded +CPU +[0-9.]+ s  wall +[0-9.]+ s +[0-9.]+ images/s", said)
    assert re.search(r"literal / ours, loaded, CPU time: [0-9.]+ \([0-9.]+ to [0-9.]+, 2 rounds\)", said)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(images, printed):
    """In bfloat16, and with the check that our step waits for nothing."""
    words = ["--device", "cuda", "--batch", "8", "--rounds", "2", "--images", str(images), "--workers", "1"]
    said = printed(*words, "--loaded-rounds", "2", "--loaded-steps", "2")
    assert "literal / ours, wall time: " in said
    assert "literal / ours, loaded, wall time: " in said
    assert "peak memory" in said
