"""Settings that cannot work are refused with a sentence; the packaged YAMLs can; the schedules."""

import pytest

from clsa.configs.command import InputError
from clsa.configs.loading import PACKAGED, flat_keys, load_config
from clsa.pretrain.check_config import check_config
from clsa.pretrain.config import get_cfg, value
from clsa.pretrain.schedules import ddm_weight, learning_rate


@pytest.mark.parametrize("path", sorted((PACKAGED / "pretrain").glob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_configs_are_sound(path):
    check_config(load_config(get_cfg(), str(path)))


@pytest.mark.parametrize("name", ["moco_v2_200ep", "clsa_single_200ep", "clsa_multi_200ep"])
def test_imagenet_configs_keep_to_the_papers_defaults(name):
    cfg, defaults = load_config(get_cfg(), str(PACKAGED / "pretrain" / f"{name}.yaml")), get_cfg()
    for section in ("MODEL", "LOSS", "WEAK"):
        assert cfg[section] == defaults[section]
    for key in ("EPOCHS", "BATCH_SIZE", "LR", "MOMENTUM", "WEIGHT_DECAY", "WARMUP_ITERS", "PRECISION"):
        assert cfg.SOLVER[key] == defaults.SOLVER[key]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["METHOD", "simclr"], "METHOD is 'simclr', it must be one of random_init, moco_v2"),
        (["SOLVER.BATCH_SIZE", "64", "LOSS.QUEUE_LENGTH", "63"], "BATCH_SIZE 64 is larger than LOSS.QUEUE_LENGTH 63"),
        (["MODEL.DEPTH", "34", "MODEL.WIDTH_PER_GROUP", "8"], "ResNet-34 only comes with 64"),
        (["STRONG.SIZES", "(96, 64)"], "STRONG.SIZES .* and STRONG.SCALES .* must name one size and one"),
        (["STRONG.SIZES", "(9, 6)", "STRONG.SCALES", "((0.1, 1), (0.1, 1))"], "clsa_single has one strong view"),
        (["WEAK.SCALE", "(0.5, 0.2)"], r"WEAK.SCALE holds \(0.5, 0.2\), a range of crop areas is"),
        (["SOLVER.LOG_PERIOD", "0"], "SOLVER.LOG_PERIOD is 0, it must be at least 1"),
        (["SEED", "-1"], "SEED is -1, it must not be negative"),
        (["SOLVER.LR", "-1.0"], "SOLVER.LR is -1.0, it must not be negative"),
        (["STRONG.PROB", "1.5"], r"STRONG.PROB is 1.5, it must lie in \[0, 1\]"),
        (["SOLVER.MOMENTUM", "-0.1"], r"SOLVER.MOMENTUM is -0.1, it must lie in \[0, 1\]"),
        (["WEAK.JITTER", "(0.4, 0.4, 0.4)"], r"WEAK.JITTER is \(0.4, 0.4, 0.4\), it must be four numbers"),
        (["WEAK.JITTER", "(0.4, 0.4, 0.4, 0.8)"], "0.8.*, it must be four numbers.* hue's 0.5 at most"),
        (["WEAK.JITTER", "(0.4, -0.4, 0.4, 0.1)"], "-0.4.*, it must be four numbers.*none negative"),
        (["WEAK.BLUR_SIGMA", "(2.0,)"], r"WEAK.BLUR_SIGMA is \(2.0,\), it must be \(low, high\)"),
        (["STRONG.SIZES", "(0,)"], r"STRONG.SIZES is \(0,\), each must be a whole number of pixels, at least 1"),
        (["STRONG.SIZES", "(96.5,)"], r"STRONG.SIZES is \(96.5,\), each must be a whole number"),
        (["STRONG.SCALES", "(0.1,)"], "STRONG.SCALES holds 0.1, a range of crop areas is"),
        (["WEAK.SCALE", "(0.2, 'all')"], r"WEAK.SCALE holds \(0.2, 'all'\), a range of crop areas is"),
        (["SOLVER.PRECISION", "int8"], "SOLVER.PRECISION is 'int8', it must be one of float32, bfloat16, float16"),
    ],
)
def test_bad_values_are_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        check_config(load_config(get_cfg(), None, overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["METHOD", "moco_v2", "LOSS.STRONG", "contrastive"], "METHOD moco_v2 has none"),
        (["METHOD", "moco_v2", "LOSS.DDM_TARGET_TEMPERATURE", "0.1"], "belong to the DDM loss, which METHOD moco_v2"),
        (
            ["LOSS.STRONG", "contrastive", "LOSS.DDM_STUDENT_TEMPERATURE", "0.1"],
            "with LOSS.STRONG contrastive does not",
        ),
        (["METHOD", "random_init", "MODEL.INIT", "a.pth"], "random_init is the untrained network, MODEL.INIT a.pth"),
        (["MODEL.NORM", "FrozenBN", "MODEL.BN_STATISTICS", "re_estimated"], "FrozenBN keeps BN's running statistics"),
        (["MODEL.BN_STATISTICS", "re_estimated", "MODEL.BN_REESTIMATION_STEPS", "0"], "at least 1, got 0"),
        (
            ["SOLVER.ACCUMULATE", "3"],
            "256 does not divide among 1 processes of 3 micro-batches each. Take a multiple of 3",
        ),
        (["STRONG.AS_QUERY", "True"], "ablations of METHOD moco_v2, got METHOD clsa_single"),
        (
            ["METHOD", "moco_v2", "STRONG.AS_QUERY", "True", "MODEL.BN_STATISTICS", "weak_views"],
            "weak_views keeps the views of STRONG.SIZES out .*not those that STRONG.AS_QUERY.* Take re_estimated",
        ),
    ],
)
def test_options_that_the_method_has_no_use_for_are_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        check_config(load_config(get_cfg(), None, overrides))


