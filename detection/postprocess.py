"""Detections in the network's input -> detections in the original image.

D detections of an image, M side of a predicted mask, H and W the original size.
"""

import torch
from torch.nn import functional as F
from torchvision.ops import clip_boxes_to_image

MASK_THRESHOLD = 0.5


def to_original_image(
    detections: dict[str, torch.Tensor], input_size: tuple[int, int], height: int, width: int
) -> dict[str, torch.Tensor]:
    """Rescale and clip the boxes, leave out those without area, and paste the masks.

    Args:
        detections: ``boxes`` (D, 4), ``scores``, ``classes`` and perhaps ``masks`` (D, M, M).
        input_size: (height, width) of the input without padding.

    Returns:
        The same entries; ``masks`` now (D, height, width) bool.
    """
    scale_y, scale_x = height / input_size[0], width / input_size[1]
    boxes = detections["boxes"] * detections["boxes"].new_tensor([scale_x, scale_y, scale_x, scale_y])
    boxes = clip_boxes_to_image(boxes, (height, width))
    keep = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    result = {name: value[keep] for name, value in detections.items()} | {"boxes": boxes[keep]}
    if "masks" in result:
        result["masks"] = paste_masks(result["masks"], result["boxes"], height, width)
    return result


def paste_masks(masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Stretch each mask over its box, bilinearly between pixel centres, and cut at :data:`MASK_THRESHOLD`.

    One mask at a time, and only around its box: most of an image is outside of any one object.

    Args:
        masks: (D, M, M) probabilities.
        boxes: (D, 4) in pixels.

    Returns:
        (D, height, width) bool.
    """
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    for mask, box, canvas in zip(masks, boxes, pasted, strict=True):
        left, top = (box[:2].floor().int() - 1).clamp(min=0).tolist()
        right, bottom = min(int(box[2].ceil()) + 1, width), min(int(box[3].ceil()) + 1, height)
        x = (torch.arange(left, right, device=masks.device) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        y = (torch.arange(top, bottom, device=masks.device) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)  # (h, w, 2)
        stretched = F.grid_sample(mask[None, None], grid[None].to(mask.dtype), align_corners=False)[0, 0]
        canvas[top:bottom, left:right] = stretched >= MASK_THRESHOLD
    return pasted
