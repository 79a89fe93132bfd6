"""The road of ``voc_coco.yaml`` for real, in miniature: somebody's checkpoint, a tiny world, the smallest configs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torchvision

from clsa.configs.run_files import read_result, sha256_of_file
from clsa.reproduce.cli import main

OPTIONS = ["--config-file", "configs/reproduce/voc_coco.yaml", "--output"]
SMALLEST = {
    "JOBS": "2",
    "NUM_GPUS": "0",
    "METHODS": "[]",
    "DETECT.ENGINE": "torchvision",
    "DETECT.CONFIG_FILES": "['configs/detection/smoke_voc_c4_r50.yaml']",
    "DETECT.TRIALS": "[['smoke_*', 1]]",
    "CLASSIFY.PROBES": "[['svm', 'configs/classification/smoke_svm.yaml']]",
}


def write_moco(path: Path) -> None:
    """A ResNet-50 as MoCo's training leaves it."""
    network = torchvision.models.resnet50(num_classes=1)
    trunk = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    state = {f"module.encoder_q.{name}": tensor for name, tensor in trunk.items()}
    for layer, shape in ((0, (8, 2048)), (2, (4, 8))):
        state[f"module.encoder_q.fc.{layer}.weight"] = torch.zeros(shape)
        state[f"module.encoder_q.fc.{layer}.bias"] = torch.zeros(shape[0])
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": {}}, path)


@pytest.fixture(scope="module")
def road(mini_root, tmp_path_factory) -> tuple[Path, list[str]]:
    """The finished run, and its config keys."""
    folder = tmp_path_factory.mktemp("given")
    write_moco(folder / "moco.pth.tar")
    keys = ["WEIGHTS", f"[['mine', '{folder}/moco.pth.tar']]", "DATA.ROOT", str(mini_root)]
    keys += [word for pair in SMALLEST.items() for word in pair]
    assert main([*OPTIONS, str(folder / "out"), *keys]) == 0
    return folder / "out", keys


def test_the_checkpoint_is_converted_measured_and_reported(road) -> None:
    out, _ = road
    checkpoint = sha256_of_file(out.parent / "moco.pth.tar")
    results = {
        "detectron2": out / "mine" / "detect" / "smoke_voc_c4_r50" / "trial_0" / "result.json",
        "torchvision": out / "mine" / "classify" / "smoke_svm" / "result.json",
    }
    report = json.loads((out / "report.json").read_text())
    rows = {(row["method"], source) for table in report["tables"] for row in table["rows"] for source in row["sources"]}
    for target, path in results.items():
        weights = read_result(path)["weights"]
        assert Path(weights["file"]).parent == out / "mine" / "convert" / target
        assert weights["source"]["sha256"] == checkpoint
        assert weights["source"]["epoch"] == 200
        assert ("mine", str(path)) in rows
    assert (out / "mine" / "detect" / "smoke_voc_c4_r50" / "trials.json").is_file()
    assert not report["left_out"]


def test_all_of_it_is_done_and_not_done_again_here_and_in_a_copy(road, capsys) -> None:
    out, keys = road
    assert main([*OPTIONS, str(out), "--status", *keys]) == 0
    assert "5 done, 0 running, 0 failed, 0 stale, 0 to do" in capsys.readouterr().out
    before = (out / "mine" / "convert" / "detectron2" / "stage.json").stat().st_mtime_ns
    assert main([*OPTIONS, str(out), "--stage", "mine/convert/detectron2", *keys]) == 0
    assert (out / "mine" / "convert" / "detectron2" / "stage.json").stat().st_mtime_ns == before

    copy = out.parent / "elsewhere"
    (copy / "weights").mkdir(parents=True)
    shutil.copytree(out, copy / "run")
    given = shutil.copy(out.parent / "moco.pth.tar", copy / "weights")
    assert main([*OPTIONS, str(copy / "run"), "--status", *keys, "WEIGHTS", f"[['mine', '{given}']]"]) == 0


def test_real_data_that_is_not_there_stops_the_road_first(road, tmp_path, capsys) -> None:
    keys = [*road[1], "DATA.ROOT", str(tmp_path)]
    assert main([*OPTIONS, str(tmp_path / "out"), *keys]) == 1
    said = capsys.readouterr().err
    assert "stage data failed: exit code 1" in said
    assert "VOC2007/trainval" in said
    assert not (tmp_path / "out" / "mine" / "detect").exists()
