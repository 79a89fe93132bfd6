"""The torchvision engine against detectron2, with the same weights, inputs and seed: where detectron2 is installed.

Proposals, boxes, scores and masks agree to 1e-6, each training loss to 1e-5 relative, gradients to 1e-4 relative.
"""

import re
from typing import Any

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from clsa.configs.loading import flat_keys
from clsa.detection.config import get_cfg, value_of
from clsa.detection.rcnn import RCNN, build_model

pytest.importorskip("detectron2", reason="compares with detectron2, which is not installed")

CONFIGS = {
    "C4 VOC": dict(MODEL=dict(ROI_HEADS=dict(NAME="Res5ROIHeadsExtraNorm", NUM_CLASSES=20))),
    "C4 COCO mask": dict(MODEL=dict(MASK_ON=True, ROI_MASK_HEAD=dict(CONV_DIM=16))),
    "C4 frozen": dict(MODEL=dict(RESNETS=dict(NORM="FrozenBN"), BACKBONE=dict(FREEZE_AT=2))),
    "FPN mask": dict(
        MODEL=dict(
            MASK_ON=True,
            BACKBONE=dict(NAME="build_resnet_fpn_backbone"),
            RESNETS=dict(OUT_FEATURES=["res2", "res3", "res4", "res5"]),
            FPN=dict(IN_FEATURES=["res2", "res3", "res4", "res5"], OUT_CHANNELS=32, NORM="naiveSyncBN"),
            ANCHOR_GENERATOR=dict(SIZES=[[16], [32], [64], [128], [256]]),
            RPN=dict(IN_FEATURES=["p2", "p3", "p4", "p5", "p6"]),
            ROI_HEADS=dict(NAME="StandardROIHeads", IN_FEATURES=["p2", "p3", "p4", "p5"]),
            ROI_BOX_HEAD=dict(NAME="FastRCNNConvFCHead", NUM_FC=2, FC_DIM=64, POOLER_RESOLUTION=7),
            ROI_MASK_HEAD=dict(NUM_CONV=2, CONV_DIM=16, POOLER_RESOLUTION=7),
        )
    ),
}
# the heads of infomin-4conv1fc on ResNet-18, smooth L1 in place of L1, weights other than 1, freezing under FPN
CONFIGS["FPN 4conv1fc"] = {
    "MODEL": CONFIGS["FPN mask"]["MODEL"]
    | dict(
        MASK_ON=False,
        BACKBONE=dict(NAME="build_resnet_fpn_backbone", FREEZE_AT=3),
        RESNETS=dict(OUT_FEATURES=["res2", "res3", "res4", "res5"], DEPTH=18, RES2_OUT_CHANNELS=64, WIDTH_PER_GROUP=64),
        ROI_BOX_HEAD=dict(
            NAME="FastRCNNConvFCHead",
            NUM_CONV=2,
            CONV_DIM=32,
            NORM="SyncBN",
            NUM_FC=1,
            FC_DIM=64,
            POOLER_RESOLUTION=7,
            SMOOTH_L1_BETA=0.5,
            BBOX_REG_LOSS_WEIGHT=2.0,
            POOLER_SAMPLING_RATIO=2,
        ),
        RPN=dict(
            IN_FEATURES=["p2", "p3", "p4", "p5", "p6"], SMOOTH_L1_BETA=0.1, LOSS_WEIGHT=0.5, BBOX_REG_LOSS_WEIGHT=3.0
        ),
    )
}
# the heads of infomin-4conv1fc as published: 4 + 1 layers with SyncBN, and SyncBN in the mask head
CONFIGS["FPN infomin-4conv1fc mask"] = {
    "MODEL": CONFIGS["FPN mask"]["MODEL"]
    | dict(
        FPN=dict(IN_FEATURES=["res2", "res3", "res4", "res5"], OUT_CHANNELS=32, NORM="SyncBN"),
        ROI_BOX_HEAD=dict(
            NAME="FastRCNNConvFCHead",
            NUM_CONV=4,
            CONV_DIM=32,
            NORM="SyncBN",
            NUM_FC=1,
            FC_DIM=64,
            POOLER_RESOLUTION=7,
        ),
        ROI_MASK_HEAD=dict(NUM_CONV=4, CONV_DIM=16, POOLER_RESOLUTION=7, NORM="SyncBN"),
    )
}

