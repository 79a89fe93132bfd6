"""Feature pyramid (Lin et al., 2017): the trunk's res2 .. res5 become p2 .. p5 of equal depth, p6 is p5 subsampled."""

from collections import OrderedDict

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from .norm_layers import NORM_LAYERS
from .resnet_trunk import ResNetTrunk


class PyramidBackbone(nn.Module):
    """torchvision's pyramid on top of a trunk, with detectron2's names.

    torchvision's own initialisation (Kaiming uniform with a = 1) is already the one that detectron2 uses here.
    """

    def __init__(self, bottom_up: ResNetTrunk, in_features: list[str], out_channels: int, norm: str) -> None:
        super().__init__()
        self.bottom_up = bottom_up
        self.in_features = in_features
        channels = [bottom_up.channels[name] for name in in_features]
        self.pyramid = FeaturePyramidNetwork(channels, out_channels, LastLevelMaxPool(), NORM_LAYERS[norm])
        self.out_features = [name.replace("res", "p") for name in in_features] + ["p6"]
        self.channels = dict.fromkeys(self.out_features, out_channels)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, 3, H, W), H and W multiples of 32 -> p2 .. p6, each (N, out_channels, H / stride, W / stride)."""
        features = self.bottom_up(images)
        levels = self.pyramid(OrderedDict((name, features[name]) for name in self.in_features))
        return dict(zip(self.out_features, levels.values(), strict=True))


def build_pyramid(cfg: CfgNode, trunk: ResNetTrunk) -> PyramidBackbone:
    """The pyramid that ``MODEL.FPN`` describes."""
    fpn = cfg.MODEL.FPN
    return PyramidBackbone(trunk, fpn.IN_FEATURES, fpn.OUT_CHANNELS, fpn.NORM)
