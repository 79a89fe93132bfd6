"""The packaged configs, planned: each command line is one that its stage takes, over files that exist or will."""

import argparse
import shlex
from pathlib import Path

import pytest

from clsa.classification import cli as classification
from clsa.classification.commands.arguments import config_of
from clsa.classification.config import get_cfg as classification_defaults
from clsa.classification.logistic_probe import defaults as logistic_defaults
from clsa.configs.loading import PACKAGED, load_config
from clsa.convert.cli import parser as convert_parser
from clsa.datasets.cli import main as data_main
from clsa.detection.config import get_cfg as detection_defaults
from clsa.detection.train_net import argument_parser as detection_parser
from clsa.pretrain.check_config import check_config
from clsa.pretrain.cli import build_parser as pretrain_parser
from clsa.pretrain.config import get_cfg as pretrain_defaults
from clsa.reproduce.cli import main
from clsa.reproduce.config import get_cfg
from clsa.reproduce.plan import plan_stages
from clsa.reproduce.stage import Stage

NO_ROADS = ("claims", "base_real")
CONFIGS = [path.stem for path in sorted((PACKAGED / "reproduce").glob("*.yaml")) if path.stem not in NO_ROADS]
OUT = Path("/out")


def planned(name: str, *overrides: str) -> list[Stage]:
    return plan_stages(load_config(get_cfg(), f"configs/reproduce/{name}.yaml", overrides), OUT)


def parse(stage: Stage, words: list[str]) -> argparse.Namespace:
    """What the stage's own parser makes of its command line; its configs are loaded as the stage loads them."""
    if stage.script == "clsa-pretrain":
        args = pretrain_parser().parse_intermixed_args(words)
        check_config(load_config(pretrain_defaults(), args.config_file, args.overrides), max(1, stage.gpus))
    elif stage.script == "clsa-convert":
        args = convert_parser().parse_args(words)
    elif stage.script == "clsa-detect":
        args = detection_parser().parse_args(words)
        assert (args.trial, args.eval_only) == (0, False)
        load_config(detection_defaults(), args.config_file, args.opts)
    else:
        args = classification.build_parser().parse_args(words)
        if args.command == "logistic":
            load_config(logistic_defaults(), args.config_file, args.overrides)
        elif args.command in ("imagenet", "knn"):
            load_config(classification_defaults(), args.config_file, args.overrides)
        else:
            config_of(args)
    return args


