"""A start must be said, and a resumed run must be the run that was started: the messages of the command."""

import pytest
import torch

from clsa.configs.command import InputError
from clsa.configs.loading import find_config, load_config
from clsa.configs.processes import Process
from clsa.configs.run_files import plain, write_config
from clsa.detection.config import get_cfg
from clsa.detection.detector_checkpoint import write_checkpoint
from clsa.detection.resume_check import config_beside, require_same_config
from clsa.detection.start_weights import PLACEHOLDER, require_choice
from clsa.detection.torchvision_engine import run
from clsa.detection.train_net import main

VOC = "configs/detection/voc_r50_c4_24k.yaml"
SMOKE = "configs/detection/smoke_voc_c4_r50.yaml"


@pytest.mark.parametrize("engine", ["torchvision", "detectron2"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([VOC], "MODEL.WEIGHTS is 'See Instructions'. Say what to start from: MODEL.WEIGHTS FILE"),
        ([VOC], 'or MODEL.WEIGHTS "" for random initialisation'),
        (["NOT_GIVEN"], "MODEL.WEIGHTS is not given. Say what to start from"),
        ([VOC, "--eval-only"], "--eval-only needs a detector, and MODEL.WEIGHTS is 'See Instructions'"),
        (["NOT_GIVEN", "--resume"], "MODEL.WEIGHTS is not given"),  # no checkpoint yet
    ],
)
def test_a_start_must_be_said(engine, words, message, tmp_path, mini_root, monkeypatch, capsys):
    if engine == "detectron2":
        pytest.importorskip("detectron2", reason="detectron2 is not installed")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    (tmp_path / "mine.yaml").write_text("SOLVER: {MAX_ITER: 2}")
    file, *flags = words
    file = str(tmp_path / "mine.yaml") if file == "NOT_GIVEN" else file
    arguments = ["--engine", engine, "--num-gpus", "0", "--config-file", file, *flags]
    assert main([*arguments, "OUTPUT_DIR", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_counts_as_said(tmp_path):
    inherits = tmp_path / "random.yaml"
    inherits.write_text(f"_BASE_: {find_config(VOC).resolve()}\nMODEL: {{WEIGHTS: ''}}")
    for file, overrides in (
        (inherits, []),
        (VOC, ["MODEL.WEIGHTS", ""]),
        (VOC, ["MODEL.WEIGHTS", "b.pkl"]),
        (SMOKE, []),
    ):
        require_choice(str(file), overrides, "nowhere", resume=False, eval_only=False)


@pytest.fixture
def config(tmp_path):
    """``config(KEY, VALUE, ...)``: the smoke config with an OUTPUT_DIR that a run with lr 0.0025 has left."""

    def build(*overrides, file=SMOKE):
        left_out = ["MODEL.WEIGHTS", PLACEHOLDER]
        return load_config(get_cfg(), file, ["OUTPUT_DIR", str(tmp_path), *left_out, *overrides])

    write_config(tmp_path, build("MODEL.WEIGHTS", "backbone.pth", "SEED", "1"))
    return build


@pytest.fixture
def before(config):
    """The config of that run, as its checkpoint holds it."""
    return plain(config("MODEL.WEIGHTS", "backbone.pth", "SEED", "1"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["MODEL.WEIGHTS", "backbone.pth"],
        [],  # MODEL.WEIGHTS may be left out
        [
            "MODEL.DEVICE",
            "cpu",
            "DATALOADER.NUM_WORKERS",
            "7",
            "SOLVER.CHECKPOINT_PERIOD",
            "1",
            "TEST.EVAL_PERIOD",
            "2",
        ],
        ["SEED", "2"],  # the checkpoint's is kept
        ["SOLVER.MAX_ITER", "6"],  # longer
    ],
)
def test_what_may_change(config, before, tmp_path, overrides):
    require_same_config(config(*overrides), before)
    require_same_config(config(*overrides), config_beside(tmp_path))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.BASE_LR", "0.02"], "SOLVER.BASE_LR: 0.0025 before, 0.02 now"),
        (["SOLVER.STEPS", "(2, 3)"], r"SOLVER.STEPS: \[3\] before, \[2, 3\] now"),
        (["SOLVER.MAX_ITER", "3"], "SOLVER.MAX_ITER: 4 before, 3 now"),
        (["SOLVER.MAX_ITER", "9", "SOLVER.WARMUP_ITERS", "8"], "SOLVER.MAX_ITER: 4 before, 9 now"),
        (["MODEL.RESNETS.NORM", "naiveSyncBN"], "MODEL.RESNETS.NORM: 'BN' before, 'naiveSyncBN' now"),
        (["MODEL.WEIGHTS", "other.pth"], "MODEL.WEIGHTS: 'backbone.pth' before, 'other.pth' now"),
        (["MODEL.WEIGHTS", ""], "MODEL.WEIGHTS: 'backbone.pth' before, '' now"),  # a random start is not left out
        (["INPUT.MIN_SIZE_TEST", "96"], "INPUT.MIN_SIZE_TEST: 64 before, 96 now"),
        (["SOLVER.IMS_PER_BATCH", "4", "SOLVER.BASE_LR", "0.005"], r"BASE_LR: 0.0025 .*\n  SOLVER.IMS_PER_BATCH: 2 "),
    ],
)
def test_what_may_not(config, before, overrides, message):
    with pytest.raises(InputError, match=message) as stop:
        require_same_config(config(*overrides), before)
    assert "begin anew in another OUTPUT_DIR" in str(stop.value)


