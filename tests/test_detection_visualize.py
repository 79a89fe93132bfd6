"""Pictures of detections: which images, which objects are small, what counts as found, and that a PNG comes out."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.detection.config import get_cfg
from clsa.detection.dataset_dicts import find_source
from clsa.detection.detect_images import Detector
from clsa.detection.detector_checkpoint import write_checkpoint
from clsa.detection.draw_detections import Drawn, match
from clsa.detection.rcnn import build_model
from clsa.detection.train_net import main
from clsa.detection.visualize import most_small, read_detections, read_truth, visualize


@pytest.fixture
def run(tmp_path, mini_root, monkeypatch):
    """``run(name)``: folder of an evaluated run on that test set; every object found, in COCO but the last."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))

    def build(name):
        source = find_source(name)
        if source.kind == "coco":
            truth = json.loads((mini_root / "coco/annotations/instances_val2017.json").read_text())["annotations"]
            found = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.5} for a in truth[:-1]]
            file = "coco_instances_results.json"
        else:
            number = {class_name: k for k, class_name in enumerate(source.class_names)}
            found = [
                {
                    "image_id": image_id,
                    "category_id": number[thing.label],
                    "bbox": [*thing.box[:2], *(thing.box[2:] - thing.box[:2])],
                    "score": 0.5,
                }
                for image_id, (_, objects) in read_truth(source).items()
                for thing in objects
            ]
            file = "detections.json"
        folder = tmp_path / name
        (folder / "inference").mkdir(parents=True)
        (folder / "inference" / file).write_text(json.dumps(found))
        (folder / "config.yaml").write_text(yaml.safe_dump({"DATASETS": {"TEST": [name]}}))
        return folder

    return build


def thing(x1, y1, x2, y2, label="cat", **more):
    return Drawn(np.array([x1, y1, x2, y2], dtype=np.float64), label, is_small=False, **more)


def test_what_counts_as_found():
    objects = [
        thing(0, 0, 10, 10),
        thing(0, 0, 10, 9),
        thing(50, 50, 60, 60, "dog"),
        thing(80, 0, 90, 10, ignored=True),
    ]
    detections = [
        thing(0, 0, 10, 9),  # the second cat exactly
        thing(0, 0, 10, 9),  # the first is still free, IoU 0.9
        thing(0, 0, 10, 9),  # none is left
        thing(50, 50, 60, 60, "cat"),  # another class
        thing(50, 50, 60, 54, "dog"),  # IoU 0.4
        thing(80, 0, 90, 10),  # difficult: found as often as it likes
        thing(80, 0, 90, 10),
    ]
    assert match(objects, detections) == [1, 0, None, None, None, 3, 3]
    assert match(objects, []) == []
    assert match([], detections[:2]) == [None, None]


@pytest.mark.parametrize("name", ["voc_2007_test", "coco_2017_val"])
def test_truth_and_detections_stand_in_the_same_pixels(run, name):
    """What was written as the evaluation writes it lies exactly on its object."""
    folder, source = run(name), find_source(name)
    truth, found = read_truth(source), read_detections(folder, source)
    image_id = next(iter(truth))
    objects = truth[image_id][1]
    assert match(objects, found[image_id])[0] is not None
    np.testing.assert_allclose(found[image_id][0].box, objects[0].box)
    assert truth[image_id][0].is_file()


def test_small_is_coco_s_small(mini_root, run):
    run("coco_2017_val")
    annotations = json.loads((mini_root / "coco/annotations/instances_val2017.json").read_text())["annotations"]
    truth = read_truth(find_source("coco_2017_val"))
    assert sum(t.is_small for _, objects in truth.values() for t in objects) == sum(
        a["area"] < 1024 for a in annotations
    )
    counts = [sum(t.is_small for t in truth[image_id][1]) for image_id in most_small(truth, 5)]
    assert len(counts) == 5
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == max(sum(t.is_small for t in objects) for _, objects in truth.values()) > 0


