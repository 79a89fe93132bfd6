"""Several processes on a part of the batch each do what one process does on all of it: losses, weights, statistics.

So that nothing but the number of processes differs, no candidate is drawn by lot (as many are wanted as there are, all
of them may be objects), every image has one size, hence no padding, and as many objects, hence as many regions.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.configs.run_files import read_result
from clsa.detection.config import get_cfg
from clsa.detection.detector_checkpoint import read_checkpoint
from clsa.detection.rcnn import build_model
from clsa.detection.torchvision_engine import run

#: ResNet-18, 64 pixels: 4 x 4 x 6 anchors, 8 proposals and 2 true boxes of an image.
CONFIG = f"""
_BASE_: {Path(__file__).parent / "small_c4_r18.yaml"}
MODEL:
  DEVICE: cpu
  WEIGHTS: ""
  RESNETS: {{NORM: naiveSyncBN}}
  RPN: {{BATCH_SIZE_PER_IMAGE: 96, POSITIVE_FRACTION: 1.0, PRE_NMS_TOPK_TRAIN: 96}}
  ROI_HEADS: {{BATCH_SIZE_PER_IMAGE: 10, POSITIVE_FRACTION: 1.0}}
INPUT: {{MIN_SIZE_TRAIN: [64], MIN_SIZE_TEST: 64}}
DATASETS: {{TRAIN: [voc_2007_trainval]}}
DATALOADER: {{ASPECT_RATIO_GROUPING: False}}
SOLVER: {{IMS_PER_BATCH: 2, BASE_LR: 0.01, MAX_ITER: 3, STEPS: [2], WARMUP_ITERS: 0}}
"""
OBJECT = (
    "<object><name>{}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """VOC2007 of 64 x 64 pixels with two objects in every image, and the config that trains on it."""
    tmp_path = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    voc = tmp_path / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (voc / folder).mkdir(parents=True)
    ids = [f"{i:06d}" for i in range(8)]
    for image_id in ids:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(voc / "JPEGImages" / f"{image_id}.jpg")
        boxes = [(x, y, x + 20, y + 24) for x, y in rng.integers(1, 40, (2, 2))]
        objects = "".join(OBJECT.format(name, *box) for name, box in zip(("dog", "cat"), boxes, strict=True))
        size = "<size><width>64</width><height>64</height><depth>3</depth></size>"
        (voc / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("\n".join(ids[:6]) + "\n")
    (voc / "ImageSets" / "Main" / "test.txt").write_text("\n".join(ids[6:]) + "\n")
    (tmp_path / "small_voc.yaml").write_text(CONFIG)
    return tmp_path


def start(root: Path, output: Path, launcher: list[str], options: list[str], *opts: str) -> subprocess.Popen:
    """``clsa-detect`` on the CPU."""
    command = [sys.executable, *launcher, "-m", "clsa.detection.train_net", "--num-gpus", "0", *options]
    command += ["--config-file", str(root / "small_voc.yaml"), "OUTPUT_DIR", str(output), *opts]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": str(root)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def torchrun(root: Path) -> Path:
    """OUTPUT_DIR of two processes that torchrun started."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = start(root, root / "two", launcher, ["--engine", "torchvision"])
    _, said = run.communicate()
    assert run.returncode == 0, said
    return root / "two"


