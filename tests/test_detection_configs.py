"""The configs of the published protocols: every value, in both engines' config trees."""

import re
from pathlib import Path

import pytest
import yaml
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config, flat_keys, load_config
from clsa.configs.run_files import plain
from clsa.detection.config import get_cfg, value_of
from clsa.detection.detection_result import protocol_id
from clsa.detection.evaluation_keys import add_evaluation_keys
from clsa.detection.implemented import refuse_unsupported
from clsa.detection.protocols import PROTOCOLS as NAMED
from clsa.detection.start_weights import require_choice

#: MoCo's protocol for weights trained in PyTorch, and what detectron2's trainer and R-CNNs do by default with it.
COMMON = {
    "VERSION": 2,
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.WEIGHTS": "See Instructions",  # an error: the start must be said
    "MODEL.PIXEL_MEAN": [123.675, 116.280, 103.530],
    "MODEL.PIXEL_STD": [58.395, 57.120, 57.375],
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.NORM": "SyncBN",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 512,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.25,
    "MODEL.ROI_HEADS.IOU_THRESHOLDS": [0.5],
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
    "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA": 0.0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 256,
    "MODEL.RPN.IOU_THRESHOLDS": [0.3, 0.7],
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "INPUT.FORMAT": "RGB",
    "INPUT.RANDOM_FLIP": "horizontal",
    "INPUT.MAX_SIZE_TRAIN": 1333,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.BASE_LR": 0.02,
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.NESTEROV": False,
    "SOLVER.WEIGHT_DECAY": 0.0001,
    "SOLVER.WEIGHT_DECAY_NORM": 0.0,
    "SOLVER.GAMMA": 0.1,
    "SOLVER.WARMUP_METHOD": "linear",
    "SOLVER.WARMUP_FACTOR": 0.001,
    "SOLVER.AMP.ENABLED": False,
    "TEST.DETECTIONS_PER_IMAGE": 100,
    "TEST.PRECISE_BN.ENABLED": True,
    "TEST.PRECISE_BN.NUM_ITER": 200,
}

C4 = {
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 12000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeadsExtraNorm",
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
}

FPN = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.NORM": "SyncBN",
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    # the head "moco-2fc": no convolution and no norm in the box head
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
    "MODEL.ROI_BOX_HEAD.NORM": "",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.NORM": "",
}

#: "infomin-4conv1fc": PyContrast's R_50_FPN_1x.yaml, SyncBN in both heads.
INFOMIN = {
    **FPN,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 256,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_BOX_HEAD.NORM": "SyncBN",
    "MODEL.ROI_MASK_HEAD.NORM": "SyncBN",
}

