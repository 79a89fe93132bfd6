"""What a detector was trained with stays with it: which runs are refused, and what an evaluation's result says."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clsa.configs.loading import load_config
from clsa.configs.run_files import plain, read_result
from clsa.convert.backbone_file import build_trunk, write_backbone
from clsa.detection.config import get_cfg
from clsa.detection.detector_checkpoint import read_checkpoint, where_to_start
from clsa.detection.train_net import main
from clsa.detection.training_record import evaluated_protocol, result_fields
from clsa.reproduce import stamp
from clsa.reproduce.stage import Stage

#: ResNet-18, images of 32 pixels, two proposals of an image.
CONFIG = f"""
_BASE_: {Path(__file__).parent / "small_c4_r18.yaml"}
MODEL: {{WEIGHTS: See Instructions}}
DATASETS: {{TRAIN: [voc_2012_trainval]}}
SOLVER: {{IMS_PER_BATCH: 2, BASE_LR: 0.001, MAX_ITER: 1, STEPS: [], WARMUP_ITERS: 0}}
"""
ANNOTATION = (
    "<annotation><size><width>32</width><height>32</height><depth>3</depth></size><object><name>dog</name>"
    "<pose>Left</pose><truncated>0</truncated><difficult>0</difficult><bndbox><xmin>4</xmin><ymin>5</ymin>"
    "<xmax>25</xmax><ymax>28</ymax></bndbox></object></annotation>"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """VOC2007's test set and VOC2012's trainval, two images each, and the config that trains on them."""
    root = tmp_path_factory.mktemp("record")
    rng = np.random.default_rng(0)
    for year, split in (("2007", "test"), ("2012", "trainval")):
        voc = root / f"VOC{year}"
        for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (voc / folder).mkdir(parents=True)
        for image_id in ("000001", "000002"):
            image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            image.save(voc / "JPEGImages" / f"{image_id}.jpg")
            (voc / "Annotations" / f"{image_id}.xml").write_text(ANNOTATION)
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("000001\n000002\n")
    (root / "some_voc.yaml").write_text(CONFIG)
    torch.manual_seed(0)
    state = {k: v for k, v in build_trunk(18).state_dict().items() if not k.endswith("num_batches_tracked")}
    write_backbone(root / "backbone.pth", state, "torchvision", {})
    return root


@pytest.fixture
def detect(world, monkeypatch, capsys):
    """``detect(output, --flag, KEY, VALUE, ...)``: the command; what it said if it stopped with a sentence, or None."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(world))

    def call(output, *words, config=world / "some_voc.yaml"):
        flags = [word for word in words if str(word).startswith("--")]
        opts = [str(word) for word in words if word not in flags]
        capsys.readouterr()
        command = ["--engine", "torchvision", "--num-gpus", "0", "--config-file", str(config), *flags]
        code = main([*command, "OUTPUT_DIR", str(output), *opts])
        return capsys.readouterr().err if code else None

    return call


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """OUTPUT_DIR of a run of one iteration with lr 0.5 from the backbone, trial 3: not to be written into."""
    output = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(world))
        words = ["--engine", "torchvision", "--num-gpus", "0", "--config-file", str(world / "some_voc.yaml")]
        opts = ["MODEL.WEIGHTS", str(world / "backbone.pth"), "SOLVER.BASE_LR", "0.5", "TEST.DETECTIONS_PER_IMAGE", "9"]
        assert main([*words, "--trial", "3", "OUTPUT_DIR", str(output), *opts]) == 0
    return output


@pytest.fixture
def own(trained, tmp_path):
    """A copy of that folder for one test alone."""
    return Path(shutil.copytree(trained, tmp_path / "own"))


def test_a_used_folder_is_refused_without_resume(detect, own):
    before = {path.name: path.read_bytes() for path in own.iterdir() if path.is_file()}
    said = detect(own, "MODEL.WEIGHTS", "", "SOLVER.BASE_LR", "0.02")
    assert (
        "own already holds checkpoints, the newest is model_final.pth. Give --resume to go on with that run, or" in said
    )
    assert {path.name: path.read_bytes() for path in own.iterdir() if path.is_file()} == before


def test_clsa_reproduce_clears_the_folder_of_a_stale_stage_and_resumes_an_unfinished_one(own, tmp_path):
    words = ("--num-gpus", "0", "OUTPUT_DIR", str(own))
    stage = Stage("detect", "a", "a/detect", own, "clsa-detect", words, (), (), (), checkpoints="last_checkpoint")
    stamp.stop(stage, tmp_path, 1.0, "failed")
    assert stamp.start(stage, tmp_path)
    assert where_to_start(own, resume=True) == own / "model_final.pth"
    assert not stamp.start(replace(stage, arguments=(*words, "SOLVER.BASE_LR", "0.1")), tmp_path)
    assert where_to_start(own, resume=False) is None


def test_what_lies_beside_a_checkpoint_does_not_stand_for_it(detect, own):
    """A killed run, or an evaluation of an older version, has left its own config.yaml."""
    now = ("SOLVER.BASE_LR", "0.02", "SOLVER.MAX_ITER", "2", "TEST.DETECTIONS_PER_IMAGE", "9")
    assert "lr 0.5" not in detect(own, "--eval-only", "--resume", *now[:2])
    config = (own / "config.yaml").read_text()
    (own / "config.yaml").write_text(config.replace("BASE_LR: 0.5", "BASE_LR: 0.02"))
    assert "\n  SOLVER.BASE_LR: 0.5 before, 0.02 now\n" in detect(own, "--resume", *now)
    assert detect(own, "--resume", "SOLVER.BASE_LR", "0.5", *now[2:]) is None
    assert read_checkpoint(own / "model_final.pth")["config"]["SOLVER"]["BASE_LR"] == 0.5
    assert "BASE_LR: 0.5" in (own / "config.yaml").read_text()


