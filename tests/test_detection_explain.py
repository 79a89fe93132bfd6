"""clsa-detect --explain: which protocol is nearest, every difference that moves AP, and nothing else."""

import json

import pytest

from clsa.configs.command import InputError
from clsa.configs.loading import find_config, flat_keys, load_config
from clsa.detection.config import get_cfg, value_of
from clsa.detection.evaluation_keys import add_evaluation_keys
from clsa.detection.foreign_keys import KEYS, PRECISION, SECTIONS, is_foreign
from clsa.detection.neutral_keys import NEUTRAL_KEYS
from clsa.detection.protocols import PROTOCOLS, compare, protocol_config
from clsa.detection.train_net import main, script
from clsa.detection.why_it_matters import REASONS, why

VOC = "configs/detection/voc_r50_c4_24k.yaml"

#: MoCo's protocol as published for supervised weights of Caffe2: the four pixel settings are detectron2's defaults.
CAFFE2_STYLE = """
MODEL:
  RPN: {PRE_NMS_TOPK_TEST: 6000, POST_NMS_TOPK_TEST: 1000}
  ROI_HEADS: {NAME: Res5ROIHeadsExtraNorm, NUM_CLASSES: 20}
  BACKBONE: {FREEZE_AT: 0}
  RESNETS: {NORM: naiveSyncBN}
INPUT: {MIN_SIZE_TRAIN: [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800], MIN_SIZE_TEST: 800}
DATASETS: {TRAIN: [voc_2007_trainval, voc_2012_trainval], TEST: [voc_2007_test]}
TEST: {PRECISE_BN: {ENABLED: True}}
SOLVER: {IMS_PER_BATCH: 16, BASE_LR: 0.02, STEPS: [18000, 22000], MAX_ITER: 24000, WARMUP_ITERS: 100}
VERSION: 2
"""


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_is_nearest_to_itself_without_a_difference(name):
    comparison = compare(protocol_config(name))
    assert (comparison.protocol, comparison.differences, comparison.follows_scaling_rule) == (name, (), None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.BACKBONE.FREEZE_AT", "2"),
        ("MODEL.RESNETS.NORM", "naiveSyncBN"),
        ("MODEL.ROI_HEADS.NAME", "Res5ROIHeads"),
        ("TEST.PRECISE_BN.ENABLED", "False"),
        ("TEST.PRECISE_BN.NUM_ITER", "10"),
        ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "7"),
        ("INPUT.FORMAT", "BGR"),
        ("MODEL.PIXEL_MEAN", "[103.53, 116.28, 123.675]"),
        ("MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]"),
        ("MODEL.RESNETS.STRIDE_IN_1X1", "True"),
        ("SOLVER.WARMUP_ITERS", "1000"),
        ("SOLVER.MAX_ITER", "18000"),
        ("SOLVER.STEPS", "(12000, 16000)"),
        ("SOLVER.IMS_PER_BATCH", "8"),
        ("SOLVER.BASE_LR", "0.1"),
        ("DATASETS.TRAIN", "('voc_2007_trainval',)"),
        ("DATASETS.TEST", "('voc_2012_val',)"),
        ("MODEL.ROI_HEADS.NUM_CLASSES", "80"),
        ("INPUT.MIN_SIZE_TEST", "600"),
        ("SOLVER.AMP.ENABLED", "True"),
    ],
)
def test_each_setting_that_moves_ap_is_the_one_difference(key, value):
    cfg = load_config(get_cfg(), VOC, [key, value])
    (difference,) = compare(cfg, "voc-r50-c4-24k").differences
    assert (difference.key, difference.value) == (key, value_of(cfg, key))
    assert difference.protocol_value == value_of(protocol_config("voc-r50-c4-24k"), key)
    assert len(difference.why) > 15


def test_what_does_not_move_ap_is_no_difference():
    overrides = ["SEED", "3", "OUTPUT_DIR", "elsewhere", "MODEL.WEIGHTS", "w.pkl", "DATALOADER.NUM_WORKERS", "0"]
    overrides += ["MODEL.DEVICE", "cpu", "SOLVER.CHECKPOINT_PERIOD", "9", "TEST.EVAL_PERIOD", "9"]
    overrides += ["MODEL.FPN.OUT_CHANNELS", "8", "MODEL.ROI_BOX_HEAD.FC_DIM", "8"]  # C4 has no pyramid to read them
    overrides += ["MODEL.ROI_MASK_HEAD.CONV_DIM", "8"]  # and VOC no masks
    assert compare(load_config(get_cfg(), VOC, overrides)).differences == ()


