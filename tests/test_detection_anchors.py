"""clsa.detection.anchors: anchors written out."""

import torch

from clsa.detection.anchors import AnchorGrid, cell_anchors


def test_anchors_of_one_position() -> None:
    """Size 16: area 256; ratio 4 is 8 wide and 32 high. Sizes outside, ratios inside, nothing rounded."""
    expected = [
        [-8.0, -8.0, 8.0, 8.0],
        [-4.0, -16.0, 4.0, 16.0],
        [-2.5, -2.5, 2.5, 2.5],
        [-1.25, -5.0, 1.25, 5.0],
    ]
    assert cell_anchors([16, 5], [1.0, 4.0]).tolist() == expected


def test_positions_run_row_by_row_at_exact_strides() -> None:
    """A map of 2 x 3 is of stride 16 whatever the size of the image: torchvision would divide the two."""
    grid = AnchorGrid([[4]], [[1.0]], [16], 0.0)
    (anchors,) = grid([torch.zeros(1, 8, 2, 3)])
    centres = [(0, 0), (16, 0), (32, 0), (0, 16), (16, 16), (32, 16)]
    assert anchors.tolist() == [[x - 2, y - 2, x + 2, y + 2] for x, y in centres]


def test_anchors_of_a_position_stand_together() -> None:
    grid = AnchorGrid([[4, 8]], [[1.0]], [16], 0.0)
    assert grid.per_position == 2
    (anchors,) = grid([torch.zeros(1, 8, 1, 2)])
    assert anchors.tolist() == [[-2, -2, 2, 2], [-4, -4, 4, 4], [14, -2, 18, 2], [12, -4, 20, 4]]


def test_each_map_has_its_sizes_and_the_offset_is_in_strides() -> None:
    grid = AnchorGrid([[2], [4]], [[1.0]], [8, 16], 0.5)
    fine, coarse = grid([torch.zeros(1, 8, 1, 2), torch.zeros(1, 8, 1, 1)])
    assert fine.tolist() == [[3, 3, 5, 5], [11, 3, 13, 5]]
    assert coarse.tolist() == [[6, 6, 10, 10]]
