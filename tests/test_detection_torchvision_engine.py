"""The torchvision engine's loop: it trains, resumes bit for bit, runs in two processes, and stops with a sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.configs.run_files import read_result
from clsa.detection.config import get_cfg
from clsa.detection.detection_result import protocol_id, weights_record
from clsa.detection.detector_checkpoint import last_checkpoint, read_checkpoint, write_checkpoint
from clsa.detection.metrics_log import MetricsLog, Window
from clsa.detection.norm_layers import refuse_sync_bn_on_cpu
from clsa.detection.rcnn import build_model
from clsa.detection.torchvision_engine import run
from clsa.detection.torchvision_training import require_finite

CPU = torch.device("cpu")
ALONE = Process(0, 1, CPU)

#: The smallest detector that is still one: ResNet-18, images of 32 pixels, a handful of regions.
SMALL = f"""
_BASE_: {Path(__file__).parent / "small_c4_r18.yaml"}
MODEL: {{DEVICE: cpu}}
INPUT: {{MIN_SIZE_TRAIN: [32, 40]}}
DATASETS: {{TRAIN: [voc_2007_trainval, voc_2012_trainval]}}
SOLVER: {{IMS_PER_BATCH: 4, BASE_LR: 0.01, MAX_ITER: 4, STEPS: [3], WARMUP_ITERS: 2, CHECKPOINT_PERIOD: 2}}
TEST: {{PRECISE_BN: {{ENABLED: True, NUM_ITER: 2}}}}
"""

FPN_WITH_MASKS = """
MODEL:
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  MASK_ON: True
  RESNETS: {OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 8}
  ANCHOR_GENERATOR: {SIZES: [[8], [16], [32], [64], [128]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6]}
  ROI_HEADS: {NAME: StandardROIHeads, NUM_CLASSES: 80, IN_FEATURES: [p2, p3, p4, p5]}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 8}
  ROI_MASK_HEAD: {NUM_CONV: 1, CONV_DIM: 8, POOLER_RESOLUTION: 4}
DATASETS: {TRAIN: [coco_2017_train], TEST: [coco_2017_val]}
"""


@pytest.fixture
def small(tmp_path, mini_root, monkeypatch):
    """``small(name, KEY, VALUE, ...)``: the small config with ``OUTPUT_DIR`` tmp_path/name."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    config_file = tmp_path / "small_voc.yaml"
    config_file.write_text(SMALL)
    (tmp_path / "small_coco.yaml").write_text(f"_BASE_: small_voc.yaml\n{FPN_WITH_MASKS}")

    def build(name, *overrides, file="small_voc.yaml"):
        return load_config(get_cfg(), str(tmp_path / file), ["OUTPUT_DIR", str(tmp_path / name), *overrides])

    return build


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def assert_tensorboard_has_the_same(folder):
    """Every number of metrics.json, and no other, whatever was written before a resumption."""
    events = EventAccumulator(str(folder))
    events.Reload()
    lines = metrics_of(folder)
    assert set(events.Tags()["scalars"]) == lines[0].keys() - {"iteration"}
    for name in events.Tags()["scalars"]:
        read = {event.step: event.value for event in events.Scalars(name)}
        assert read == {line["iteration"]: pytest.approx(line[name], rel=1e-6) for line in lines}, name  # of float32


def assert_same(a, b, path="checkpoint"):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}[{i}]")
    else:
        assert a == b, path