def test_the_command_draws_what_it_is_asked_for(run, capsys):
    folder = run("coco_2017_val")
    image_id = list(read_truth(find_source("coco_2017_val")))[1]
    assert main(["--visualize", str(folder), "--images", image_id, "--min-score", "0.4"]) == 0
    path = folder / "visualized" / f"{image_id}.png"
    assert capsys.readouterr().out.split() == [str(path)]
    with Image.open(path) as picture:
        assert picture.width == 1500
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels == (0x56, 0xB4, 0xE9)).all(axis=-1).any()  # the colour of what was found
    with pytest.raises(InputError, match=r"'77' is no image of coco_2017_val; its ids are such as"):
        visualize(folder, ["77"], None, None)
    with pytest.raises(InputError, match="--count is 0"):
        visualize(folder, None, 0, None)


def test_a_run_that_was_not_evaluated_says_how_it_can_be(run, tmp_path, capsys):
    folder = run("voc_2007_test")
    (folder / "inference" / "detections.json").write_text('[{"image_id": 1}]')
    with pytest.raises(InputError, match="holds no detections of voc_2007_test"):
        visualize(folder, None, None, None)
    (folder / "inference" / "detections.json").unlink()
    assert main(["--visualize", str(folder)]) == 1
    assert "has not been evaluated. Do it with clsa-detect --engine E --config-file" in capsys.readouterr().err
    assert main(["--visualize", str(tmp_path / "nothing")]) == 1
    assert "Give the OUTPUT_DIR of a finished run" in capsys.readouterr().err


SMALL_DETECTOR = """
MODEL:
  DEVICE: cpu
  WEIGHTS: ""
  BACKBONE: {FREEZE_AT: 0}
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, NORM: BN, STRIDE_IN_1X1: False}
  RPN: {PRE_NMS_TOPK_TEST: 10, POST_NMS_TOPK_TEST: 4}
  ROI_HEADS: {NAME: Res5ROIHeadsExtraNorm, NUM_CLASSES: 20, SCORE_THRESH_TEST: 0.0}
  ROI_BOX_HEAD: {POOLER_RESOLUTION: 2}
INPUT: {MIN_SIZE_TEST: 32}
DATASETS: {TRAIN: [voc_2007_trainval], TEST: [voc_2007_test]}
DATALOADER: {NUM_WORKERS: 0}
"""


def test_with_a_config_the_detector_runs_on_the_images(mini_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    (tmp_path / "small.yaml").write_text(SMALL_DETECTOR)
    cfg = load_config(get_cfg(), str(tmp_path / "small.yaml"))
    torch.manual_seed(0)
    model = build_model(cfg)
    content = dict.fromkeys(("optimizer", "scaler", "config")) | {"seconds": 0.0, "seed": 0, "verified": 0}
    weights = write_checkpoint(tmp_path, 1, True, {**content, "weights": {"file": None}, "model": model.state_dict()})
    source = find_source("voc_2007_test")
    first, second, *_ = read_truth(source)

    detector = Detector("torchvision", with_weights(cfg, weights), Process(0, 1, torch.device("cpu")))
    alone, both = detector.results(source, [second]), detector.results(source, [first, second])
    assert {result["image_id"] for result in alone} == {second}
    assert alone == [result for result in both if result["image_id"] == second]
    assert len(alone) > 0

    words = ["--num-gpus", "0", "--config-file", str(tmp_path / "small.yaml"), "--visualize", str(tmp_path / "out")]
    command = [*words, "--images", second]
    assert main(["--engine", "torchvision", *command, "MODEL.WEIGHTS", str(weights)]) == 0
    path = tmp_path / "out" / "visualized" / f"{second}.png"
    assert capsys.readouterr().out.split() == [str(path)]
    with Image.open(path) as picture:
        picture.load()
    assert main(["--engine", "torchvision", *command]) == 1
    assert "give MODEL.WEIGHTS OUTPUT_DIR/model_final.pth of a finished run" in capsys.readouterr().err
    assert main([*command, "MODEL.WEIGHTS", str(weights)]) == 1
    assert "give --engine torchvision or detectron2" in capsys.readouterr().err


def with_weights(cfg, path):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(path)
    return cfg


def test_the_test_set_is_that_of_the_last_evaluation(run):
    """An evaluation alone leaves no config.yaml, or in the run's own folder the training's."""
    folder = run("coco_2017_val")
    (folder / "config.yaml").write_text(yaml.safe_dump({"DATASETS": {"TEST": ["voc_2007_test"]}}))
    (folder / "result.json").write_text(json.dumps({"config": {"DATASETS": {"TEST": ["coco_2017_val"]}}}))
    (picture,) = visualize(folder, None, 1, None)
    assert picture.is_file()
