"""clsa.detection.box_coding: corrections written out, and the way back."""

import math

import torch

from clsa.detection.box_coding import decode_boxes, encode_boxes

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def test_a_correction_written_out() -> None:
    """From centre (5, 10), 10 x 20, to centre (8, 14), 20 x 10: (3/10, 4/20, log 2, log 1/2) times the weights."""
    corrections = encode_boxes(torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[-2.0, 9.0, 18.0, 19.0]]), WEIGHTS)
    expected = torch.tensor([[3.0, 2.0, 5 * math.log(2), -5 * math.log(2)]])
    torch.testing.assert_close(corrections, expected, rtol=1e-6, atol=0)


def test_there_and_back() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 50, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 1 + torch.rand(2, 50, 2, generator=generator) * 50], dim=2)
    back = decode_boxes(boxes[0], encode_boxes(boxes[0], boxes[1], WEIGHTS), WEIGHTS)
    torch.testing.assert_close(back, boxes[1], rtol=1e-5, atol=1e-4)


def test_every_class_has_its_own_correction() -> None:
    corrections = torch.zeros(1, 3, 4)
    corrections[0, 1, 0] = 10.0  # one width to the right
    boxes = decode_boxes(torch.tensor([[0.0, 0.0, 10.0, 20.0]]), corrections, WEIGHTS)
    assert boxes.tolist() == [[[0, 0, 10, 20], [10, 0, 20, 20], [0, 0, 10, 20]]]


def test_enlargement_is_limited() -> None:
    """At most 1000 / 16 = 62.5 times, whatever is predicted."""
    box = decode_boxes(
        torch.tensor([[0.0, 0.0, 2.0, 4.0]]), torch.full((1, 4), 1e4) * torch.tensor([0, 0, 1, 1]), (1,) * 4
    )
    torch.testing.assert_close(box, torch.tensor([[-61.5, -123.0, 63.5, 127.0]]), rtol=1e-6, atol=1e-5)


def test_half_precision_is_decoded_in_float32() -> None:
    boxes = decode_boxes(
        torch.tensor([[1000.25, 0.0, 1010.25, 10.0]]), torch.zeros(1, 4, dtype=torch.bfloat16), WEIGHTS
    )
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[1000.25, 0.0, 1010.25, 10.0]]


def test_no_boxes() -> None:
    assert encode_boxes(torch.zeros(0, 4), torch.zeros(0, 4), WEIGHTS).shape == (0, 4)
    assert decode_boxes(torch.zeros(0, 4), torch.zeros(0, 3, 4), WEIGHTS).shape == (0, 3, 4)
