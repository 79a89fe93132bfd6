"""clsa-detect --auto-scale: the linear rule written out, in both engines' trees, and what it refuses."""

import pytest

from clsa.configs.command import InputError
from clsa.configs.loading import find_config, load_config
from clsa.configs.run_files import read_result
from clsa.detection.auto_scale import as_overrides, auto_scale, scale, table
from clsa.detection.command_line import argument_parser
from clsa.detection.config import get_cfg, value_of
from clsa.detection.detection_result import protocol_id
from clsa.detection.protocols import compare
from clsa.detection.sweep import scaled_schedule
from clsa.detection.train_net import main

VOC = "configs/detection/voc_r50_c4_24k.yaml"


def scaled(config_file, *overrides):
    """The whole values after scaling, by key."""
    words = as_overrides(auto_scale(get_cfg(), config_file, overrides)) + list(overrides)
    return load_config(get_cfg(), config_file, words)


@pytest.mark.parametrize(
    ("batch", "lr", "iterations", "steps", "warmup", "saves", "precise"),
    [
        (8, 0.01, 48000, (36000, 44000), 200, 10000, 400),
        (2, 0.0025, 192000, (144000, 176000), 800, 40000, 1600),
        (64, 0.08, 6000, (4500, 5500), 25, 1250, 50),
        (12, 0.015, 32000, (24000, 29333), 133, 6667, 267),
    ],
)
def test_vocs_schedule_written_out(batch, lr, iterations, steps, warmup, saves, precise):
    cfg = scaled(VOC, "SOLVER.IMS_PER_BATCH", str(batch))
    solver = cfg.SOLVER
    found = [solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER, solver.STEPS, solver.WARMUP_ITERS]
    assert found == [batch, lr, iterations, steps, warmup]
    assert [saves, precise, 0] == [solver.CHECKPOINT_PERIOD, cfg.TEST.PRECISE_BN.NUM_ITER, cfg.TEST.EVAL_PERIOD]


def test_the_one_gpu_config_is_what_the_rule_gives():
    by_rule = scaled(VOC, "SOLVER.IMS_PER_BATCH", "2")
    file = load_config(get_cfg(), "configs/detection/voc_r50_c4_24k_one_gpu.yaml")
    assert {d.key for d in compare(file).differences} - {d.key for d in compare(by_rule).differences} == {
        "MODEL.RESNETS.NORM",
        "SOLVER.AMP.ENABLED",
    }
    for key in ("SOLVER", "TEST"):
        node = by_rule[key].clone()
        node.defrost()
        if key == "SOLVER":
            node.AMP.ENABLED = True
        assert node == file[key]


def test_what_is_given_stays_and_the_table_says_so():
    rows = auto_scale(get_cfg(), VOC, ["SOLVER.IMS_PER_BATCH", "8", "SOLVER.WARMUP_ITERS", "500"])
    assert "SOLVER.WARMUP_ITERS" not in as_overrides(rows)
    lines = table(rows).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["--auto-scale", "config", "now"],
        ["SOLVER.IMS_PER_BATCH", "16", "8", "(given)"],
        ["SOLVER.BASE_LR", "0.02", "0.01"],
        ["SOLVER.MAX_ITER", "24000", "48000"],
    ]
    assert "SOLVER.WARMUP_ITERS       100             500 (given)" in lines


def test_the_reference_is_the_batch_that_the_file_is_written_for():
    cfg = scaled("configs/detection/mini_voc_c4_r18.yaml", "SOLVER.IMS_PER_BATCH", "4")  # written for 8
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS) == (0.02, 240, (200,))


def test_iterations_never_vanish_and_zero_stays():
    assert scale("TEST.PRECISE_BN.NUM_ITER", 2, 2, 64) == 1
    assert scale("TEST.EVAL_PERIOD", 0, 16, 2) == 0


