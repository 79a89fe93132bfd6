"""From the config to commands: what is run on what, what is refused before anything runs, and the printed plan."""

import shlex
import subprocess
from pathlib import Path

import pytest

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.reproduce.cli import main
from clsa.reproduce.config import get_cfg
from clsa.reproduce.plan import find_stage, plan_stages, require_engine, select


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of two methods, one detector and both probes, over stage configs of its own."""
    for name in ("pre_moco_v2", "coco", "svm", "linear"):
        (tmp_path / f"{name}.yaml").write_text("SEED: 0\n")
    (tmp_path / "pre_random_init.yaml").write_text("METHOD: random_init\n")
    (tmp_path / "two.yaml").write_text(
        f"METHODS: [random_init, moco_v2]\n"
        f"PRETRAIN: {{CONFIG_FILE: '{tmp_path}/pre_{{method}}.yaml', OVERRIDES: [SOLVER.MAX_ITER, 8]}}\n"
        f"DETECT: {{ENGINE: torchvision, CONFIG_FILES: ['{tmp_path}/coco.yaml']}}\n"
        f"CLASSIFY: {{PROBES: [[svm, '{tmp_path}/svm.yaml'], [linear, '{tmp_path}/linear.yaml']],\n"
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


def test_an_untrained_network_needs_neither_gpus_nor_images(config) -> None:
    stage = find_stage(plan(config, "NUM_GPUS", "8"), "random_init/pretrain")
    assert "--num-gpus 0" in stage.shell_line()
    assert "DATA.TRAIN" not in stage.arguments
    assert (stage.gpus, stage.needs, stage.inputs) == (0, (), ())


def test_trials_are_seeds_of_their_own_and_all_of_their_results_are_outputs(config) -> None:
    stage = find_stage(plan(config, "DETECT.TRIALS", "[['co*', 2]]", "SEED", "3"), "moco_v2/detect/coco")
    assert "--trials 2 MODEL.WEIGHTS" in stage.shell_line()
    assert "SEED" not in stage.arguments
    folder = Path("/out/moco_v2/detect/coco")
    assert set(stage.outputs) == {
        folder / "trial_0" / "result.json",
        folder / "trial_1" / "result.json",
        folder / "trials.json",
    }
    assert "--trials" not in find_stage(plan(config, "DETECT.TRIALS", "[['voc*', 2]]"), stage.name).arguments


def test_the_first_time_that_fits_counts_and_trials_multiply_it(config) -> None:
    expected = "[['moco*/detect/*', '1.5 h'], ['*/detect/*', '8 min'], ['data', '45 s']]"
    stages = plan(config, "EXPECTED", expected, "DETECT.TRIALS", "[['coco', 3]]")
    times = {stage.name: stage.expected_seconds for stage in stages}
    assert times["moco_v2/detect/coco"] == 3 * 5400
    assert times["random_init/detect/coco"] == 3 * 480
    assert times["data"] == 45
    assert times["moco_v2/classify/svm"] == 0


def test_resume_goes_before_the_keys(config) -> None:
    pretrain = find_stage(plan(config), "moco_v2/pretrain")
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
        (("METHODS", "[]", "CLASSIFY.BASELINES", "[]"), r"there is no backbone: METHODS and WEIGHTS are empty"),
        (("METHODS", "['data']"), r"unknown method 'data'"),
        (("METHODS", "['moco_v2', 'moco_v2']"), r"the name 'moco_v2' is taken already"),
        (
            ("METHODS", "[['a/b', 'configs/pretrain/moco_v2_200ep.yaml']]"),
            r"'a/b' names a folder: it must be of letters",
        ),
        (("METHODS", "[['chance', 'configs/pretrain/moco_v2_200ep.yaml']]"), r"the name 'chance' is taken already"),
        (("WEIGHTS", "['x.pth']"), r"WEIGHTS has 'x\.pth', each entry must be \[name, file of a checkpoint\]"),
        (("CLASSIFY.PROBES", "[['svn', 'x.yaml']]"), r"the command 'svn', it must be one of svm, linear, lowshot"),
        (("CLASSIFY.PROBES", "['svm']"), r"CLASSIFY\.PROBES has 'svm', each entry must be \[command, config, options"),
        (("CLASSIFY.PROBES", "[]"), r"CLASSIFY\.BASELINES go through the SVM, and CLASSIFY\.PROBES has none"),
        (("EXPECTED", "[['*', '3 days']]"), r"EXPECTED has the time '3 days', it must be like \"53 h\""),
        (("DETECT.TRIALS", "[['co*', 0]]"), r"DETECT\.TRIALS has 0 for coco, it must be a whole number, at least 1"),
        (("EXPECTED", "['45 s']"), r"EXPECTED has '45 s', each entry must be \[pattern, value\]"),
        (("DATA.KIND", "real"), r"DATA\.ROOT is empty: give DATA\.ROOT, or export DETECTRON2_DATASETS"),
        (("DATA.KIND", "some"), r"DATA\.KIND is 'some', it must be one of mini, real"),
        (("METHOD", "x"), r"unknown config key 'METHOD' in the command line\. Did you mean 'METHODS'\?"),
        (("BASELINE", "supervised"), r"BASELINE is 'supervised', the rows are chance, "),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(config, overrides, message, monkeypatch) -> None:
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    with pytest.raises(InputError, match=message):
        plan(config, *overrides)


def test_an_engine_that_is_not_installed_is_refused_where_it_is_needed(config, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    cfg = load_config(get_cfg(), str(config), ["DETECT.ENGINE", "detectron2"])
    stages = plan_stages(cfg, Path("/out"))  # to be printed, for a machine that has it
    with pytest.raises(InputError, match=r"DETECT\.ENGINE is detectron2, which is not installed here"):
        require_engine(cfg, stages)
    require_engine(cfg, select(stages, ["classify"]))


def test_only(config) -> None:
    stages = plan(config)
    assert {stage.kind for stage in select(stages, ["pretrain", "detect"])} == {"pretrain", "detect"}
    assert select(stages, ["report"]) == []
    with pytest.raises(
        InputError, match="--only got 'probe', the stages are data, pretrain, convert, detect, classify"
    ):
        select(stages, ["probe"])
    with pytest.raises(InputError, match=r"--stage got 'moco_v2/pretain', .* Did you mean 'moco_v2/pretrain'\?"):
        find_stage(stages, "moco_v2/pretain")


def test_the_printed_plan_is_a_shell_script_and_nothing_runs(config, tmp_path, capsys) -> None:
    out = tmp_path / "a folder"
    overrides = ["NUM_GPUS", "8", "EXPECTED", "[['moco_v2/pretrain', '53 h'], ['*/detect/*', '6 min']]"]
    assert main(["--config-file", str(config), "--output", str(out), "--plan", *overrides]) == 0
    script = capsys.readouterr().out
    assert not out.exists()
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    words = shlex.split(script, comments=True)
    assert words.count("clsa-classify") == 7
    assert str(out / "data" / "world" / "VOC2007") in words
    last = shlex.split(script.splitlines()[-1])
    assert last[:7] == ["clsa-reproduce", "--config-file", str(config), "--output", str(out), "--only", "report"]
    assert last[7:] == overrides
    assert "# moco_v2/pretrain: about 53 h, 8 GPUs; after data\n" in script
    assert "# moco_v2/detect/coco: about 6 min, 8 GPUs; after data, moco_v2/pretrain\n" in script
    assert "# chance/classify/svm: time not known, 1 GPU; after data\n" in script
    # 53 h and twice 6 min on 8 GPUs, of 12 stages
    assert "#   pretrain    2 stages           53 h, 424 GPU hours, and 1 whose time is not known\n" in script
    assert "#   in all     12 stages           53 h, 426 GPU hours, and 9 whose time is not known\n" in script


def test_errors_are_one_sentence_and_exit_code_1(config, capsys) -> None:
    assert main(["--config-file", str(config), "--only", "probe"]) == 1
    assert main(["--config-file", str(config), "JOBS", "0"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert "--only got 'probe'" in shown[0]
    assert "JOBS is 0, it must be at least 1" in shown[1]
