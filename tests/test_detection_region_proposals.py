"""clsa.detection.region_proposals: losses and proposals on hand-made predictions of the head."""

import math

import pytest
import torch
from torch import nn

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.detection.config import get_cfg
from clsa.detection.region_proposals import RegionProposals

OVERRIDES = (
    *("MODEL.ANCHOR_GENERATOR.SIZES", "[[16]]", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "[[1.0]]"),
    *("MODEL.ANCHOR_GENERATOR.OFFSET", "0.5", "MODEL.RPN.BATCH_SIZE_PER_IMAGE", "8"),
)


class GivenHead(nn.Module):
    """Predicts what it was given: logits (N, 1, H, W), corrections (N, 4, H, W)."""

    def __init__(self, logits: torch.Tensor, corrections: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.corrections = nn.Parameter(logits), nn.Parameter(corrections)

    def forward(self, maps: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return [self.logits], [self.corrections]


def network(logits: torch.Tensor, corrections: torch.Tensor | None = None, *overrides: str) -> RegionProposals:
    """Anchors of 16 x 16 that tile a 2 x 4 map of stride 16."""
    rpn = RegionProposals(load_config(get_cfg(), "detection/base_c4.yaml", [*OVERRIDES, *overrides]), 4)
    number, _, height, width = logits.shape
    rpn.head = GivenHead(logits, torch.zeros(number, 4, height, width) if corrections is None else corrections)
    return rpn


def run(rpn: RegionProposals, true_boxes: list[torch.Tensor] | None = None, sizes=((32, 64),)):
    number = len(rpn.head.logits)
    return rpn({"res4": torch.zeros(number, 4, 2, 4)}, list(sizes) * number, true_boxes)


def test_losses_written_out() -> None:
    """One true box that is anchor 1: 1 object and 7 backgrounds, divided by 8 anchors an image, whatever was drawn."""
    logits = torch.full((1, 1, 2, 4), -1.0)
    logits[0, 0, 0, 1] = 2.0
    corrections = torch.zeros(1, 4, 2, 4)
    corrections[0, :, 0, 1] = torch.tensor([0.5, 0.0, -0.25, 0.0])
    corrections[0, :, 1, 3] = 9.0  # of a background anchor: must not count
    _, losses = run(network(logits, corrections), [torch.tensor([[16.0, 0.0, 32.0, 16.0]])])
    expected = (math.log1p(math.exp(-2)) + 7 * math.log1p(math.exp(-1))) / 8
    assert losses["loss_rpn_cls"].item() == pytest.approx(expected, rel=1e-6)
    assert losses["loss_rpn_loc"].item() == pytest.approx(0.75 / 8, rel=1e-6)


def test_anchors_between_the_thresholds_do_not_count() -> None:
    """A true box of 27 x 16 over anchors 0 and 1: IoU 0.483, its best and so an object, and 0.433, neither."""
    _, losses = run(network(torch.zeros(1, 1, 2, 4)), [torch.tensor([[2.0, 0.0, 29.0, 16.0]])])
    assert losses["loss_rpn_cls"].item() == pytest.approx(7 / 8 * math.log(2), rel=1e-6)
    # its centre is 15.5 - 8 to the right of anchor 0's
    assert losses["loss_rpn_loc"].item() == pytest.approx((7.5 / 16 + math.log(27 / 16)) / 8, rel=1e-5)


def test_loss_weights() -> None:
    truth = [torch.tensor([[18.0, 0.0, 34.0, 16.0]])]
    weights = ["MODEL.RPN.LOSS_WEIGHT", "2.0", "MODEL.RPN.BBOX_REG_LOSS_WEIGHT", "3.0"]
    _, plain = run(network(torch.zeros(1, 1, 2, 4)), truth)
    _, weighted = run(network(torch.zeros(1, 1, 2, 4), None, *weights), truth)
    assert weighted["loss_rpn_cls"].item() == pytest.approx(2 * plain["loss_rpn_cls"].item())
    assert weighted["loss_rpn_loc"].item() == pytest.approx(6 * plain["loss_rpn_loc"].item())


def test_an_image_without_objects_has_gradients_and_no_box_loss() -> None:
    rpn = network(torch.zeros(2, 1, 2, 4))
    _, losses = run(rpn, [torch.zeros(0, 4), torch.zeros(0, 4)])
    sum(losses.values()).backward()
    assert losses["loss_rpn_loc"].item() == 0
    assert rpn.head.logits.grad.isfinite().all()
    assert not rpn.head.corrections.grad.any()


def test_proposals_are_the_best_after_suppression_clipped_to_their_image() -> None:
    logits = torch.arange(8.0).view(1, 1, 2, 4)
    corrections = torch.zeros(1, 4, 2, 4)
    corrections[0, 0, 1, 2] = 1.0  # anchor 6 moves onto anchor 7 and is suppressed
    rpn = network(logits, corrections, "MODEL.RPN.POST_NMS_TOPK_TEST", "3").eval()
    (proposals,), losses = run(rpn, sizes=[(30, 60)])
    assert losses == {}
    assert proposals.tolist() == [[48, 16, 60, 30], [16, 16, 32, 30], [0, 16, 16, 30]]


def test_only_the_best_enter_suppression() -> None:
    rpn = network(torch.arange(8.0).view(1, 1, 2, 4), None, "MODEL.RPN.PRE_NMS_TOPK_TEST", "2").eval()
    (proposals,), _ = run(rpn)
    assert proposals.tolist() == [[48, 16, 64, 32], [32, 16, 48, 32]]


def test_proposals_outside_the_image_are_left_out() -> None:
    rpn = network(torch.arange(8.0).view(1, 1, 2, 4)).eval()
    (proposals,), _ = run(rpn, sizes=[(16, 32)])  # the rest is padding
    assert proposals.tolist() == [[16, 0, 32, 16], [0, 0, 16, 16]]


def test_predictions_that_are_not_finite() -> None:
    logits = torch.arange(8.0).view(1, 1, 2, 4)
    logits[0, 0, 1, 3] = float("nan")
    rpn = network(logits)
    with pytest.raises(InputError, match=r"training has diverged\. Lower SOLVER.BASE_LR"):
        run(rpn, [torch.zeros(0, 4)])
    (proposals,), _ = run(rpn.eval())
    assert len(proposals) == 7
