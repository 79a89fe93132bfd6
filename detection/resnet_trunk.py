"""torchvision's ResNet, cut into the stages that detectors speak of: stem, res2, res3, res4, res5.

N images, H and W their padded size; stage res(i) has stride 2 ** i.
"""

from collections import OrderedDict
from dataclasses import asdict

import torch
from fvcore.common.config import CfgNode
from torch import nn

from clsa.convert.backbone_file import Architecture
from clsa.convert.backbone_file import build_trunk as build_network

from .norm_layers import NORM_LAYERS, freeze

STAGES = ("res2", "res3", "res4", "res5")


class ResNetTrunk(nn.Module):
    """ResNet-18 to -152 of any width. Inside a stage the names are torchvision's (``res2.0.conv1``, ...).

    Attributes:
        channels: stage name -> channels of its output.
    """

    def __init__(self, architecture: Architecture, norm: str) -> None:
        super().__init__()
        net = build_network(**asdict(architecture), norm_layer=NORM_LAYERS[norm])
        self.stem = nn.Sequential(OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool))
        self.res2, self.res3, self.res4, self.res5 = net.layer1, net.layer2, net.layer3, net.layer4
        self.channels = {stage: architecture.res2_channels * 2**i for i, stage in enumerate(STAGES)}

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


def architecture_of(cfg: CfgNode) -> Architecture:
    """The depth and the widths that ``MODEL.RESNETS`` asks for."""
    resnets = cfg.MODEL.RESNETS
    expansion = 1 if resnets.DEPTH < 50 else 4  # bottlenecks give four times their base channels
    base = resnets.RES2_OUT_CHANNELS // expansion
    return Architecture(resnets.DEPTH, resnets.WIDTH_PER_GROUP, resnets.STEM_OUT_CHANNELS, base)


def build_trunk(cfg: CfgNode) -> ResNetTrunk:
    """The trunk that ``MODEL.RESNETS`` describes, its first ``MODEL.BACKBONE.FREEZE_AT`` stages frozen."""
    trunk = ResNetTrunk(architecture_of(cfg), cfg.MODEL.RESNETS.NORM)
    for stage in ("stem", *STAGES)[: cfg.MODEL.BACKBONE.FREEZE_AT]:
        freeze(getattr(trunk, stage))
    return trunk
