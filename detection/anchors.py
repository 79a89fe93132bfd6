"""Anchor boxes: the reference boxes, at every position of the feature maps, that the region proposals correct.

A anchors a position, H and W the size of a feature map. Boxes are (x1, y1, x2, y2) in pixels of the padded input image.
torchvision's own generator rounds the boxes to whole pixels, orders them by ratio first and infers the strides from
the image size; detectron2's does none of it, and a detector trained with one is lost with the other.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> torch.Tensor:
    """The anchors of one position, centred at 0: one for each size (the root of the area) and ratio (height / width).

    Returns:
        (A, 4) float32, A = len(sizes) * len(ratios), all ratios of the first size first.
    """
    boxes = []
    for size in sizes:
        for ratio in ratios:
            width = math.sqrt(size * size / ratio)
            height = ratio * width
            boxes.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(boxes)


class AnchorGrid(nn.Module):
    """The anchors of all positions of several feature maps.

    Args:
        sizes, ratios: one list for every map, or a single list for all of them.
        strides: of the maps, in input pixels.
        offset: of the first centre from the image's corner, in strides, in [0, 1).
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[Sequence[float]],
        strides: Sequence[int],
        offset: float,
    ) -> None:
        super().__init__()
        self.strides = strides
        self.offset = offset
        sizes = [*sizes] * len(strides) if len(sizes) == 1 else sizes
        ratios = [*ratios] * len(strides) if len(ratios) == 1 else ratios
        for i, (map_sizes, map_ratios) in enumerate(zip(sizes, ratios, strict=True)):
            self.register_buffer(f"cell{i}", cell_anchors(map_sizes, map_ratios), persistent=False)
        self.per_position = len(self.cell0)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Feature maps (N, C, H, W) -> for each of them (H * W * A, 4): row by row, a position's anchors together."""
        grids = []
        for i, (feature_map, stride) in enumerate(zip(maps, self.strides, strict=True)):
            cell = getattr(self, f"cell{i}")
            height, width = feature_map.shape[-2:]
            x = (torch.arange(width, device=cell.device) + self.offset) * stride
            y = (torch.arange(height, device=cell.device) + self.offset) * stride
            centre_y, centre_x = torch.meshgrid(y, x, indexing="ij")
            centres = torch.stack([centre_x, centre_y, centre_x, centre_y], dim=-1)  # (H, W, 4)
            grids.append((centres.reshape(-1, 1, 4) + cell).reshape(-1, 4))
        return grids