NAMES = (  # of our tensors and of detectron2's
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", r".shortcut."),
    (r"\.downsample\.1\.", r".shortcut.norm."),
    (r"pyramid\.inner_blocks\.(\d)", lambda m: f"fpn_lateral{int(m[1]) + 2}"),
    (r"pyramid\.layer_blocks\.(\d)", lambda m: f"fpn_output{int(m[1]) + 2}"),
    (r"(fpn_\w+\d)\.0\.", r"\1."),
    (r"(fpn_\w+\d)\.1\.", r"\1.norm."),
    (r"^proposals\.head\.conv\.0\.0\.", r"proposal_generator.rpn_head.conv."),
    (r"^proposals\.head\.cls_logits\.", r"proposal_generator.rpn_head.objectness_logits."),
    (r"^proposals\.head\.bbox_pred\.", r"proposal_generator.rpn_head.anchor_deltas."),
    (r"_head\.(\w+)\.conv\.", r"_head.\1."),
)


def detectron2_tensor_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def small_config(changes: dict[str, Any]) -> CfgNode:
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    model = cfg.MODEL
    model.DEVICE = "cpu"
    model.PIXEL_STD = [58.395, 57.120, 57.375]
    model.BACKBONE.FREEZE_AT = 0
    model.RESNETS.NORM = "SyncBN"
    model.RESNETS.STRIDE_IN_1X1 = False
    model.RESNETS.WIDTH_PER_GROUP = 8
    model.ANCHOR_GENERATOR.SIZES = [[8, 16, 32, 64]]
    model.RPN.PRE_NMS_TOPK_TRAIN, model.RPN.POST_NMS_TOPK_TRAIN = 300, 60
    model.RPN.PRE_NMS_TOPK_TEST, model.RPN.POST_NMS_TOPK_TEST = 200, 30
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 24
    model.ROI_HEADS.NUM_CLASSES = 7
    model.ROI_BOX_HEAD.POOLER_RESOLUTION = 6
    model.ROI_HEADS.SCORE_THRESH_TEST = 0.1
    cfg.merge_from_other_cfg(CfgNode(changes))
    return cfg


def both_models(cfg: CfgNode, seed: int) -> tuple[RCNN, torch.nn.Module]:
    """Ours and detectron2's, with the same random tensors: everything random, so that nothing agrees by being zero."""
    from detectron2.config import get_cfg as detectron2_cfg
    from detectron2.modeling import build_model as detectron2_model

    import clsa.detection.extra_norm_head  # noqa: F401  registers the head

    theirs_cfg = detectron2_cfg()
    theirs_cfg.merge_from_list([word for key in flat_keys(cfg) for word in (key, value_of(cfg, key))])
    torch.manual_seed(seed)
    ours, theirs = build_model(cfg), detectron2_model(theirs_cfg)
    state = ours.state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(std=0.1)
        elif tensor.dim() == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.0)
        elif name.endswith(("cls_score.weight", "box_predictor.bbox_pred.weight", "predictor.weight")):
            tensor.mul_(5)
    renamed = {detectron2_tensor_name(name): tensor for name, tensor in state.items()}
    result = theirs.load_state_dict(renamed, strict=False)
    assert not result.unexpected_keys
    # detectron2's frozen norms keep a counter that nothing reads
    assert all(name.endswith("num_batches_tracked") for name in result.missing_keys)
    return ours, theirs


def random_inputs(cfg: CfgNode, seed: int, empty_second: bool = False) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    inputs = []
    for index, (height, width) in enumerate([(96, 128), (112, 80)]):
        count = 0 if empty_second and index == 1 else 4
        corner = rng.uniform(0, 50, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 30, (count, 2))], axis=1)
        polygons = [
            [rng.uniform(np.tile(b[:2], 5), np.tile(b[2:], 5)) for _ in range(1 + i % 2)] for i, b in enumerate(boxes)
        ]
        inputs.append(
            {
                "image": torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)),
                "height": 2 * height - 7,
                "width": width // 2,
                "image_id": str(index),
                "gt_boxes": torch.from_numpy(boxes.astype(np.float32)),
                "gt_classes": torch.from_numpy(rng.integers(0, cfg.MODEL.ROI_HEADS.NUM_CLASSES, count)),
                "gt_polygons": polygons,
            }
        )
    return inputs


