"""clsa.detection.postprocess: boxes back in the original image, masks pasted, drawn as text."""

import torch

from clsa.detection.postprocess import paste_masks, to_original_image


def found(boxes: list[list[float]], **more: torch.Tensor) -> dict[str, torch.Tensor]:
    number = len(boxes)
    return {"boxes": torch.tensor(boxes), "scores": torch.arange(number) / 10, "classes": torch.arange(number), **more}


def test_boxes_are_scaled_and_clipped_and_those_without_area_left_out() -> None:
    """Input 100 x 200 (height x width), original 50 x 400: y halves, x doubles."""
    boxes = [[10.0, 20.0, 30.0, 40.0], [150.0, 0.0, 300.0, 100.0], [5.0, 5.0, 5.0, 9.0], [210.0, 0.0, 220.0, 9.0]]
    result = to_original_image(found(boxes), (100, 200), 50, 400)
    assert result["boxes"].tolist() == [[20, 10, 60, 20], [300, 0, 400, 50]]
    assert result["classes"].tolist() == [0, 1]
    assert len(result["scores"]) == 2


def drawn(mask: torch.Tensor) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask.tolist()]


def test_a_mask_fills_its_box() -> None:
    masks = paste_masks(torch.ones(1, 2, 2), torch.tensor([[1.0, 1.0, 5.0, 3.0]]), 4, 6)
    assert drawn(masks[0]) == ["......", ".####.", ".####.", "......"]


def test_a_mask_is_stretched_between_pixel_centres() -> None:
    """Left column 1, right column 0, over 8 pixels: the value passes 1/2 in the middle."""
    masks = paste_masks(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[0.0, 0.0, 8.0, 2.0]]), 2, 8)
    assert drawn(masks[0]) == ["####...."] * 2


def test_a_box_at_the_border() -> None:
    masks = paste_masks(torch.ones(1, 4, 4), torch.tensor([[2.0, 0.0, 4.0, 3.0]]), 3, 4)
    assert drawn(masks[0]) == ["..##"] * 3


def test_masks_of_boxes_without_area_are_left_out_too() -> None:
    result = to_original_image(found([[5.0, 5, 5, 9], [0.0, 0, 4, 4]], masks=torch.ones(2, 4, 4)), (10, 10), 10, 10)
    assert result["masks"].shape == (1, 10, 10)
    assert result["masks"].sum() == 16


def test_no_detections() -> None:
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "classes": torch.zeros(0).long()}
    result = to_original_image({**nothing, "masks": torch.zeros(0, 4, 4)}, (10, 10), 20, 30)
    assert result["masks"].shape == (0, 20, 30)