def test_weights_may_be_left_out_and_given_again(detect, own, world):
    same = ("SOLVER.BASE_LR", "0.5", "TEST.DETECTIONS_PER_IMAGE", "9")
    assert detect(own, "--resume", *same, "SOLVER.MAX_ITER", "2") is None
    backbone = str(world / "backbone.pth")
    assert read_result(own / "result.json")["config"]["MODEL"]["WEIGHTS"] == backbone
    assert detect(own, "--resume", *same, "SOLVER.MAX_ITER", "3", "MODEL.WEIGHTS", backbone) is None
    assert read_result(own / "result.json")["trial"] == 3
    said = detect(own, "--resume", *same, "SOLVER.MAX_ITER", "4", "MODEL.WEIGHTS", "other.pth")
    assert f"MODEL.WEIGHTS: {backbone!r} before, 'other.pth' now" in said


def test_a_detector_is_not_evaluated_under_the_name_of_another_training(detect, trained, tmp_path):
    said = detect(tmp_path / "again", "--eval-only", "MODEL.WEIGHTS", trained / "model_final.pth")
    assert f"--eval-only: {trained / 'model_final.pth'} was trained with another config:\n" in said
    assert "\n  SOLVER.BASE_LR: 0.5 before, 0.001 now\nEvaluate it with the values before" in said
    assert not (tmp_path / "again").exists()


def test_evaluated_again_it_keeps_protocol_trial_and_seconds(detect, own, tmp_path):
    """By the command that ``--visualize`` recommends."""
    first, config = read_result(own / "result.json"), (own / "config.yaml").read_bytes()
    content = torch.load(own / "model_final.pth", weights_only=True)
    torch.save({**content, "seconds": 5000.0}, own / "model_final.pth")
    assert first["protocol"] == "some-voc SOLVER.BASE_LR=0.5 TEST.DETECTIONS_PER_IMAGE=9"
    shutil.rmtree(own / "inference")
    assert detect(own, "--eval-only", "--resume", config=own / "config.yaml") is None
    again = read_result(own / "result.json")
    for key in ("protocol", "values", "seed", "trial", "weights"):
        assert again[key] == first[key], key
    assert again["trial"] == 3
    assert 5000 < again["wall_seconds"] < 10_000
    assert again["details"]["train_datasets"] == first["details"]["train_datasets"]
    assert (own / "inference").is_dir()
    assert (own / "config.yaml").read_bytes() == config

    words = ("MODEL.WEIGHTS", own / "model_final.pth", "SOLVER.BASE_LR", "0.5", "INPUT.MIN_SIZE_TEST", "48")
    assert detect(tmp_path / "other", "--eval-only", *words) is None
    other = read_result(tmp_path / "other" / "result.json")
    assert other["protocol"] == "some-voc INPUT.MIN_SIZE_TEST=48 SOLVER.BASE_LR=0.5"  # 100 detections, as in the file
    assert other["wall_seconds"] < 5000
    assert not (tmp_path / "other" / "config.yaml").exists()


def test_an_evaluation_needs_no_training_data(detect, trained, world, tmp_path, monkeypatch):
    shutil.copytree(world / "VOC2007", tmp_path / "VOC2007")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    words = ("--eval-only", "MODEL.WEIGHTS", trained / "model_final.pth")
    assert detect(tmp_path / "out", *words, config=trained / "config.yaml") is None
    (record,) = read_result(tmp_path / "out" / "result.json")["details"]["train_datasets"]
    assert (record["name"], record["fingerprint"]["images"]) == ("voc_2012_trainval", 2)


@pytest.mark.parametrize(
    ("asked", "opts", "expected"),
    [
        ("some-voc", [], "some-voc SOLVER.STEPS=(9, 10)"),
        ("config", [], "some-voc SOLVER.STEPS=(9, 10)"),
        ("config", ["TEST.COCO_EVAL", "faster_coco_eval"], "some-voc SOLVER.STEPS=(9, 10)"),
        (
            "config DATASETS.TEST=('voc_2012_val',)",
            ["DATASETS.TEST", "('voc_2012_val',)"],
            "some-voc DATASETS.TEST=('voc_2012_val',) SOLVER.STEPS=(9, 10)",
        ),
        ("other", ["TEST.VOC_AP", "area"], "some-voc SOLVER.STEPS=(9, 10) TEST.VOC_AP=area"),
    ],
)
def test_the_protocol_of_an_evaluation(world, asked, opts, expected):
    file = str(world / "some_voc.yaml")
    config = plain(load_config(get_cfg(), file, ["SOLVER.STEPS", "(9, 10)"]))
    cfg = load_config(get_cfg(), file, ["SOLVER.STEPS", "(9, 10)", *opts])
    checkpoint = {"config": config, "protocol": "some-voc SOLVER.STEPS=(9, 10)", "iteration": 1}
    assert evaluated_protocol(cfg, asked, checkpoint) == expected
    assert " ITERATIONS=0 SOLVER" in evaluated_protocol(cfg, asked, {**checkpoint, "iteration": 0})


def test_training_that_nobody_recorded_is_named(world):
    cfg = load_config(get_cfg(), str(world / "some_voc.yaml"))
    unknown = {"config": None, "protocol": None, "trial": None, "train_datasets": None, "seconds": 0.0, "iteration": 9}
    fields = result_fields(cfg, "some-voc", 0, unknown, own_folder=False)
    assert fields["protocol"] == "some-voc (training not recorded)"  # in the report a table of its own
    assert fields["details"]["training"].startswith("not recorded in the checkpoint")
    assert fields["train_datasets"] == [{"name": "voc_2012_trainval"}]