def test_many_differences_are_counted(config, before):
    with pytest.raises(InputError, match=r"\n  and \d+ more\n"):
        require_same_config(config(file="configs/detection/smoke_coco_fpn_r50.yaml"), before)


def test_an_older_checkpoint_without_its_config(config, tmp_path):
    (tmp_path / "config.yaml").write_text("- not\n- a tree\n")
    with pytest.raises(InputError, match="is not a readable config: it holds a list"):
        config_beside(tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(InputError, match=r"has a checkpoint and no config\.yaml"):
        config_beside(tmp_path)


@pytest.mark.parametrize("holds_its_config", [True, False])
@pytest.mark.parametrize("engine", ["torchvision", "detectron2"])
def test_both_engines_stop_before_anything_is_touched(
    engine, holds_its_config, config, before, tmp_path, mini_root, monkeypatch, capsys
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    record = {"config": before} if holds_its_config else {}
    write_checkpoint(tmp_path, 2, False, {"model": {}, **record})
    if engine == "detectron2":
        pytest.importorskip("detectron2", reason="detectron2 is not installed")
        content = {"model": {}, "iteration": 1, "trainer": {"training": record, "seconds": 1.0}}
        torch.save(content, tmp_path / "model_0000001.pth")
    if holds_its_config:  # what lies beside it may be of another run
        write_config(tmp_path, config("SOLVER.GAMMA", "0.5"))
    before = (tmp_path / "config.yaml").read_bytes()
    words = ["--engine", engine, "--num-gpus", "0", "--resume", "--config-file", SMOKE, "OUTPUT_DIR", str(tmp_path)]
    assert main([*words, "SOLVER.GAMMA", "0.5"]) == 1
    assert "SOLVER.GAMMA: 0.1 before, 0.5 now" in capsys.readouterr().err
    assert (tmp_path / "config.yaml").read_bytes() == before


def test_without_a_checkpoint_resume_starts_with_any_config(tmp_path, mini_root, monkeypatch):
    """``clsa-reproduce`` gives --resume to a stage that may have been stopped before its first checkpoint."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    cfg = load_config(
        get_cfg(), SMOKE, ["OUTPUT_DIR", str(tmp_path), "MODEL.DEVICE", "cpu", "MODEL.RESNETS.DEPTH", "26"]
    )
    write_config(tmp_path, load_config(get_cfg(), SMOKE))
    with pytest.raises(InputError, match="DEPTH is 26"):  # the next check, not the resumption
        run(Process(0, 1, torch.device("cpu")), cfg, "smoke", resume=True)
