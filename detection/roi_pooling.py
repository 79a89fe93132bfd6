"""RoIAlign (He et al., Mask R-CNN, 2017) from one feature map, or from the level of a pyramid that fits each box.

N images, R boxes over all of them, C channels, S side of the pooled square.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torchvision.ops import roi_align

from .config import STRIDES

#: A box of this side (root of its area, in pixels) is pooled from the map of stride 16 (Lin et al., FPN, equation 1).
CANONICAL_SIDE = 224
CANONICAL_LEVEL = 4


def assign_levels(boxes: torch.Tensor, lowest: int, highest: int) -> torch.Tensor:
    """(R, 4) boxes -> (R,) int64, the level k in [lowest, highest] whose map of stride 2 ** k each is pooled from."""
    side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    level = CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE + 1e-8)
    return level.floor().clamp(lowest, highest).long()


class RoIPooling(nn.Module):
    """Pool every box into a square.

    Boxes are shifted by half a pixel (``aligned``, detectron2's ROIAlignV2): pixel centres lie at half-integer
    coordinates. torchvision's own detectors do not shift.

    Args:
        in_features: names of the maps, by rising stride.
        resolution: S.
        sampling_ratio: samples along the side of a bin; 0: as many as the bin has pixels of the map.
    """

    def __init__(self, in_features: Sequence[str], resolution: int, sampling_ratio: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.resolution = resolution
        self.sampling_ratio = sampling_ratio

    def forward(self, features: Mapping[str, torch.Tensor], boxes: Sequence[torch.Tensor]) -> torch.Tensor:
        """name -> (N, C, H, W), and for each image its boxes in input pixels -> (R, C, S, S)."""
        image_of_box = torch.cat([torch.full_like(b[:, :1], i) for i, b in enumerate(boxes)])
        regions = torch.cat([image_of_box, torch.cat(list(boxes))], dim=1)  # (R, 5)
        if len(self.in_features) == 1:
            return self._pool(features, self.in_features[0], regions)
        strides = [STRIDES[name] for name in self.in_features]
        levels = assign_levels(regions[:, 1:], strides[0].bit_length() - 1, strides[-1].bit_length() - 1)
        first = features[self.in_features[0]]
        pooled = first.new_zeros(len(regions), first.shape[1], self.resolution, self.resolution)
        for name, stride in zip(self.in_features, strides, strict=True):
            rows = (levels == stride.bit_length() - 1).nonzero().flatten()
            pooled.index_put_((rows,), self._pool(features, name, regions[rows]))
        return pooled

    def _pool(self, features: Mapping[str, torch.Tensor], name: str, regions: torch.Tensor) -> torch.Tensor:
        scale = 1 / STRIDES[name]
        return roi_align(features[name], regions, self.resolution, scale, self.sampling_ratio, aligned=True)