VOC = {
    "MODEL.MASK_ON": False,
    "MODEL.ROI_HEADS.NUM_CLASSES": 20,
    "INPUT.MIN_SIZE_TRAIN": (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
    "DATASETS.TRAIN": ("voc_2007_trainval", "voc_2012_trainval"),
    "DATASETS.TEST": ("voc_2007_test",),
    "SOLVER.STEPS": (18000, 22000),
    "SOLVER.MAX_ITER": 24000,
    "SOLVER.WARMUP_ITERS": 100,
}

COCO = {
    "MODEL.MASK_ON": True,
    "MODEL.ROI_HEADS.NUM_CLASSES": 80,
    "INPUT.MIN_SIZE_TRAIN": (640, 672, 704, 736, 768, 800),
    "DATASETS.TRAIN": ("coco_2017_train",),
    "DATASETS.TEST": ("coco_2017_val",),
    "SOLVER.WARMUP_ITERS": 1000,
}

ONE = {"SOLVER.STEPS": (60000, 80000), "SOLVER.MAX_ITER": 90000}
TWO = {"SOLVER.STEPS": (120000, 160000), "SOLVER.MAX_ITER": 180000}

PROTOCOLS = {
    "voc_r50_c4_24k": {**COMMON, **C4, **VOC},
    "voc_r50_fpn_24k_infomin_4conv1fc": {**COMMON, **INFOMIN, **VOC},
    "coco_r50_c4_1x": {**COMMON, **C4, **COCO, **ONE},
    "coco_r50_c4_2x": {**COMMON, **C4, **COCO, **TWO},
    "coco_r50_fpn_1x_moco_2fc": {**COMMON, **FPN, **COCO, **ONE},
    "coco_r50_fpn_2x_moco_2fc": {**COMMON, **FPN, **COCO, **TWO},
    "coco_r50_fpn_1x_infomin_4conv1fc": {**COMMON, **INFOMIN, **COCO, **ONE},
    "coco_r50_fpn_2x_infomin_4conv1fc": {**COMMON, **INFOMIN, **COCO, **TWO},
    "voc_r50_c4_24k_one_gpu": {
        **COMMON,
        **C4,
        **VOC,
        "MODEL.RESNETS.NORM": "BN",
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.BASE_LR": 0.0025,
        "SOLVER.STEPS": (144000, 176000),
        "SOLVER.MAX_ITER": 192000,
        "SOLVER.WARMUP_ITERS": 800,
        "SOLVER.AMP.ENABLED": True,
        "TEST.PRECISE_BN.NUM_ITER": 1600,
    },
}

protocols = pytest.mark.parametrize("name", PROTOCOLS)


def config_file(name):
    return f"configs/detection/{name}.yaml"


@pytest.fixture(scope="module")
def detectron2_defaults():
    config = pytest.importorskip("detectron2.config", reason="detectron2 is not installed")
    return config.get_cfg()


@protocols
def test_the_torchvision_engine_computes_every_value_of_the_protocol(name):
    cfg = load_config(get_cfg(), config_file(name))
    refuse_unsupported(cfg)
    assert {key: value_of(cfg, key) for key in PROTOCOLS[name]} == PROTOCOLS[name]


@protocols
def test_detectron2_reads_the_same_values(name, detectron2_defaults):
    cfg = load_config(detectron2_defaults, config_file(name))
    assert {key: value_of(cfg, key) for key in PROTOCOLS[name]} == PROTOCOLS[name]
    by_its_own_hand = detectron2_defaults.clone()
    by_its_own_hand.merge_from_file(str(find_config(config_file(name))))
    assert by_its_own_hand == cfg


@protocols
def test_what_the_file_leaves_out_is_the_same_default_in_both_engines(name, detectron2_defaults):
    ours = load_config(get_cfg(), config_file(name))
    theirs = load_config(add_evaluation_keys(detectron2_defaults.clone()), config_file(name))
    different = {
        key: (value_of(ours, key), value_of(theirs, key))
        for key in flat_keys(ours)
        if value_of(ours, key) != value_of(theirs, key)
    }
    assert different == {}


@protocols
def test_the_head_of_the_file_says_command_hardware_time_and_the_number_to_expect(name):
    text = find_config(config_file(name)).read_text(encoding="utf-8")
    head = text[: text.index("_BASE_")]
    assert f"--config-file {config_file(name)}" in head
    for word in ("Start:", "Norm:", "Hardware:", "Expected", "Metric:"):
        assert word in head
    time = " ".join(head.replace("#", " ").split()).partition("Time: ")[2].partition("Expected")[0]
    hours, rate = re.search(r"([\d.]+) h of training", time), re.search(r"([\d.]+) s an iteration", time)
    assert (hours and rate) or time.startswith("not measured. ")
    if hours:  # are what the rate makes of the schedule
        iterations = load_config(get_cfg(), config_file(name)).SOLVER.MAX_ITER
        assert float(hours[1]) == pytest.approx(float(rate[1]) * iterations / 3600, abs=0.051)


def test_every_full_config_is_a_named_protocol():
    assert {name.replace("-", "_") for name in NAMED} == set(PROTOCOLS) - {"voc_r50_c4_24k_one_gpu"}


@protocols
@pytest.mark.parametrize("weights", ["selfsup.pkl", "supervised.pkl", ""])
def test_each_start_is_one_key_and_no_other_changes(name, weights):
    """Self-supervised, supervised, random: the same protocol, so that their results stand in one column."""
    cfg = load_config(get_cfg(), config_file(name), ["MODEL.WEIGHTS", weights])
    require_choice(config_file(name), ["MODEL.WEIGHTS", weights], cfg.OUTPUT_DIR, resume=False, eval_only=False)
    assert weights == cfg.MODEL.WEIGHTS
    assert protocol_id(config_file(name), ["MODEL.WEIGHTS", weights]) == name.replace("_", "-")


@protocols
def test_naive_sync_bn_is_an_option_that_both_engines_have_and_the_id_names(name):
    norms = ["MODEL.RESNETS.NORM"] + (["MODEL.FPN.NORM"] if "fpn" in name else [])
    norms += ["MODEL.ROI_BOX_HEAD.NORM", "MODEL.ROI_MASK_HEAD.NORM"] if "4conv1fc" in name else []
    overrides = [word for key in norms for word in (key, "naiveSyncBN")]
    cfg = load_config(get_cfg(), config_file(name), overrides)
    refuse_unsupported(cfg)
    assert "SyncBN" not in [value_of(cfg, key) for key in flat_keys(cfg) if key.endswith(".NORM")]
    assert all(f"{key}=naiveSyncBN" in protocol_id(config_file(name), overrides) for key in norms)


def test_no_base_lies_outside_the_folder():
    folder = find_config(config_file("voc_r50_c4_24k")).parent
    for path in folder.glob("*.yaml"):
        bases = yaml.safe_load(path.read_text(encoding="utf-8")).get("_BASE_", [])
        for base in [bases] if isinstance(bases, str) else bases:
            assert Path(base).name == base, path
            assert (folder / base).is_file(), path


def test_no_protocol_repeats_a_value_of_its_base():
    folder = find_config(config_file("voc_r50_c4_24k")).parent
    for name in [*PROTOCOLS, "base_fpn_infomin_4conv1fc"]:
        own = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        bases = own.pop("_BASE_")
        for base in [bases] if isinstance(bases, str) else bases:
            inherited = load_config(get_cfg(), str(folder / base))
            for key in flat_keys(CfgNode(own)):
                assert value_of(CfgNode(own), key) != plain(value_of(inherited, key)), (name, key)


def test_a_misspelt_key_is_refused_with_the_nearest_one():
    with pytest.raises(
        InputError, match=r"'MODEL\.RESNETS\.STRIDE_IN_1x1'.*Did you mean 'MODEL\.RESNETS\.STRIDE_IN_1X1'"
    ):
        load_config(get_cfg(), config_file("voc_r50_c4_24k"), ["MODEL.RESNETS.STRIDE_IN_1x1", "False"])
