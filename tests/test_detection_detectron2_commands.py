"""``--sweep``, ``--visualize`` and ``--flops`` with the engine of record."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from clsa.configs.loading import find_config
from clsa.configs.run_files import read_result
from clsa.detection.train_net import main

pytest.importorskip("detectron2", reason="detectron2 is not installed")

#: A narrow ResNet-50-C4 that trains one iteration.
TINY = {
    "MODEL": {
        "WEIGHTS": "",
        "RESNETS": {"WIDTH_PER_GROUP": 8, "RES2_OUT_CHANNELS": 32, "NORM": "BN"},
        "ANCHOR_GENERATOR": {"SIZES": [[16, 32, 64]]},
        "RPN": {
            "BATCH_SIZE_PER_IMAGE": 16,
            "PRE_NMS_TOPK_TRAIN": 50,
            "POST_NMS_TOPK_TRAIN": 10,
            "POST_NMS_TOPK_TEST": 4,
        },
        "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 4, "SCORE_THRESH_TEST": 0.0},
        "ROI_BOX_HEAD": {"POOLER_RESOLUTION": 2},
    },
    "INPUT": {"MIN_SIZE_TRAIN": [64], "MAX_SIZE_TRAIN": 96, "MIN_SIZE_TEST": 64, "MAX_SIZE_TEST": 96},
    "DATALOADER": {"NUM_WORKERS": 0},
    "SOLVER": {"IMS_PER_BATCH": 2, "MAX_ITER": 1, "STEPS": [], "WARMUP_ITERS": 0},
    "TEST": {"PRECISE_BN": {"ENABLED": False}, "DETECTIONS_PER_IMAGE": 5},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("commands") / "tiny.yaml"
    base = str(find_config("configs/detection/voc_r50_c4_24k.yaml").resolve())
    path.write_text(yaml.safe_dump({"_BASE_": base, **TINY}))
    return path


@pytest.fixture(scope="module")
def swept(mini_root, config):
    """OUTPUT_DIR of a sweep of two learning rates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(mini_root))
        words = ["--num-gpus", "0", "--config-file", str(config), "--sweep", "SOLVER.BASE_LR", "0.001,0.002"]
        assert main(["--engine", "detectron2", *words, "OUTPUT_DIR", str(config.parent / "sweep")]) == 0
    return config.parent / "sweep"


def test_a_sweep_gives_all_values_one_seed(swept):
    record = json.loads((swept / "sweep.json").read_text())
    assert record["engine"] == "detectron2"
    assert [(run["value"], run["folder"], run["seeds"]) for run in record["runs"]] == [
        ("0.001", "base_lr_0.001", [0]),
        ("0.002", "base_lr_0.002", [0]),
    ]
    results = [read_result(swept / run["folder"] / "result.json") for run in record["runs"]]
    assert [result["config"]["SOLVER"]["BASE_LR"] for result in results] == [0.001, 0.002]


def test_visualize_draws_saved_detections_and_those_of_the_detector(swept, mini_root, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    run = swept / "base_lr_0.001"
    words = ["--visualize", str(run), "--count", "1"]
    assert main(words) == 0
    (saved,) = capsys.readouterr().out.split()
    pixels = Image.open(saved).tobytes()
    detector = ["--engine", "detectron2", "--num-gpus", "0", "--config-file", str(run / "config.yaml")]
    assert main([*detector, *words, "MODEL.WEIGHTS", str(run / "model_final.pth")]) == 0
    assert capsys.readouterr().out.split() == [saved]
    assert Image.open(saved).tobytes() == pixels  # the same detections as those that the evaluation has saved


def test_the_script_in_the_documentation_runs_as_it_stands(swept, mini_root, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[1] / "docs" / "detectron2.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "voc_c4").symlink_to(swept / "base_lr_0.001")
    shutil.copy(next((mini_root / "VOC2007" / "JPEGImages").glob("*.jpg")), tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "detectron2.md", "exec"), {})
    assert "pred_boxes: Boxes(" in capsys.readouterr().out


def test_flops_counts_the_same_operations_as_the_other_engine(config, tmp_path):
    counted = {}
    for engine in ("detectron2", "torchvision"):
        words = ["--engine", engine, "--flops", "--input-size", "64x96", "--config-file", str(config)]
        assert main([*words, "MODEL.RESNETS.RES2_OUT_CHANNELS", "256", "OUTPUT_DIR", str(tmp_path / engine)]) == 0
        counted[engine] = json.loads((tmp_path / engine / "flops.json").read_text())
    ours, theirs = counted["torchvision"], counted["detectron2"]
    assert (theirs["engine"], theirs["input"], theirs["proposals"]) == ("detectron2", [64, 96], 4)
    assert theirs["parameters"]["total"] == ours["parameters"]["total"] > 0
    assert theirs["by_operator"]["conv"] == ours["by_operator"]["conv"] > 0
