"""torchvision's ResNet, cut into the stages that detectors speak of: stem, res2, res3, res4, res5.

N images, H and W their padded size; stage res(i) has stride 2 ** i.
"""

from collections import OrderedDict

import torch
import torchvision
from fvcore.common.config import CfgNode
from torch import nn

from .norm_layers import NORM_LAYERS, freeze

STAGES = ("res2", "res3", "res4", "res5")


class ResNetTrunk(nn.Module):
    """ResNet-18 to -152. Inside a stage the names are torchvision's (``res2.0.conv1``, ``res2.0.bn1``, ...).

    Attributes:
        channels: stage name -> channels of its output.
    """

    def __init__(self, depth: int, width_per_group: int, norm: str) -> None:
        super().__init__()
        build = getattr(torchvision.models, f"resnet{depth}")
        net = build(norm_layer=NORM_LAYERS[norm], width_per_group=width_per_group)
        self.stem = nn.Sequential(OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool))
        self.res2, self.res3, self.res4, self.res5 = net.layer1, net.layer2, net.layer3, net.layer4
        expansion = net.layer1[0].expansion
        self.channels = {stage: 64 * 2**i * expansion for i, stage in enumerate(STAGES)}

    def take_res5(self) -> nn.Sequential:
        """Remove res5 and return it: in a C4 detector it is applied to each region instead of the whole image."""
        res5 = self.res5
        del self.res5
        return res5

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, 3, H, W) -> the output of every stage that is here, by name, (N, channels, H / stride, W / stride)."""
        x = self.stem(images)
        features = {}
        for stage in STAGES:
            if hasattr(self, stage):
                features[stage] = x = getattr(self, stage)(x)
        return features


def build_trunk(cfg: CfgNode) -> ResNetTrunk:
    """The trunk that ``MODEL.RESNETS`` describes, its first ``MODEL.BACKBONE.FREEZE_AT`` stages frozen."""
    resnets = cfg.MODEL.RESNETS
    trunk = ResNetTrunk(resnets.DEPTH, resnets.WIDTH_PER_GROUP, resnets.NORM)
    for stage in ("stem", *STAGES)[: cfg.MODEL.BACKBONE.FREEZE_AT]:
        freeze(getattr(trunk, stage))
    return trunk