@pytest.mark.parametrize("name", CONFIGS)
def test_every_command_line_is_one_that_its_stage_takes(name, mini_root, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # packaged configs are found from any folder
    given = tmp_path / "mine.pth"
    given.touch()
    stages = planned(name, "WEIGHTS", f"[['mine', '{given}']]", "DATA.ROOT", str(mini_root))
    there, before = {mini_root, given}, set()
    for stage in stages:
        assert before.issuperset(stage.needs)
        assert there.issuperset(stage.inputs)
        assert all(config.is_absolute() and config.is_file() for config in stage.config_files)
        if stage.kind != "data":
            parse(stage, list(stage.arguments))
            words = stage.shell_line(resume=bool(stage.checkpoints))
            assert "--resume" not in words or parse(stage, shlex.split(words.split(stage.script)[1])).resume
        before.add(stage.name)
        there.update(stage.outputs)
    arguments = list(stages[0].arguments)
    assert arguments[0] == "mini" or data_main(arguments) == 0  # the tiny world has all that the check demands


@pytest.mark.parametrize("name", ["voc_coco", "paper"])
def test_every_detection_protocol_from_every_backbone(name) -> None:
    stages = planned(name, "DATA.ROOT", "/data", "WEIGHTS", "[['mine', 'x.pth']]")
    no_protocols = ("base_", "mini_", "smoke_", "voc_r50_c4_24k_one_gpu")
    protocols = {p.stem for p in (PACKAGED / "detection").glob("*.yaml") if not p.stem.startswith(no_protocols)}
    for method in {stage.method for stage in stages} - {""}:
        mine = {stage.folder.name: stage for stage in stages if stage.kind == "detect" and stage.method == method}
        assert set(mine) == protocols
        assert {stem: stage.repeats for stem, stage in mine.items() if stage.repeats > 1} == {
            "voc_r50_c4_24k": 5,
            "voc_r50_fpn_24k_infomin_4conv1fc": 5,
        }
        assert all(stage.gpus == 8 and stage.expected_seconds for stage in mine.values())
        # 5 x (3.6 + 2.3) + 14.6 + 29.2 + 6.5 + 13.0 + 8.6 + 17.2 hours
        assert sum(stage.expected_seconds for stage in mine.values()) == pytest.approx(118.6 * 3600)


def test_somebodys_checkpoint_walks_the_road_of_voc_coco() -> None:
    names = [
        s.name for s in planned("voc_coco", "DATA.ROOT", "/data", "WEIGHTS", "[['mine', 'x.pth']]", "METHODS", "[]")
    ]
    assert names[:4] == ["data", "mine/convert/detectron2", "mine/convert/torchvision", "mine/detect/voc_r50_c4_24k"]
    assert [name for name in names if "classify" in name] == [
        "mine/classify/voc07_svm",
        "mine/classify/voc07_lowshot",
        "mine/classify/voc07_logistic",
        "mine/classify/voc07_linear_public_code",
    ]
    assert len(names) == 3 + 8 + 4


def test_the_paper_pretrains_what_it_says(monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")
    stages = [stage for stage in planned("paper") if stage.kind == "pretrain"]
    said = {}
    for stage in stages:
        cfg = load_config(pretrain_defaults(), str(stage.config_files[0]))
        assert "DATA.TRAIN /data/imagenet/train" in stage.shell_line() or cfg.METHOD == "random_init"
        strong = (cfg.LOSS.STRONG, cfg.STRONG.AS_QUERY, cfg.STRONG.AS_KEY)
        said[stage.method] = (cfg.METHOD, cfg.SOLVER.EPOCHS, *strong, stage.expected_seconds / 3600, stage.gpus)
    del said["random_init"]
    assert said == {
        "moco_v2": ("moco_v2", 200, "ddm", False, False, 53, 8),
        "clsa_single": ("clsa_single", 200, "ddm", False, False, 70, 8),
        "clsa_multi": ("clsa_multi", 200, "ddm", False, False, 166, 8),
        "clsa_single_contrastive": ("clsa_single", 200, "contrastive", False, False, 70, 8),
        "moco_v2_strong_query": ("moco_v2", 200, "ddm", True, False, 53, 8),
        "moco_v2_strong_query_and_key": ("moco_v2", 200, "ddm", True, True, 53, 8),
        "moco_v2_800ep": ("moco_v2", 800, "ddm", False, False, 212, 8),
        "clsa_single_800ep": ("clsa_single", 800, "ddm", False, False, 280, 8),
        "clsa_multi_800ep": ("clsa_multi", 800, "ddm", False, False, 664, 8),
    }


def test_the_data_that_is_checked_is_the_data_that_is_used() -> None:
    def checked(*overrides: str) -> str:
        return planned("paper", "DATA.ROOT", "/data", *overrides)[0].arguments[-1]

    everything = "imagenet-pretrain,imagenet-linear,voc07-probe,voc-detection,coco-detection"
    assert checked() == everything
    only_given = ("METHODS", "[]", "WEIGHTS", "[['mine', 'x.pth']]")
    assert checked(*only_given) == everything.removeprefix("imagenet-pretrain,")
    probe = ("CLASSIFY.PROBES", "[['svm', 'configs/classification/voc07_svm.yaml']]")
    voc = ("DETECT.CONFIG_FILES", "['configs/detection/voc_r50_c4_24k.yaml']")
    assert checked(*only_given, *probe, *voc) == "voc07-probe,voc-detection"


def test_a_checkpoint_that_is_not_there_is_refused_before_anything_runs(tmp_path, capsys) -> None:
    words = ["--config-file", "configs/reproduce/voc_coco.yaml", "--output", str(tmp_path / "out")]
    keys = ["DATA.ROOT", str(tmp_path), "WEIGHTS", "[['mine', 'nowhere.pth']]"]
    for option in ([], ["--plan"], ["--slurm", str(tmp_path / "jobs")]):
        assert main([*words, *option, *keys]) == 1
        said = capsys.readouterr().err
        assert "WEIGHTS: mine is" in said
        assert "nowhere.pth, which does not exist. Give the file of a checkpoint that clsa-convert reads" in said
    assert not list(tmp_path.iterdir())
    assert main([*words, "--status", *keys]) == 3  # nothing is done, and that can be said without the file