def for_detectron2(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from detectron2.structures import Boxes, Instances, PolygonMasks

    converted = []
    for x in inputs:
        instances = Instances(tuple(x["image"].shape[-2:]))
        instances.gt_boxes = Boxes(x["gt_boxes"])
        instances.gt_classes = x["gt_classes"]
        instances.gt_masks = PolygonMasks(x["gt_polygons"])
        converted.append({**{k: x[k] for k in ("image", "height", "width")}, "instances": instances})
    return converted


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", CONFIGS)
def test_detections_equal_detectron2s(name: str, seed: int) -> None:
    cfg = small_config(CONFIGS[name])
    ours, theirs = both_models(cfg, seed)
    inputs = random_inputs(cfg, seed)
    seen: dict[str, Any] = {}
    ours.proposals.register_forward_hook(lambda _, __, out: seen.update(ours=out[0]))
    theirs.proposal_generator.register_forward_hook(lambda _, __, out: seen.update(theirs=out[0]))
    with torch.no_grad():
        ours_found, theirs_found = ours.eval()(inputs), theirs.eval()(for_detectron2(inputs))
    for a, b in zip(seen["ours"], seen["theirs"], strict=True):
        assert len(a) > 5
        torch.testing.assert_close(a, b.proposal_boxes.tensor, rtol=0, atol=1e-6)
    for a, b in zip(ours_found, theirs_found, strict=True):
        b = b["instances"]
        assert len(a["boxes"]) > 5
        torch.testing.assert_close(a["boxes"], b.pred_boxes.tensor, rtol=0, atol=1e-6)
        torch.testing.assert_close(a["scores"], b.scores, rtol=0, atol=1e-6)
        assert torch.equal(a["classes"], b.pred_classes)
        if cfg.MODEL.MASK_ON:
            assert a["masks"].any()
            assert torch.equal(a["masks"], b.pred_masks)


@pytest.mark.parametrize(("seed", "empty_second"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_and_gradients_equal_detectron2s(name: str, seed: int, empty_second: bool) -> None:
    from detectron2.utils.events import EventStorage

    cfg = small_config(CONFIGS[name])
    ours, theirs = both_models(cfg, seed)
    inputs = random_inputs(cfg, seed, empty_second)
    torch.manual_seed(seed)
    ours_losses = ours.train()(inputs)
    torch.manual_seed(seed)
    with EventStorage():
        theirs_losses = theirs.train()(for_detectron2(inputs))
    assert ours_losses.keys() == theirs_losses.keys()
    for key, value in ours_losses.items():
        assert value.item() > 0
        assert value.item() == pytest.approx(theirs_losses[key].item(), rel=1e-5), key

    sum(ours_losses.values()).backward()
    sum(theirs_losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    compared = 0
    for key, parameter in ours.named_parameters():
        if parameter.requires_grad:
            wanted = gradients.pop(detectron2_tensor_name(key))
            difference = (parameter.grad - wanted).norm() / wanted.norm().clamp(min=1e-12)
            assert difference < 1e-4, f"{key}: {difference:.1e}"
            compared += 1
    assert compared > 30
    assert not gradients


@pytest.mark.parametrize("name", CONFIGS)
def test_running_statistics_after_a_step_equal_detectron2s(name: str) -> None:
    from detectron2.utils.events import EventStorage

    cfg = small_config(CONFIGS[name])
    ours, theirs = both_models(cfg, 0)
    inputs = random_inputs(cfg, 0)
    torch.manual_seed(0)
    ours(inputs)
    torch.manual_seed(0)
    with EventStorage():
        theirs(for_detectron2(inputs))
    state = theirs.state_dict()
    for key, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, state[detectron2_tensor_name(key)], rtol=1e-5, atol=1e-6)


def test_every_key_has_detectron2s_default() -> None:
    from detectron2.config import get_cfg as detectron2_cfg

    ours, theirs = get_cfg(), detectron2_cfg()
    for key in flat_keys(ours):
        assert value_of(ours, key) == value_of(theirs, key), key
        assert type(value_of(ours, key)) is type(value_of(theirs, key)), key
