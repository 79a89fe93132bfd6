"""clsa.detection.config: what the torchvision engine computes is accepted, anything else is refused by name."""

import pytest

from clsa.configs.command import InputError
from clsa.configs.loading import PACKAGED, flat_keys, load_config
from clsa.detection.config import get_cfg, value_of
from clsa.detection.implemented import IMPLEMENTED, refuse_unsupported
from clsa.detection.number_limits import check_numbers

BASES = ("detection/base_c4.yaml", "detection/base_fpn.yaml")
NO_DETECTORS = ("base_coco.yaml", "base_coco_2x.yaml", "base_voc.yaml")  # data and schedule alone
DETECTORS = sorted(f"detection/{p.name}" for p in (PACKAGED / "detection").glob("*.yaml") if p.name not in NO_DETECTORS)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_packaged_config_is_implemented(name: str) -> None:
    refuse_unsupported(load_config(get_cfg(), name))


def test_every_restricted_key_exists() -> None:
    assert set(IMPLEMENTED) <= set(flat_keys(get_cfg()))


def test_a_fresh_tree_each_time() -> None:
    get_cfg().MODEL.PIXEL_STD.append(4.0)
    assert get_cfg().MODEL.PIXEL_STD == [1.0, 1.0, 1.0]


def test_detectron2s_defaults_are_refused_for_the_stride() -> None:
    with pytest.raises(InputError, match=r"MODEL.RESNETS.STRIDE_IN_1X1 is True, .*: set it to False, or run with"):
        refuse_unsupported(get_cfg())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.RESNETS.NORM", "GN", "MODEL.RESNETS.NORM is 'GN'.*set it to 'BN' or 'SyncBN' or 'naiveSyncBN'"),
        ("MODEL.RESNETS.NORM", "", "MODEL.RESNETS.NORM is ''"),
        ("MODEL.RESNETS.DEPTH", "26", "MODEL.RESNETS.DEPTH is 26.*18 or 34 or 50 or 101 or 152"),
        ("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", "8", "MODEL.PROPOSAL_GENERATOR.MIN_SIZE is 8"),
        ("INPUT.RANDOM_FLIP", "vertical", "INPUT.RANDOM_FLIP is 'vertical'.*'horizontal' or 'none'"),
        ("INPUT.MASK_FORMAT", "bitmask", "INPUT.MASK_FORMAT is 'bitmask'.*set it to 'polygon'"),
        ("INPUT.CROP.ENABLED", "True", "INPUT.CROP.ENABLED is True"),
        ("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.LR_SCHEDULER_NAME is 'WarmupCosineLR'"),
        ("SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.ENABLED is True"),
        ("TEST.AUG.ENABLED", "True", "TEST.AUG.ENABLED is True"),
        (
            "MODEL.RPN.IN_FEATURES",
            "['res5']",
            r"MODEL.RPN.IN_FEATURES is \['res5'\].*build_resnet_backbone.*\['res4'\]",
        ),
        ("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.NAME is 'StandardROIHeads'.*Res5ROIHeads"),
        ("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS is 256.*DEPTH 18: set it to 64"),
        ("MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.RESNETS.RES2_OUT_CHANNELS is 64.*DEPTH 50: set it to 256"),
        ("MODEL.PIXEL_MEAN", "[0.0]", "MODEL.PIXEL_MEAN is .*needs 3 entries, got 1"),
        ("MODEL.ANCHOR_GENERATOR.SIZES", "[[8], [16]]", "SIZES is .*needs 1 entries, got 2"),
        ("MODEL.ROI_HEADS.IOU_THRESHOLDS", "[0.4, 0.5]", "IOU_THRESHOLDS is .*needs 1 entries, got 2"),
    ],
)
def test_what_is_refused_for_c4(key: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        refuse_unsupported(load_config(get_cfg(), BASES[0], [key, value]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("SOLVER.MAX_ITER", "0", "SOLVER.MAX_ITER is 0: set it to 1 or more"),
        ("SOLVER.MAX_ITER", "-3", "SOLVER.MAX_ITER is -3"),
        ("SOLVER.IMS_PER_BATCH", "0", "SOLVER.IMS_PER_BATCH is 0: set it to 1 or more"),
        (
            "SOLVER.CHECKPOINT_PERIOD",
            "0",
            "CHECKPOINT_PERIOD is 0: set it to 1 or more. To save at the end alone, give",
        ),
        ("DATALOADER.NUM_WORKERS", "-1", "DATALOADER.NUM_WORKERS is -1: set it to 0 or more"),
        ("TEST.PRECISE_BN.NUM_ITER", "0", "TEST.PRECISE_BN.NUM_ITER is 0: set it to 1 or more"),
    ],
)
def test_numbers_below_their_limit(key: str, value: str, message: str) -> None:
    cfg = load_config(get_cfg(), BASES[0], [key, value])
    with pytest.raises(InputError, match=message):
        check_numbers(cfg, trains=True)
    if key.startswith(("SOLVER", "TEST")):  # nothing that an evaluation alone would read
        check_numbers(cfg, trains=False)


def test_levels_must_have_equally_many_anchors() -> None:
    sizes = "[[8], [16, 24], [32], [64], [128]]"
    with pytest.raises(InputError, match="its lists must be of one length, the RPN head is shared"):
        refuse_unsupported(load_config(get_cfg(), BASES[1], ["MODEL.ANCHOR_GENERATOR.SIZES", sizes]))


def test_an_fpn_box_head_needs_layers() -> None:
    with pytest.raises(InputError, match=r"NUM_CONV and NUM_FC are both 0.*set NUM_FC 2"):
        refuse_unsupported(load_config(get_cfg(), BASES[1], ["MODEL.ROI_BOX_HEAD.NUM_FC", "0"]))


def test_resnet_18_is_accepted_with_its_channels() -> None:
    overrides = ["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"]
    for base in BASES:
        cfg = load_config(get_cfg(), base, overrides)
        refuse_unsupported(cfg)
        assert value_of(cfg, "MODEL.RESNETS.DEPTH") == 18