def test_each_value_of_a_sweep_has_its_own_schedule(capsys):
    def sweep(key, value, *opts):
        words = ["--engine", "torchvision", "--config-file", VOC, "--auto-scale", "--sweep", key, "-"]
        return scaled_schedule(argument_parser().parse_args([*words, "OUTPUT_DIR", "out", *opts]), key, value)

    assert sweep("SOLVER.IMS_PER_BATCH", "16") == {}  # what the file is written for
    assert sweep("SOLVER.IMS_PER_BATCH", "8")["SOLVER.MAX_ITER"] == "48000"
    assert sweep("SOLVER.IMS_PER_BATCH", "4")["SOLVER.BASE_LR"] == "0.005"
    by_lr = sweep("SOLVER.BASE_LR", "0.1", "SOLVER.IMS_PER_BATCH", "32")
    assert "SOLVER.BASE_LR" not in by_lr  # is the value
    assert by_lr["SOLVER.STEPS"] == "(9000, 11000)"
    assert "SOLVER.BASE_LR 0.1\n--auto-scale " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"IMS_PER_BATCH is 16, and the schedule of voc_r50_c4_24k.yaml is written for 16.*IMS_PER_BATCH 8"),
        (["SOLVER.IMS_PER_BATCH", "0"], "IMS_PER_BATCH is 0"),
        (["SOLVER.IMS_PER_BATCH", "8", "SOLVER.REFERENCE_WORLD_SIZE", "8"], "detectron2 would scale once more"),
    ],
)
def test_what_cannot_be_scaled(overrides, message):
    with pytest.raises(InputError, match=message):
        auto_scale(get_cfg(), VOC, overrides)


def test_detectron2s_tree_scales_alike():
    config = pytest.importorskip("detectron2.config", reason="detectron2 is not installed")
    overrides = ["SOLVER.IMS_PER_BATCH", "8"]
    assert auto_scale(config.get_cfg(), VOC, overrides) == auto_scale(get_cfg(), VOC, overrides)


def test_a_scaled_run_says_so_on_the_terminal_in_its_id_and_in_the_result(tmp_path, mini_root, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    config_file = tmp_path / "tiny.yaml"
    config_file.write_text(
        f"_BASE_: {find_config('configs/detection/smoke_voc_c4_r50.yaml').resolve()}\n"
        "MODEL: {RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64}}\n"
        "SOLVER: {IMS_PER_BATCH: 2, BASE_LR: 0.002, MAX_ITER: 4, STEPS: [2], WARMUP_ITERS: 2}\n"
    )
    words = ["--engine", "torchvision", "--num-gpus", "0", "--config-file", str(config_file), "--auto-scale"]
    assert main([*words, "SOLVER.IMS_PER_BATCH", "4", "OUTPUT_DIR", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "SOLVER.MAX_ITER           4       2" in printed
    result = read_result(tmp_path / "out" / "result.json")
    assert result["config"]["SOLVER"]["MAX_ITER"] == 2
    assert "SOLVER.BASE_LR=0.004" in result["protocol"]
    assert "SOLVER.IMS_PER_BATCH=4 SOLVER.MAX_ITER=2" in result["protocol"]
    check = result["details"]["protocol_check"]
    assert check["nearest"] == "voc-r50-c4-24k"
    assert check["follows_scaling_rule"] is False  # of the tiny file's schedule, not of the protocol's
    by_key = {d["key"]: d for d in check["differences"]}
    assert (by_key["SOLVER.IMS_PER_BATCH"]["value"], by_key["SOLVER.IMS_PER_BATCH"]["protocol_value"]) == (4, 16)


def test_the_protocol_scaled_by_the_rule_is_known_as_such():
    cfg = scaled(VOC, "SOLVER.IMS_PER_BATCH", "8")
    assert compare(cfg).follows_scaling_rule is True
    assert "SOLVER.MAX_ITER=48000" in protocol_id(
        VOC, as_overrides(auto_scale(get_cfg(), VOC, ["SOLVER.IMS_PER_BATCH", "8"]))
    )
    assert value_of(cfg, "SOLVER.WARMUP_FACTOR") == 0.001
