"""clsa.detection.mask_head: rasterised polygons drawn as text, the loss on hand-made logits."""

import math

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from clsa.configs.loading import load_config
from clsa.detection.config import get_cfg
from clsa.detection.mask_head import MaskHead, mask_targets, rasterize
from clsa.detection.sample_proposals import Samples, Truth


def drawn(mask: np.ndarray) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def test_a_rectangle_in_a_box_written_out() -> None:
    """The box (10, 20) .. (18, 24) becomes 4 x 4: a pixel is 2 wide and 1 high. The rectangle is 4 x 3 of the box."""
    rectangle = np.array([12.0, 21, 16, 21, 16, 24, 12, 24])
    mask = rasterize([rectangle], np.array([10, 20, 18, 24], dtype=np.float32), 4)
    assert drawn(mask) == ["....", ".##.", ".##.", ".##."]


def test_several_polygons_are_one_object_and_what_leaves_the_box_is_cut() -> None:
    left, right = np.array([-5.0, 0, 1, 0, 1, 4, -5, 4]), np.array([3.0, 0, 9, 0, 9, 4, 3, 4])
    mask = rasterize([left, right], np.array([0, 0, 4, 4], dtype=np.float32), 4)
    assert drawn(mask) == ["#..#"] * 4


def test_an_object_outside_the_box_and_one_without_polygons() -> None:
    box = np.array([0, 0, 4, 4], dtype=np.float32)
    assert not rasterize([np.array([50.0, 50, 60, 50, 60, 60])], box, 4).any()
    assert not rasterize([], box, 4).any()


def test_the_polygons_are_left_as_they_are() -> None:
    polygon = np.array([12.0, 21, 16, 21, 16, 24])
    rasterize([polygon], np.array([10, 20, 18, 24], dtype=np.float32), 4)
    assert polygon.tolist() == [12.0, 21, 16, 21, 16, 24]


def truth_and_samples() -> tuple[Truth, Samples]:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 12.0, 12.0]])
    whole = [np.array([0.0, 0, 4, 0, 4, 4, 0, 4])]
    half = [np.array([8.0, 8, 10, 8, 10, 12, 8, 12])]
    truth = Truth(boxes, torch.tensor([1, 0]), [whole, half])
    return truth, Samples(boxes.flip(0), torch.tensor([0, 1]), torch.tensor([1, 0]), boxes.flip(0))


def test_targets_follow_the_matches() -> None:
    truth, samples = truth_and_samples()
    targets = mask_targets(samples, truth, 4).numpy()
    assert drawn(targets[0]) == ["##.."] * 4
    assert drawn(targets[1]) == ["####"] * 4


def config() -> CfgNode:
    overrides = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.ROI_MASK_HEAD.CONV_DIM", "8"]
    return load_config(get_cfg(), "detection/base_fpn.yaml", [*overrides, "MODEL.ROI_MASK_HEAD.NORM", "BN"])


def test_the_loss_is_that_of_the_true_class_alone() -> None:
    """Logits a of class 0 and b of class 1, constant: half of the first mask and all of the second is object."""
    head = MaskHead(config(), 8)
    a, b = 0.4, -1.5
    with torch.no_grad():
        head.predictor.weight.zero_()
        head.predictor.bias.copy_(torch.tensor([a, b, 77.0]))
    truth, samples = truth_and_samples()
    loss = head.loss(torch.rand(2, 8, 2, 2), [samples], [truth])

    def cross_entropy(logit: float, target: float) -> float:
        return math.log1p(math.exp(logit)) - target * logit

    expected = (0.5 * cross_entropy(a, 1) + 0.5 * cross_entropy(a, 0) + cross_entropy(b, 1)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_without_foreground_the_loss_is_zero_and_the_gradients_exist() -> None:
    head = MaskHead(config(), 8)
    none = torch.zeros(0, dtype=torch.int64)
    samples = Samples(torch.zeros(0, 4), none, none, torch.zeros(0, 4))
    loss = head.loss(torch.zeros(0, 8, 2, 2), [samples], [Truth(torch.zeros(0, 4), none, [])])
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_predictions_are_probabilities_of_the_given_class() -> None:
    head = MaskHead(config(), 8).eval()
    with torch.no_grad():
        head.predictor.weight.zero_()
        head.predictor.bias.copy_(torch.tensor([0.0, math.log(3), 0.0]))
        detections = [{"classes": torch.tensor([1])}, {"classes": torch.tensor([2, 1])}]
        head.add_masks(torch.rand(3, 8, 7, 7), detections)
    assert detections[0]["masks"].shape == (1, 14, 14)
    assert detections[1]["masks"][:, 0, 0].tolist() == pytest.approx([0.5, 0.75])
