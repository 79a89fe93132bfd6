"""From the config to commands: what is run on what, what is refused before anything runs, and the printed plan."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from clsa.configs.command import InputError
from clsa.configs.loading import PACKAGED, load_config
from clsa.reproduce.cli import main
from clsa.reproduce.config import get_cfg
from clsa.reproduce.plan import plan_stages, select

CONFIGS = [path for path in sorted((PACKAGED / "reproduce").glob("*.yaml")) if path.stem != "claims"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of two methods, one detector and both probes, over stage configs of its own."""
    for name in ("pre_random_init", "pre_moco_v2", "coco", "svm", "linear"):
        (tmp_path / f"{name}.yaml").write_text("SEED: 0\n")
    (tmp_path / "two.yaml").write_text(
        f"METHODS: [random_init, moco_v2]\n"
        f"PRETRAIN: {{CONFIG_FILE: '{tmp_path}/pre_{{method}}.yaml', OVERRIDES: [SOLVER.MAX_ITER, 8]}}\n"
        f"DETECT: {{ENGINE: torchvision, CONFIG_FILES: ['{tmp_path}/coco.yaml']}}\n"
        f"CLASSIFY: {{SVM_CONFIG: '{tmp_path}/svm.yaml', LINEAR_CONFIG: '{tmp_path}/linear.yaml',\n"
        f"  BASELINES: [chance]}}\n"
    )
    return tmp_path / "two.yaml"


def plan(config: Path, *overrides: str):
    return plan_stages(load_config(get_cfg(), str(config), overrides), Path("/out"))


def test_the_stages_and_their_order(config) -> None:
    assert [stage.name for stage in plan(config)] == [
        "data",
        "random_init/pretrain",
        "moco_v2/pretrain",
        "random_init/detect/coco",
        "random_init/classify/svm",
        "random_init/classify/svm_bn_reestimated",
        "random_init/classify/linear",
        "random_init/classify/linear_bn_reestimated",
        "moco_v2/detect/coco",
        "moco_v2/classify/svm",
        "moco_v2/classify/linear",
        "chance/classify/svm",
    ]


def test_the_commands(config, tmp_path) -> None:
    lines = {stage.name: stage.shell_line() for stage in plan(config, "SEED", "3", "NUM_GPUS", "2")}
    assert lines["data"] == "clsa-data mini --root /out/data/world --size small --seed 0"
    assert lines["moco_v2/pretrain"] == (
        f"clsa-pretrain --config-file {tmp_path}/pre_moco_v2.yaml --num-gpus 2 "
        "--convert detectron2 --convert torchvision "
        "DATA.TRAIN /out/data/world/imagenet/train OUTPUT_DIR /out/moco_v2/pretrain SEED 3 SOLVER.MAX_ITER 8"
    )
    assert lines["moco_v2/detect/coco"] == (
        "DETECTRON2_DATASETS=/out/data/world clsa-detect --engine torchvision "
        f"--config-file {tmp_path}/coco.yaml --num-gpus 2 MODEL.WEIGHTS /out/moco_v2/pretrain/backbone_detectron2.pkl "
        "OUTPUT_DIR /out/moco_v2/detect/coco SEED 3"
    )
    assert lines["random_init/classify/svm_bn_reestimated"] == (
        "clsa-classify svm --weights /out/random_init/pretrain/backbone_torchvision.pth --data /out/data/world/VOC2007 "
        f"--output /out/random_init/classify/svm_bn_reestimated --config-file {tmp_path}/svm.yaml SEED 3 "
        "FEATURES.REESTIMATE_BN True"
    )
    assert lines["chance/classify/svm"] == (
        "clsa-classify svm --features chance --data /out/data/world/VOC2007 --output /out/chance/classify/svm "
        f"--config-file {tmp_path}/svm.yaml SEED 3"
    )


def test_every_stage_comes_after_what_it_needs_and_reads(config) -> None:
    before, written = set(), set()
    for stage in plan(config):
        assert before.issuperset(stage.needs)
        assert written.issuperset(stage.inputs)
        before.add(stage.name)
        written.update(stage.outputs)


def test_resume_goes_before_the_keys(config) -> None:
    pretrain = next(stage for stage in plan(config) if stage.kind == "pretrain")
    words = pretrain.command(resume=True)
    assert words.index("--resume") < words.index("DATA.TRAIN")
    assert [word for word in words if word != "--resume"] == pretrain.command()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("METHODS", "['moco_v3']"), r"unknown method 'moco_v3' in METHODS: there is no .*pre_moco_v3\.yaml"),
        (("PRETRAIN.CONFIG_FILE", "x.yaml"), r"PRETRAIN\.CONFIG_FILE is 'x\.yaml': it needs \{method\}"),
        (("DETECT.ENGINE", ""), r"DETECT\.ENGINE is '', give one of torchvision, detectron2"),
        (("DETECT.ENGINE", "mmdet"), r"DETECT\.ENGINE is 'mmdet', give one of torchvision, detectron2"),
        (("DETECT.CONFIG_FILES", "['no.yaml']"), r"config file 'no\.yaml' does not exist"),
        (("METHOD", "x"), r"unknown config key 'METHOD' in the command line\. Did you mean 'METHODS'\?"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(config, overrides, message) -> None:
    with pytest.raises(InputError, match=message):
        plan(config, *overrides)


def test_an_engine_that_is_not_installed_is_refused(config, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"DETECT\.ENGINE is detectron2, which is not installed here"):
        plan(config, "DETECT.ENGINE", "detectron2")


def test_only(config) -> None:
    stages = plan(config)
    assert {stage.kind for stage in select(stages, ["pretrain", "detect"])} == {"pretrain", "detect"}
    assert select(stages, ["report"]) == []
    with pytest.raises(InputError, match="--only got 'probe', the stages are data, pretrain, detect, classify, report"):
        select(stages, ["probe"])
    with pytest.raises(InputError, match="Pretraining converts as its last act: give pretrain"):
        select(stages, ["convert"])


def test_the_printed_plan_is_a_shell_script_and_nothing_runs(config, tmp_path, capsys) -> None:
    out = tmp_path / "a folder"
    assert main(["--config-file", str(config), "--output", str(out), "--plan", "JOBS", "2"]) == 0
    script = capsys.readouterr().out
    assert not out.exists()
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    words = shlex.split(script, comments=True)
    assert words.count("clsa-classify") == 7
    assert str(out / "data" / "world" / "VOC2007") in words


def test_errors_are_one_sentence_and_exit_code_1(config, capsys) -> None:
    assert main(["--config-file", str(config), "--only", "probe"]) == 1
    assert main(["--config-file", str(config), "JOBS", "0"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert "--only got 'probe'" in shown[0]
    assert "JOBS is 0, it must be at least 1" in shown[1]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_packaged_configs_plan_from_any_folder(path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = load_config(get_cfg(), f"configs/reproduce/{path.name}")
    for stage in plan_stages(cfg, tmp_path):
        assert all(os.path.isabs(config) and config.is_file() for config in stage.config_files)
