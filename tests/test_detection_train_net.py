"""The command line of detection: engines, options, one sentence for what cannot be."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clsa.configs.run_files import read_result
from clsa.detection.train_net import main, script

SCRIPT = Path(__file__).parents[1] / "detection" / "train_net.py"
WITHOUT_DETECTRON2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is not None, reason="detectron2 is installed"
)


def test_help_shows_examples_and_the_default_engine(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "clsa-detect --engine torchvision --config-file" in text
    assert "--count 4 \\ MODEL.WEIGHTS output/voc/model_final.pth" in text  # on two lines, joined for the shell
    assert "clsa-detect has no default; detection/train_net.py run by its path takes detectron2" in text


def test_clsa_detect_wants_an_engine(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--config-file", "voc_r50_c4_24k.yaml"])
    assert stop.value.code == 2
    assert "the following arguments are required: --engine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "owner"),
    [
        (["--json"], "--explain"),
        (["--protocol", "coco-r50-c4-1x"], "--explain"),
        (["--images", "000001"], "--visualize"),
        (["--count", "4"], "--visualize"),
        (["--min-score", "0"], "--visualize"),
        (["--input-size", "64x64"], "--flops"),
    ],
)
def test_an_option_of_another_one_is_not_ignored(option, owner, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*option, "--engine", "torchvision", "--config-file", "detection/smoke_voc_c4_r50.yaml"])
    assert stop.value.code == 2
    assert f"{option[0]} is an option of {owner}, which is not given" in capsys.readouterr().err


@WITHOUT_DETECTRON2
@pytest.mark.parametrize("arguments", [(main, ["--engine", "detectron2"]), (script, [])])
def test_without_detectron2_one_sentence(arguments, capsys):
    entry, engine = arguments
    assert entry([*engine, "--config-file", "configs/detection/voc_r50_c4_24k.yaml", "--num-gpus", "0"]) == 1
    error = capsys.readouterr().err
    assert "detectron2 is not installed" in error
    assert "--engine torchvision" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-file", "configs/detection/nothing.yaml"], "'configs/detection/nothing.yaml' does not exist"),
        (["--config-file", "detection/voc_r50_c4_24k.yaml", "SOLVER.BASE_RL", "1"], "Did you mean 'SOLVER.BASE_LR'?"),
        (["--config-file", "detection/voc_r50_c4_24k.yaml", "SOLVER.BASE_LR"], "KEY VALUE pairs, got 1 words"),
        (["--config-file", "detection/voc_r50_c4_24k.yaml", "--num-machines", "2"], "give tcp://HOST:PORT"),
        (
            ["--config-file", "detection/voc_r50_c4_24k.yaml", "VIS_PERIOD", "5", "MODEL.WEIGHTS", ""],
            "the torchvision engine does not",
        ),
    ],
)
def test_bad_command_lines(arguments, message, capsys):
    assert main(["--engine", "torchvision", "--num-gpus", "0", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_missing_data_names_the_variable(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    arguments = ["--engine", "torchvision", "--config-file", "detection/voc_r50_c4_24k.yaml", "--num-gpus", "0"]
    assert main([*arguments, "MODEL.WEIGHTS", "", "OUTPUT_DIR", str(tmp_path / "out")]) == 1
    assert "VOC2007 does not exist. Set DETECTRON2_DATASETS" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_run_by_its_path(tmp_path, mini_root):
    """``python detection/train_net.py`` from any folder, on the CPU: ResNet-50, one iteration."""
    command = [sys.executable, str(SCRIPT), "--engine", "torchvision", "--num-gpus", "0"]
    command += ["--config-file", "configs/detection/smoke_voc_c4_r50.yaml", "OUTPUT_DIR", str(tmp_path / "out")]
    command += ["SOLVER.MAX_ITER", "1", "SOLVER.STEPS", "()"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": str(mini_root)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("result.json")
    result = read_result(tmp_path / "out" / "result.json")
    assert result["protocol"] == "smoke-voc-c4-r50 SOLVER.MAX_ITER=1 SOLVER.STEPS=()"
    assert result["config"]["MODEL"]["DEVICE"] == "cpu"
