"""clsa.detection.roi_pooling: levels and pooled values written out."""

import torch

from clsa.detection.roi_pooling import RoIPooling, assign_levels


def test_levels_written_out() -> None:
    """224 pixels belong to level 4; each doubling is one level more; the pyramid's ends take the rest."""
    sides = torch.tensor([1.0, 56, 111.9, 112, 223.9, 224, 447, 448, 5000])
    boxes = torch.stack([torch.zeros(9), torch.zeros(9), sides, sides], dim=1)
    assert assign_levels(boxes, 2, 5).tolist() == [2, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_area_decides_not_the_longer_side() -> None:
    assert assign_levels(torch.tensor([[0.0, 0.0, 448.0, 112.0]]), 2, 5).tolist() == [4]


def test_an_empty_box_goes_to_the_finest_level() -> None:
    assert assign_levels(torch.tensor([[3.0, 3.0, 3.0, 9.0]]), 2, 5).tolist() == [2]


def ramp(height: int, width: int) -> torch.Tensor:
    """A map whose value is the x coordinate of the pixel's centre, in pixels of the map."""
    return (torch.arange(width) + 0.5).expand(1, 1, height, width).contiguous()


def test_pixel_centres_lie_at_halves() -> None:
    """The bins of a box from 32 to 64 at stride 16 are centred at 2.5 and 3.5 pixels of the map: the ramp's values."""
    pooled = RoIPooling(["res4"], 2, 0)({"res4": ramp(6, 6)}, [torch.tensor([[32.0, 32.0, 64.0, 64.0]])])
    assert pooled.tolist() == [[[[2.5, 3.5], [2.5, 3.5]]]]


def test_each_box_is_pooled_from_its_image_and_its_level_in_order() -> None:
    features = {
        "p2": torch.stack([ramp(32, 32)[0], 100 + ramp(32, 32)[0]]),
        "p3": torch.stack([1000 + ramp(16, 16)[0], 2000 + ramp(16, 16)[0]]),
    }
    small, large = [8.0, 8.0, 16.0, 16.0], [0.0, 0.0, 120.0, 120.0]
    pooled = RoIPooling(["p2", "p3"], 1, 1)(features, [torch.tensor([large, small]), torch.tensor([small])])
    assert pooled.flatten().tolist() == [1007.5, 3.0, 103.0]


def test_images_without_boxes() -> None:
    pooled = RoIPooling(["p2", "p3"], 7, 0)({"p2": ramp(8, 8), "p3": ramp(4, 4)}, [torch.zeros(0, 4)])
    assert pooled.shape == (0, 1, 7, 7)