def test_a_voc_run_leaves_what_it_should(small, tmp_path, mini_root):
    path = run(ALONE, small("out"), "small-voc")
    result = read_result(path)
    assert path == tmp_path / "out" / "result.json"
    assert (result["stage"], result["protocol"], result["engine"]) == ("detection", "small-voc", "torchvision")
    assert result["metric_flavour"] == "VOC 11-point, IoU .50:.95"
    form = {f"bbox_coco_form/{metric}" for metric in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
    assert set(result["values"]) == {"bbox/AP", "bbox/AP50", "bbox/AP75"} | form
    assert result["details"]["flavours"]["bbox_coco_form"] == "COCO form of VOC, difficult ignored"
    assert len(result["per_class"]["bbox/AP"]) == 20
    assert result["weights"] == {"file": None, "sha256": None, "architecture": {"depth": 18, "width_per_group": 64}}
    assert result["seed"] == 7
    test_ids = (mini_root / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split()
    assert result["dataset"]["name"] == "voc_2007_test"
    assert result["dataset"]["fingerprint"]["images"] == len(test_ids)
    assert result["dataset"]["miniature"]["size"] == "tiny"
    details = result["details"]
    assert details["verified_tensors"] == 0
    assert details["parameters"] > 1e7
    assert [d["name"] for d in details["train_datasets"]] == ["voc_2007_trainval", "voc_2012_trainval"]
    lines = metrics_of(tmp_path / "out")
    assert [line["iteration"] for line in lines] == [0, 1, 2, 3]
    assert {"total_loss", "loss_cls", "loss_rpn_loc", "lr", "data_time", "time", "eta_seconds"} <= lines[0].keys()
    assert lines[3]["eta_seconds"] == 0
    assert lines[2]["lr"] == pytest.approx(0.01)
    assert lines[3]["lr"] == pytest.approx(0.001)
    detections = json.loads((tmp_path / "out" / "inference" / "detections.json").read_text())
    assert all(set(d) == {"image_id", "category_id", "category", "bbox", "score"} for d in detections)
    assert "starts from random weights (seed 7)" in (tmp_path / "out" / "log.txt").read_text()
    assert (tmp_path / "out" / "config.yaml").is_file()
    assert list((tmp_path / "out").glob("events.out.tfevents.*"))


def test_a_resumed_run_ends_with_the_same_bits(small, tmp_path):
    whole, stopped = small("whole"), small("stopped")
    run(ALONE, whole, "small-voc")
    run(ALONE, stopped, "small-voc")
    for name in ("model_final.pth", "result.json"):  # as if killed in iteration 3
        (tmp_path / "stopped" / name).unlink()
    (tmp_path / "stopped" / "last_checkpoint").write_text("model_0000001.pth")
    with open(tmp_path / "stopped" / "metrics.json", "a") as file:
        file.write('{"iteration": 3, "total_l')
    run(ALONE, stopped, "small-voc", resume=True)
    a, b = (read_checkpoint(tmp_path / name / "model_final.pth") for name in ("whole", "stopped"))
    assert a["iteration"] == b["iteration"] == 4
    for content in (a, b):
        del content["seconds"], content["config"]
    assert_same(a, b)
    losses = [[line["total_loss"] for line in metrics_of(tmp_path / name)] for name in ("whole", "stopped")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    for name in ("whole", "stopped"):
        assert_tensorboard_has_the_same(tmp_path / name)
    assert (
        read_result(tmp_path / "whole" / "result.json")["values"]
        == (read_result(tmp_path / "stopped" / "result.json")["values"])
    )


def test_masks_on_a_pyramid_then_evaluation_alone(small, tmp_path):
    run(ALONE, small("coco", "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", file="small_coco.yaml"), "small-coco")
    first = read_result(tmp_path / "coco" / "result.json")
    assert first["metric_flavour"] == "COCO"
    metrics = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    assert set(first["values"]) == {f"{task}/{metric}" for task in ("bbox", "segm") for metric in metrics}
    assert set(first["per_class"]) == {"bbox/AP", "bbox/APs", "segm/AP", "segm/APs"}
    assert (tmp_path / "coco" / "inference" / "coco_instances_results.json").is_file()
    detector = str(tmp_path / "coco" / "model_final.pth")
    same = ("MODEL.WEIGHTS", detector, "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()")
    run(ALONE, small("again", *same, file="small_coco.yaml"), "another-name", eval_only=True)
    again = read_result(tmp_path / "again" / "result.json")
    assert again["values"] == first["values"]
    assert again["protocol"] == "small-coco"
    assert again["weights"] == first["weights"]  # the backbone's, not the detector's
    assert again["details"]["detector"]["file"] == detector
    assert again["details"]["iterations"] == 2


def test_a_detector_of_another_architecture(small, tmp_path):
    """Of an older version, whose checkpoint does not say what it was trained with."""
    content = {"model": build_model(small("voc")).state_dict(), "seed": 7, "seconds": 1.0}
    detector = str(write_checkpoint(tmp_path, 1, True, content))
    with pytest.raises(InputError, match=r"does not fit the config: \d+ tensors differ"):
        run(ALONE, small("b", "MODEL.WEIGHTS", detector, file="small_coco.yaml"), "small-coco", eval_only=True)


def test_evaluation_alone_needs_a_detector(small):
    with pytest.raises(InputError, match="--eval-only needs a detector"):
        run(ALONE, small("a"), "small-voc", eval_only=True)


def test_mixed_precision_and_evaluation_on_the_way(small, tmp_path):
    run(ALONE, small("amp", "SOLVER.AMP.ENABLED", "True", "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "1"), "small-voc")
    assert all(line["total_loss"] > 0 for line in metrics_of(tmp_path / "amp"))
    assert (tmp_path / "amp" / "log.txt").read_text().count("voc_2007_test (VOC 11-point") == 2


def test_weights_are_loaded_and_counted(small, tmp_path):
    from clsa.convert.backbone_file import build_trunk, write_backbone

    torch.manual_seed(3)
    state = {k: v for k, v in build_trunk(18).state_dict().items() if not k.endswith("num_batches_tracked")}
    weights = tmp_path / "backbone.pth"
    write_backbone(weights, state, "torchvision", {"source": {"file": "some_checkpoint.pth", "method": "moco_v2"}})
    run(ALONE, small("w", "MODEL.WEIGHTS", str(weights), "SOLVER.MAX_ITER", "1", "SOLVER.BASE_LR", "0."), "small-voc")
    result = read_result(tmp_path / "w" / "result.json")
    assert result["details"]["verified_tensors"] == len(state) == 100  # 20 convolutions and 20 norms of 4 tensors
    assert result["weights"] == weights_record(weights)
    assert result["weights"]["architecture"]["depth"] == 18
    assert result["weights"]["source"]["method"] == "moco_v2"
    trained = read_checkpoint(tmp_path / "w" / "model_final.pth")
    assert trained["weights"] == result["weights"]
    assert torch.equal(trained["model"]["backbone.stem.conv1.weight"], state["conv1.weight"])  # lr 0


def test_an_infinite_loss_stops_with_its_parts(small):
    with pytest.raises(
        InputError, match=r"not finite at iteration 12 \(lr 0.02\): total_loss nan, loss_cls nan, loss_x 1"
    ):
        require_finite({"total_loss": float("nan"), "loss_cls": float("nan"), "loss_x": 1.0}, 12, 0.02)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("DATASETS.TEST", "()"), "exactly one data set is needed"),
        (("DATASETS.TRAIN", "()"), "DATASETS.TRAIN is empty"),
        (("MODEL.ROI_HEADS.NUM_CLASSES", "80"), "has 20 classes: set it to 20"),
        (("MODEL.RESNETS.STRIDE_IN_1X1", "True"), "STRIDE_IN_1X1 is True"),
        (("MODEL.DEVICE", "cuda:1"), "MODEL.DEVICE is .cuda:1., which the torchvision engine"),
        (("MODEL.WEIGHTS", "nowhere.pth"), "MODEL.WEIGHTS nowhere.pth does not exist"),
    ],
)
def test_unusable_configs(small, overrides, message):
    with pytest.raises(InputError, match=message):
        run(ALONE, small("x", *overrides), "small-voc")


def test_two_processes_train_and_evaluate_together(small, tmp_path, mini_root):
    """gloo on the CPU, by the command itself."""
    command = [sys.executable, "-m", "clsa.detection.train_net", "--engine", "torchvision", "--num-gpus", "2"]
    command += ["--config-file", str(tmp_path / "small_voc.yaml"), "OUTPUT_DIR", str(tmp_path / "two")]
    command += ["SOLVER.MAX_ITER", "2", "MODEL.RESNETS.NORM", "naiveSyncBN", "MODEL.WEIGHTS", ""]
    small("unused")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": str(mini_root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "two" / "result.json")
    assert result["details"]["processes"] == 2
    assert result["protocol"] == "small-voc MODEL.RESNETS.NORM=naiveSyncBN SOLVER.MAX_ITER=2"
    assert len(metrics_of(tmp_path / "two")) == 2
    assert result["dataset"]["fingerprint"]["images"] == 40


def test_the_model_computes_where_its_process_does(small, monkeypatch):
    class Reached(Exception):
        pass

    def train(process, cfg, model, *_):
        raise Reached({parameter.device.type for parameter in model.parameters()})

    monkeypatch.setattr("clsa.detection.torchvision_engine.train", train)
    with pytest.raises(Reached, match=r"\{'meta'\}"):  # in place of a GPU
        run(Process(0, 1, torch.device("meta")), small("x"), "small-voc")


def test_sync_bn_in_several_processes_needs_gpus(small):
    cfg = small("x", "MODEL.RESNETS.NORM", "SyncBN")
    refuse_sync_bn_on_cpu(cfg, ALONE)
    refuse_sync_bn_on_cpu(cfg, Process(3, 8, torch.device("cuda", 3)))
    with pytest.raises(InputError, match="SyncBN, which several processes can only run on GPUs"):
        refuse_sync_bn_on_cpu(cfg, Process(0, 2, CPU))


def test_checkpoints_are_read_without_trust(tmp_path):
    write_checkpoint(tmp_path, 5, False, {"model": {"w": torch.ones(2)}})
    assert last_checkpoint(tmp_path) == tmp_path / "model_0000004.pth"
    path = write_checkpoint(tmp_path, 6, True, {"model": {"w": torch.ones(2)}})
    assert last_checkpoint(tmp_path) == path == tmp_path / "model_final.pth"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"model_final.pth cannot be read as a checkpoint"):
        read_checkpoint(path)
    torch.save({"model": {}}, path)
    with pytest.raises(InputError, match="is no detector of the torchvision engine"):
        read_checkpoint(path)
    torch.save({"format": Malicious()}, path)
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(path)
    (tmp_path / "last_checkpoint").write_text("../elsewhere.pth")
    with pytest.raises(InputError, match="which is not in that folder"):
        last_checkpoint(tmp_path)
    assert last_checkpoint(tmp_path / "empty") is None


class Malicious:
    def __reduce__(self):
        return (os.system, ("echo this must not run",))


def test_metrics_of_a_stopped_run_are_cut_at_the_resumed_iteration(tmp_path):
    (tmp_path / "metrics.json").write_text('{"iteration": 1, "a": 1}\n{"iteration": 5, "a": 2}\n{"iterat')
    log = MetricsLog(tmp_path, start=4)
    log.write(7, {"a": 3.0})
    log.close()
    assert [line["iteration"] for line in metrics_of(tmp_path)] == [1, 7]


def test_window_means():
    window = Window(ALONE)
    window.add({"a": 1.0, "b": 4.0})
    window.add({"a": 2.0, "b": 8.0})
    assert window.mean_over_processes() == {"a": 1.5, "b": 6.0}


def test_protocol_names_what_was_changed():
    assert protocol_id("configs/detection/voc_r50_c4_24k.yaml") == "voc-r50-c4-24k"
    assert protocol_id("a/voc_r50_c4_24k.yaml", ["SEED", "1", "MODEL.WEIGHTS", "w.pkl"]) == "voc-r50-c4-24k"
    changed = protocol_id("voc.yaml", ["SOLVER.MAX_ITER", "9", "SEED", "1", "SOLVER.BASE_LR", "0.1"])
    assert changed == "voc SOLVER.BASE_LR=0.1 SOLVER.MAX_ITER=9"


def test_weights_record(tmp_path):
    assert weights_record("") == weights_record(None) == {"file": None, "sha256": None}
    path = tmp_path / "w.pkl"
    path.write_bytes(b"abc")
    record = weights_record(path)
    assert record["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record["source"] is record["architecture"] is None
    (tmp_path / "w.pkl.json").write_text('{"source": {"method": "x"}, "architecture": {"depth": 101}}')
    assert weights_record(path)["architecture"] == {"depth": 101}
    (tmp_path / "w.pkl.json").write_text("{")
    with pytest.raises(InputError, match="not a readable manifest"):
        weights_record(path)
