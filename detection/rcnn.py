"""Faster and Mask R-CNN of the torchvision engine, C4 and FPN: torchvision's parts, detectron2's arithmetic.

N images; H and W their common padded size. With equal weights and an equal seed losses, proposals, boxes, scores and
masks equal detectron2's to rounding.
"""

from collections.abc import Sequence
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from .fpn import build_pyramid
from .implemented import refuse_unsupported
from .postprocess import to_original_image
from .region_proposals import RegionProposals
from .resnet_trunk import build_trunk
from .roi_heads import Res5ROIHeads, StandardROIHeads
from .sample_proposals import Truth


class RCNN(nn.Module):
    """Backbone, region proposals, region heads.

    Args:
        size_divisibility: images are padded to a multiple of it, on the right and below.
    """

    def __init__(
        self,
        cfg: CfgNode,
        backbone: nn.Module,
        proposals: RegionProposals,
        roi_heads: Res5ROIHeads | StandardROIHeads,
        size_divisibility: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.proposals = proposals
        self.roi_heads = roi_heads
        self.size_divisibility = size_divisibility
        self.register_buffer("pixel_mean", torch.tensor(cfg.MODEL.PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(cfg.MODEL.PIXEL_STD).view(3, 1, 1), persistent=False)

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor] | list[dict[str, Any]]:
        """Losses in training, detections in eval mode.

        Args:
            batched_inputs: for each image ``image``, uint8 (3, H, W) in the order of ``INPUT.FORMAT``; in training
                ``gt_boxes`` (G, 4) float32 (x1, y1, x2, y2) in the image, ``gt_classes`` (G,) int64 and, with masks,
                ``gt_polygons``, for each object a list of arrays (x1, y1, ...); in eval mode ``height`` and ``width``
                of the original image.

        Returns:
            In training ``loss_rpn_cls``, ``loss_rpn_loc``, ``loss_cls``, ``loss_box_reg`` and perhaps ``loss_mask``,
            scalars whose sum is the loss. In eval mode for each image ``boxes`` (D, 4) in the original image,
            ``scores`` (D,), ``classes`` (D,) and perhaps ``masks`` (D, height, width) bool.
        """
        images, sizes = self.batch_images([x["image"] for x in batched_inputs])
        features = self.backbone(images)
        if self.training:
            truths = [Truth.from_input(x, images.device) for x in batched_inputs]
            proposals, proposal_losses = self.proposals(features, sizes, [t.boxes for t in truths])
            return proposal_losses | self.roi_heads.losses(features, proposals, truths)
        proposals, _ = self.proposals(features, sizes)
        detections = self.roi_heads.detect(features, proposals, sizes)
        return [
            to_original_image(found, size, x["height"], x["width"])
            for found, size, x in zip(detections, sizes, batched_inputs, strict=True)
        ]

    def batch_images(self, images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """Normalise, then pad with zeros to one size: (N, 3, H, W), and each image's own (height, width)."""
        sizes = [tuple(image.shape[-2:]) for image in images]
        step = self.size_divisibility
        height = -(-max(h for h, _ in sizes) // step) * step
        width = -(-max(w for _, w in sizes) // step) * step
        batch = self.pixel_mean.new_zeros(len(images), 3, height, width)
        for place, image, (h, w) in zip(batch, images, sizes, strict=True):
            place[:, :h, :w] = (image.to(batch.device) - self.pixel_mean) / self.pixel_std
        return batch, sizes


def build_model(cfg: CfgNode) -> RCNN:
    """The detector that ``cfg`` describes, on the CPU, with random weights and in training mode.

    Raises:
        InputError: a value that this engine does not implement.
    """
    refuse_unsupported(cfg)
    trunk = build_trunk(cfg)
    if cfg.MODEL.BACKBONE.NAME == "build_resnet_fpn_backbone":
        backbone = build_pyramid(cfg, trunk)
        channels = cfg.MODEL.FPN.OUT_CHANNELS
        heads = StandardROIHeads(cfg, channels)
        size_divisibility = 32  # the stride of res5: each level of the pyramid is exactly twice the next
    else:
        backbone = trunk
        channels = trunk.channels["res4"]
        heads = Res5ROIHeads(cfg, trunk.take_res5(), trunk.channels["res5"])
        size_divisibility = 1
    return RCNN(cfg, backbone, RegionProposals(cfg, channels), heads, size_divisibility)
