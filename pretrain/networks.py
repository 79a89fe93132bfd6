"""Backbone and projection head.

Shapes:
    N: images
    D: width of the backbone's pooled feature, 512 (ResNet-18, -34) or 2048 (ResNet-50, -101)
    C: embedding dimension
"""

import torchvision
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn import functional as F

from clsa.configs.command import InputError
from clsa.convert.backbone_file import read_backbone


class Encoder(nn.Module):
    """torchvision's ResNet without its classifier, then a two-layer head, then L2 normalisation.

    Its ``state_dict`` has the backbone in torchvision's names under ``backbone.`` and the head under ``head.``.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = build_backbone(
            cfg.MODEL.DEPTH, cfg.MODEL.WIDTH_PER_GROUP, zero_init_residual=cfg.MODEL.ZERO_INIT_RESIDUAL
        )
        if cfg.MODEL.INIT:
            load_weights(self.backbone, cfg)
        width = 512 if cfg.MODEL.DEPTH in (18, 34) else 2048
        self.head = build_head(width, cfg.MODEL.HEAD_HIDDEN, cfg.MODEL.HEAD_OUTPUT, cfg.MODEL.HEAD_NORM)

    def forward(self, images: Tensor) -> Tensor:
        """N x 3 x H x W normalised images to N x C float32 embeddings of unit norm."""
        feature = self.backbone(images)  # N x D
        return F.normalize(self.head(feature).float(), dim=1)  # N x C


def build_backbone(depth: int, width_per_group: int = 64, zero_init_residual: bool = False) -> nn.Module:
    """torchvision's ResNet of ``depth`` 18, 34, 50 or 101, its ``fc`` replaced by the identity."""
    build = getattr(torchvision.models, f"resnet{depth}")
    backbone = build(weights=None, width_per_group=width_per_group, zero_init_residual=zero_init_residual)
    backbone.fc = nn.Identity()
    return backbone


def load_weights(backbone: nn.Module, cfg: CfgNode) -> None:
    """Start ``backbone`` from the file MODEL.INIT, all of it.

    Raises:
        InputError: the file is not one that ``clsa-convert`` writes, or of another architecture.
    """
    weights = read_backbone(cfg.MODEL.INIT)
    wanted = (cfg.MODEL.DEPTH, cfg.MODEL.WIDTH_PER_GROUP)
    if (weights.depth, weights.width_per_group) != wanted:
        raise InputError(
            f"MODEL.INIT {cfg.MODEL.INIT} holds a ResNet-{weights.depth} of width {weights.width_per_group}, the "
            f"config builds a ResNet-{wanted[0]} of width {wanted[1]}. Set MODEL.DEPTH and MODEL.WIDTH_PER_GROUP to "
            "those of the file, or give another one."
        )
    counters = {name: value for name, value in backbone.state_dict().items() if name.endswith("num_batches_tracked")}
    backbone.load_state_dict({**weights.state, **counters})


def build_head(width: int, hidden: int, output: int, norm: str) -> nn.Sequential:
    """The MLP head: Linear-ReLU-Linear (``none``, MoCo v2 and the paper) or Linear-BN-ReLU-Linear-BN (``BN``)."""
    if norm == "none":
        return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, output))
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),  # BN subtracts any bias
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, output, bias=False),
        nn.BatchNorm1d(output),
    )