@pytest.mark.parametrize(
    ("config_file", "overrides", "nearest"),
    [
        ("mini_voc_c4_r18", [], "voc-r50-c4-24k"),
        ("mini_coco_fpn_r18", [], "coco-r50-fpn-1x-moco-2fc"),
        # 1x at 8 images has the iterations of 2x at 16, and is 1x all the same
        (
            "coco_r50_c4_1x",
            ["SOLVER.IMS_PER_BATCH", "8", "SOLVER.MAX_ITER", "180000", "SOLVER.STEPS", "(120000, 160000)"],
            "coco-r50-c4-1x",
        ),
        ("coco_r50_fpn_2x_infomin_4conv1fc", ["MODEL.BACKBONE.FREEZE_AT", "2"], "coco-r50-fpn-2x-infomin-4conv1fc"),
        ("coco_r50_fpn_1x_moco_2fc", ["MODEL.ROI_BOX_HEAD.NUM_CONV", "4"], "coco-r50-fpn-1x-infomin-4conv1fc"),
    ],
)
def test_the_nearest_protocol(config_file, overrides, nearest):
    assert compare(load_config(get_cfg(), f"detection/{config_file}.yaml", overrides)).protocol == nearest


def test_a_published_file_for_other_weights(tmp_path, capsys):
    """Text: the values of both and why; exit code 3. detectron2 is not needed, nor any data."""
    path = tmp_path / "pascal_voc_R_50_C4_24k.yaml"
    path.write_text(CAFFE2_STYLE)
    assert main(["--explain", str(path)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path} beside the nearest protocol, voc-r50-c4-24k: 5 differences that move AP"
    assert [line.split(":")[0].strip() for line in lines[1::2]] == [
        "INPUT.FORMAT",
        "MODEL.PIXEL_MEAN",
        "MODEL.PIXEL_STD",
        "MODEL.RESNETS.NORM",
        "MODEL.RESNETS.STRIDE_IN_1X1",
    ]
    assert lines[1:3] == [
        "  INPUT.FORMAT: 'BGR', protocol 'RGB'",
        "      channel order: with the other one the first convolution sees red and blue exchanged",
    ]


def test_json_and_exit_code_0(capsys):
    arguments = ["--explain", VOC, "--protocol", "voc-r50-c4-24k", "--json"]
    assert script(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {
        "config": VOC,
        "nearest": "voc-r50-c4-24k",
        "follows_scaling_rule": None,
        "differences": [],
    }
    assert script([*arguments, "SOLVER.STEPS", "(9, 10)"]) == 3
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert (difference["key"], difference["value"], difference["protocol_value"]) == (
        "SOLVER.STEPS",
        [9, 10],
        [18000, 22000],
    )


#: Of the ``config.yaml`` that detectron2 leaves of a run: keys of other architectures, heads and options that are off.
OTHER_KEYS_OF_DETECTRON2 = """
_BASE_: {base}
FLOAT32_PRECISION: ''
GLOBAL: {{HACK: 1.0}}
DATALOADER: {{REPEAT_THRESHOLD: 0.0}}
DATASETS: {{PROPOSAL_FILES_TRAIN: []}}
INPUT: {{CROP: {{ENABLED: false, SIZE: [0.9, 0.9], TYPE: relative_range}}}}
MODEL:
  PANOPTIC_FPN: {{COMBINE: {{ENABLED: true, OVERLAP_THRESH: 0.5}}, INSTANCE_LOSS_WEIGHT: 1.0}}
  RETINANET: {{NUM_CLASSES: 80, PRIOR_PROB: 0.01}}
  ROI_KEYPOINT_HEAD: {{}}
SOLVER: {{BASE_LR_END: 0.0, CLIP_GRADIENTS: {{CLIP_TYPE: value}}}}
TEST: {{AUG: {{ENABLED: false, FLIP: true}}}}
"""


@pytest.fixture
def written_by_detectron2(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(OTHER_KEYS_OF_DETECTRON2.format(base=find_config(VOC).resolve()))
    return str(path)


def test_keys_that_only_detectron2_has_are_ignored_in_one_line(written_by_detectron2, capsys):
    assert main(["--explain", written_by_detectron2, "--json", "TEST.EXPECTED_RESULTS", "[]"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["differences"] == []
    assert printed.err.splitlines() == [
        f"{written_by_detectron2}: 16 keys of detectron2's are ignored, nothing here reads them: "
        "DATALOADER.REPEAT_THRESHOLD, DATASETS.PROPOSAL_FILES_TRAIN, FLOAT32_PRECISION, GLOBAL.*, "
        "INPUT.CROP.SIZE, INPUT.CROP.TYPE, MODEL.PANOPTIC_FPN.*, MODEL.RETINANET.*, MODEL.ROI_KEYPOINT_HEAD.*, "
        "SOLVER.BASE_LR_END, SOLVER.CLIP_GRADIENTS.CLIP_TYPE, TEST.AUG.FLIP, TEST.EXPECTED_RESULTS"
    ]


def test_the_torchvision_engine_says_so_too_and_runs(written_by_detectron2, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    words = ["--engine", "torchvision", "--num-gpus", "0", "--config-file", written_by_detectron2, "MODEL.WEIGHTS", ""]
    assert main([*words, "OUTPUT_DIR", str(tmp_path / "out")]) == 1
    ignored, error = capsys.readouterr().err.splitlines()
    assert ignored.startswith(
        f"{written_by_detectron2}: 15 keys of detectron2's are ignored, nothing here reads them: "
    )
    assert "VOC2007 does not exist" in error  # that far the config has come


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.RETINANETS.NUM_CLASSES", "20", "unknown config key 'MODEL.RETINANETS.NUM_CLASSES'"),
        ("INPUT.CROP.ENABLE", "True", "unknown config key 'INPUT.CROP.ENABLE' in the command line. Did you mean"),
        ("FLOAT32_PRECISION", "high", "FLOAT32_PRECISION is 'high', which only --engine detectron2 computes"),
    ],
)
def test_what_detectron2_does_not_have_is_no_key(key, value, message, capsys):
    assert main(["--explain", VOC, key, value]) == 1
    assert message in capsys.readouterr().err


def test_all_that_detectron2_has_is_known_and_its_own_dump_is_explained(tmp_path, capsys):
    config = pytest.importorskip("detectron2.config", reason="detectron2 is not installed")
    theirs, ours = config.get_cfg(), get_cfg()
    foreign = set(flat_keys(theirs)) - set(flat_keys(ours))
    assert [key for key in foreign if not is_foreign(key, value_of(theirs, key))] == []
    named = [f"{section}.{name}" for section, names in KEYS.items() for name in names] + [PRECISION]
    assert set(named) <= foreign
    assert all(any(key.startswith(f"{section}.") for key in foreign) for section in SECTIONS)
    path = tmp_path / "config.yaml"
    path.write_text(load_config(theirs, VOC).dump())
    assert main(["--explain", str(path)]) == 0
    assert f"{path}: {len(foreign)} keys of detectron2's are ignored" in capsys.readouterr().err


def test_unknown_names(capsys):
    with pytest.raises(InputError, match=r"unknown protocol 'voc'.*voc-r50-c4-24k, "):
        compare(get_cfg(), "voc")
    assert main(["--explain", "nothing.yaml"]) == 1
    assert main(["--explain", VOC, "SOLVER.LR", "1"]) == 1
    assert "unknown config key 'SOLVER.LR'" in capsys.readouterr().err


def test_every_key_has_a_reason_and_every_reason_a_key():
    keys = [key for key in flat_keys(get_cfg()) if key not in NEUTRAL_KEYS]
    assert not [key for key in keys if why(key).startswith("not a key")]
    assert not [beginning for beginning in REASONS if not any(key.startswith(beginning) for key in keys)]


def test_detectron2s_tree_gives_the_same_comparison():
    config = pytest.importorskip("detectron2.config", reason="detectron2 is not installed")
    file = "configs/detection/mini_coco_fpn_r18.yaml"
    assert compare(load_config(add_evaluation_keys(config.get_cfg()), file)) == compare(load_config(get_cfg(), file))
