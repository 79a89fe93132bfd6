"""clsa.detection.box_head: losses and detections on hand-made predictions."""

import math

import pytest
import torch
from fvcore.common.config import CfgNode

from clsa.configs.loading import load_config
from clsa.detection.box_head import BoxPredictor, ConvFCHead
from clsa.detection.config import get_cfg
from clsa.detection.sample_proposals import Samples


def config(*overrides: str) -> CfgNode:
    return load_config(get_cfg(), "detection/base_fpn.yaml", ["MODEL.ROI_HEADS.NUM_CLASSES", "2", *overrides])


def samples(classes: list[int]) -> Samples:
    """Boxes of 10 x 10 whose true box lies one pixel to the right."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(len(classes), 1)
    return Samples(boxes, torch.tensor(classes), torch.zeros(len(classes)).long(), boxes + torch.tensor([1.0, 0, 1, 0]))


def test_losses_written_out() -> None:
    """Four regions of two images, two of them foreground. The wanted correction is 10 * 1 / 10 = 1 in dx."""
    predictor = BoxPredictor(config(), 4)
    logits = torch.zeros(4, 3)
    logits[0, 0] = math.log(2)  # probability 1/2 of class 0
    corrections = torch.zeros(4, 2, 4)
    corrections[0, 0] = torch.tensor([0.25, 0.0, 0.5, 0.0])
    corrections[0, 1] = 99.0  # of another class: must not count
    corrections[2, 1] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    losses = predictor.losses(logits, corrections, [samples([0, 2]), samples([1, 2])])
    assert losses["loss_cls"].item() == pytest.approx((math.log(2) + 3 * math.log(3)) / 4, rel=1e-6)
    assert losses["loss_box_reg"].item() == pytest.approx((0.75 + 0.5) / 4, rel=1e-6)


def test_smooth_l1_and_its_weight() -> None:
    predictor = BoxPredictor(
        config("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", "0.5", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT", "3.0"), 4
    )
    corrections = torch.tensor([[[0.8, 0.0, 0.0, -2.0], [0.0] * 4]])  # distances 0.2 and 2
    losses = predictor.losses(torch.zeros(1, 3), corrections, [samples([0])])
    assert losses["loss_box_reg"].item() == pytest.approx(3 * (0.5 * 0.2**2 / 0.5 + 2 - 0.25), rel=1e-5)


def test_background_alone_has_no_box_loss_but_gradients() -> None:
    predictor = BoxPredictor(config(), 4)
    losses = predictor.losses(*predictor(torch.ones(3, 4)), [samples([2, 2, 2])])
    assert losses["loss_box_reg"].item() == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in predictor.parameters())


def detect(scores: list[list[float]], boxes: list[list[float]], *overrides: str) -> dict[str, list]:
    predictor = BoxPredictor(config(*overrides), 4)
    corrections = torch.zeros(len(boxes), 2, 4)
    (found,) = predictor.detect(torch.tensor(scores).log(), corrections, [torch.tensor(boxes)], [(50, 60)])
    return {key: value.tolist() for key, value in found.items()}


def test_detections_are_sorted_clipped_and_suppressed_within_their_class() -> None:
    found = detect(
        [[0.6, 0.3, 0.1], [0.8, 0.04, 0.16], [0.01, 0.01, 0.98]],
        [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 90.0, 90.0]],
    )
    assert found["boxes"] == [[0, 0, 10, 9], [0, 0, 10, 10]]  # 0.6 is suppressed by 0.8, 0.3 is of another class
    assert found["classes"] == [0, 1]
    assert found["scores"] == pytest.approx([0.8, 0.3])


def test_boxes_are_clipped_to_the_image_and_the_best_are_kept() -> None:
    found = detect(
        [[0.2, 0.1, 0.7], [0.5, 0.1, 0.4]], [[0.0, 0, 9, 9], [20.0, 20, 90, 90]], "TEST.DETECTIONS_PER_IMAGE", "1"
    )
    assert found["boxes"] == [[20, 20, 60, 50]]


def test_minus_one_keeps_all_detections_as_in_detectron2() -> None:
    scores, boxes = [[0.2, 0.1, 0.7], [0.5, 0.1, 0.4]], [[0.0, 0, 9, 9], [20.0, 20, 90, 90]]
    assert len(detect(scores, boxes, "TEST.DETECTIONS_PER_IMAGE", "-1")["scores"]) == 4
    assert len(detect(scores, boxes, "TEST.DETECTIONS_PER_IMAGE", "0")["scores"]) == 0


def test_scores_must_exceed_the_threshold() -> None:
    found = detect([[0.25, 0.25, 0.5]], [[0.0, 0, 9, 9]], "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.26")
    assert found == {"boxes": [], "scores": [], "classes": []}


def test_regions_that_are_not_finite_detect_nothing() -> None:
    found = detect([[0.5, 0.3, 0.2], [float("nan")] * 3], [[0.0, 0, 9, 9], [20.0, 20, 30, 30]])
    assert found["boxes"] == [[0, 0, 9, 9], [0, 0, 9, 9]]


def test_the_predictor_starts_near_indifference() -> None:
    torch.manual_seed(0)
    predictor = BoxPredictor(config(), 4096)
    assert predictor.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert predictor.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert predictor.cls_score.bias.abs().max() == 0


def test_heads_of_both_protocols() -> None:
    two_fc = ConvFCHead(config("MODEL.ROI_BOX_HEAD.FC_DIM", "32"), 8)
    assert [n for n, _ in two_fc.named_parameters()] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    four_conv = ConvFCHead(
        config(
            *("MODEL.ROI_BOX_HEAD.NUM_CONV", "4", "MODEL.ROI_BOX_HEAD.NUM_FC", "1"),
            *("MODEL.ROI_BOX_HEAD.NORM", "SyncBN", "MODEL.ROI_BOX_HEAD.CONV_DIM", "8"),
        ),
        8,
    )
    assert four_conv.conv1.conv.bias is None  # the norm has one
    assert four_conv.fc1.in_features == 8 * 7 * 7
    assert four_conv(torch.zeros(3, 8, 7, 7)).shape == (3, four_conv.out_channels) == (3, 1024)