def test_the_public_codes_configs_set_every_difference_and_nothing_else():
    differences = {"LOSS.BANK", "STRONG.POOL", "STRONG.MAGNITUDES", "STRONG.WEAK_FIRST", "SOLVER.COSINE_PER_EPOCH"}
    for method, more in (("single", set()), ("multi", {"WEAK.QUERY_SIZES", "WEAK.QUERY_SCALES"})):
        paper, code = (
            load_config(get_cfg(), str(PACKAGED / "pretrain" / f"clsa_{method}_{name}.yaml"))
            for name in ("200ep", "public_code")
        )
        assert {key for key in flat_keys(paper) if value(paper, key) != value(code, key)} == differences | more
    assert code.WEAK.QUERY_SIZES == code.STRONG.SIZES
    assert code.WEAK.QUERY_SCALES == code.STRONG.SCALES


@pytest.mark.parametrize("name", ["moco_v2", "clsa_single", "clsa_multi"])
def test_800_epochs_differ_in_nothing_else(name):
    short, long = (load_config(get_cfg(), str(PACKAGED / "pretrain" / f"{name}_{n}ep.yaml")) for n in (200, 800))
    assert [key for key in flat_keys(short) if value(short, key) != value(long, key)] == ["SOLVER.EPOCHS"]
    assert long.SOLVER.EPOCHS == 800


def test_cosine_that_moves_once_an_epoch():
    cfg = load_config(get_cfg(), None, ["SOLVER.LR", "0.4", "SOLVER.COSINE_PER_EPOCH", "True"])
    values = [learning_rate(cfg, step, 8, steps_per_epoch=2) for step in range(1, 9)]
    of_epochs = [0.4, 0.2 * (1 + 0.5**0.5), 0.2, 0.2 * (1 - 0.5**0.5)]
    assert values == pytest.approx([lr for lr in of_epochs for _ in range(2)])


def test_batch_must_divide_among_the_processes():
    with pytest.raises(InputError, match="BATCH_SIZE 256 does not divide among 3 processes"):
        check_config(get_cfg(), world_size=3)


def test_cosine_without_warmup():
    cfg = load_config(get_cfg(), None, ["SOLVER.LR", "0.4"])
    values = [learning_rate(cfg, step, 4) for step in (1, 2, 3, 4)]
    assert values == pytest.approx([0.4, 0.2 * (1 + 0.5**0.5), 0.2, 0.2 * (1 - 0.5**0.5)])


def test_warmup_rises_to_the_learning_rate_and_the_cosine_takes_the_rest():
    cfg = load_config(get_cfg(), None, ["SOLVER.LR", "0.4", "SOLVER.WARMUP_ITERS", "10"])
    values = [learning_rate(cfg, step, 20) for step in range(1, 21)]
    assert values[0] == pytest.approx(0.04)
    assert values[5] == pytest.approx(0.04 + 0.36 / 2)
    assert values[10] == pytest.approx(0.4)
    assert values[15] == pytest.approx(0.2)
    assert values == sorted(values[:11]) + sorted(values[11:], reverse=True)


def test_ddm_weight_is_zero_then_rises_then_stays():
    cfg = load_config(get_cfg(), None, ["LOSS.BETA", "2.0", "LOSS.BETA_ZERO_STEPS", "3", "LOSS.BETA_RAMP_STEPS", "4"])
    assert [ddm_weight(cfg, step) for step in range(1, 10)] == [0, 0, 0, 0.5, 1, 1.5, 2, 2, 2]
    assert ddm_weight(get_cfg(), 1) == 1.0