def said_on_two_machines(root: Path, outputs: list[Path], engine: str, *opts: str, flags: tuple[str, ...] = ()) -> list:
    """Exit code and words of each of two processes that were started by hand, as on two machines."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    words = ["--engine", engine, *flags, "--num-machines", "2", "--dist-url", url, "--machine-rank"]
    machines = [start(root, output, [], [*words, str(rank)], *opts) for rank, output in enumerate(outputs)]
    said = ["".join(machine.communicate(timeout=300)) for machine in machines]
    return [(machine.returncode, text) for machine, text in zip(machines, said, strict=True)]


def on_two_machines(root: Path, output: Path, engine: str, *opts: str) -> list[str]:
    """What each of the two said, when both have done their work."""
    machines = said_on_two_machines(root, [output, output], engine, *opts)
    for code, said in machines:
        assert code == 0, said
    return [said for _, said in machines]


def test_two_machines_by_hand_do_what_torchrun_does(root, torchrun) -> None:
    output = root / "machines"
    said = on_two_machines(root, output, "torchvision")
    assert [text.count("result.json written") for text in said] == [1, 0]
    ours, theirs = (read_result(folder / "result.json") for folder in (output, torchrun))
    assert ours["details"]["processes"] == 2
    assert all(ours[key] == theirs[key] for key in ("values", "per_class", "seed", "protocol", "dataset"))
    a, b = (read_checkpoint(folder / "model_final.pth")["model"] for folder in (output, torchrun))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_two_machines_that_do_not_see_one_checkpoint_both_stop(root, torchrun) -> None:
    """One would go on from it and the other begin anew."""
    outputs = [torchrun, root / "of_its_own"]
    machines = said_on_two_machines(root, outputs, "torchvision", "SOLVER.MAX_ITER", "4", flags=("--resume",))
    found = "process 0 finds model_final.pth of iteration 3, process 1 no checkpoint"
    for code, said in machines:
        assert code == 1
        assert f"OUTPUT_DIR {torchrun}: {found}. It must be on a disk that all machines share." in said
        assert "Traceback" not in said


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
def test_two_machines_by_hand_with_detectron2(root) -> None:
    """Its own launch, with gloo on the CPU; a narrow ResNet-50, as its C4 head has no other; FrozenBN up to res2."""
    narrow = [
        "MODEL.RESNETS.DEPTH",
        "50",
        "MODEL.RESNETS.RES2_OUT_CHANNELS",
        "32",
        "MODEL.RESNETS.WIDTH_PER_GROUP",
        "8",
    ]
    frozen = ["MODEL.BACKBONE.FREEZE_AT", "2"]
    said = on_two_machines(root, root / "d2", "detectron2", *narrow, *frozen, "SEED", "-1")
    assert [text.count("result.json written") for text in said] == [1, 0]
    result = read_result(root / "d2" / "result.json")
    assert (result["engine"], result["details"]["processes"]) == ("detectron2", 2)
    for log in ("log.txt", "log.txt.rank1"):  # one seed for both machines, though none was given
        assert f"starts from random weights (seed {result['seed']})" in (root / "d2" / log).read_text()
    assert sum("total_loss" in line for line in (root / "d2" / "metrics.json").read_text().splitlines()) == 1

    longer = [*narrow, *frozen, "SOLVER.MAX_ITER", "4"]
    outputs = [root / "d2", root / "d2_of_its_own"]
    for code, said in said_on_two_machines(root, outputs, "detectron2", *longer, flags=("--resume",)):
        assert code == 1
        assert "error: OUTPUT_DIR" in said
        assert "process 0 finds model_final.pth of iteration 3, process 1 no checkpoint. It must be on a disk" in said
        assert "Traceback" not in said


def test_two_processes_under_torchrun_train_as_one_on_the_whole_batch(root, torchrun, monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    cfg = load_config(get_cfg(), str(root / "small_voc.yaml"), ["OUTPUT_DIR", str(root / "one")])
    run(Process(0, 1, torch.device("cpu")), cfg, "small-voc")
    result = json.loads((root / "two" / "result.json").read_text())
    assert result["details"]["processes"] == 2

    one, two = (
        [json.loads(line) for line in (root / folder / "metrics.json").read_text().splitlines()]
        for folder in ("one", "two")
    )
    assert len(one) == len(two) == 3
    for ours, wanted in zip(two, one, strict=True):
        for name in ("total_loss", "loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"):
            assert ours[name] == pytest.approx(wanted[name], rel=1e-5), name
            assert wanted[name] > 0
        assert ours["lr"] == wanted["lr"]

    a, b = (read_checkpoint(root / name / "model_final.pth")["model"] for name in ("one", "two"))
    torch.manual_seed(7)
    start = build_model(cfg).state_dict()
    for name in start:
        if name.endswith(("running_var", "num_batches_tracked")):
            continue  # naiveSyncBN's running variance is the biased one, a single process's is not: see its docstring
        change, gap = (a[name] - start[name]).double().norm(), (a[name] - b[name]).double().norm()
        assert change > 0, name
        assert gap < 1e-3 * change, name  # float32's steps at a norm's weight of 1: 2e-4
