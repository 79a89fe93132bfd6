"""The second stage: classes, boxes and masks of the proposed regions.

C4 detectors apply the trunk's res5 to every region and predict from its output; FPN detectors pool from the pyramid
into a head of their own. Both have the same two methods, ``losses`` and ``detect``.

N images, G true objects, P proposals and D detections of an image, M side of a predicted mask.
"""

from collections.abc import Mapping, Sequence

import torch
from fvcore.common.config import CfgNode
from torch import nn

from .box_head import BoxPredictor, ConvFCHead
from .mask_head import MaskHead
from .norm_layers import NORM_LAYERS
from .roi_pooling import RoIPooling
from .sample_proposals import Truth, sample_proposals

Features = Mapping[str, torch.Tensor]


class Res5ROIHeads(nn.Module):
    """C4: res5 runs once on all sampled regions, and boxes and masks share its output.

    As ``Res5ROIHeadsExtraNorm`` a norm over its channels follows res5, and its tensors are named ``res5.norm.*`` as in
    MoCo's detectors: "the box prediction head consists of the conv5 stage (including global pooling) followed by a BN
    layer" (He et al., Momentum Contrast, 2020, appendix A.3).

    detectron2 gives C4 detectors a res5 of three bottleneck blocks whatever the depth; here res5 is the trunk's own, so
    that ResNet-18 and -34 keep their weights too.
    """

    def __init__(self, cfg: CfgNode, res5: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.cfg = cfg
        head = cfg.MODEL.ROI_BOX_HEAD
        self.pooling = RoIPooling(cfg.MODEL.ROI_HEADS.IN_FEATURES, head.POOLER_RESOLUTION, head.POOLER_SAMPLING_RATIO)
        self.res5 = res5
        if cfg.MODEL.ROI_HEADS.NAME == "Res5ROIHeadsExtraNorm":
            self.res5.add_module("norm", NORM_LAYERS[cfg.MODEL.RESNETS.NORM](channels))
        self.box_predictor = BoxPredictor(cfg, channels)
        self.mask_head = MaskHead(cfg, channels) if cfg.MODEL.MASK_ON else None

    def losses(
        self, features: Features, proposals: Sequence[torch.Tensor], truths: Sequence[Truth]
    ) -> dict[str, torch.Tensor]:
        """``loss_cls``, ``loss_box_reg`` and, with masks, ``loss_mask``, of regions drawn from the proposals (P, 4)."""
        samples = [sample_proposals(self.cfg, p, t) for p, t in zip(proposals, truths, strict=True)]
        maps = self.res5(self.pooling(features, [s.boxes for s in samples]))
        losses = self.box_predictor.losses(*self.box_predictor(maps.mean(dim=(2, 3))), samples)
        if self.mask_head is not None:
            foreground = [s.classes < self.cfg.MODEL.ROI_HEADS.NUM_CLASSES for s in samples]
            objects = [s.select(f) for s, f in zip(samples, foreground, strict=True)]
            losses["loss_mask"] = self.mask_head.loss(maps[torch.cat(foreground)], objects, truths)
        return losses

    def detect(
        self, features: Features, proposals: Sequence[torch.Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[dict[str, torch.Tensor]]:
        """For each image ``boxes``, ``scores``, ``classes`` and, with masks, ``masks`` (D, M, M) probabilities."""
        maps = self.res5(self.pooling(features, proposals))
        detections = self.box_predictor.detect(*self.box_predictor(maps.mean(dim=(2, 3))), proposals, image_sizes)
        if self.mask_head is not None:
            maps = self.res5(self.pooling(features, [d["boxes"] for d in detections]))
            self.mask_head.add_masks(maps, detections)
        return detections


class StandardROIHeads(nn.Module):
    """FPN: boxes and masks pool separately from the pyramid, each into its own head."""

    def __init__(self, cfg: CfgNode, channels: int) -> None:
        super().__init__()
        self.cfg = cfg
        in_features = cfg.MODEL.ROI_HEADS.IN_FEATURES
        box, mask = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD
        self.box_pooling = RoIPooling(in_features, box.POOLER_RESOLUTION, box.POOLER_SAMPLING_RATIO)
        self.box_head = ConvFCHead(cfg, channels)
        self.box_predictor = BoxPredictor(cfg, self.box_head.out_channels)
        self.mask_pooling = RoIPooling(in_features, mask.POOLER_RESOLUTION, mask.POOLER_SAMPLING_RATIO)
        self.mask_head = MaskHead(cfg, channels) if cfg.MODEL.MASK_ON else None

    def losses(
        self, features: Features, proposals: Sequence[torch.Tensor], truths: Sequence[Truth]
    ) -> dict[str, torch.Tensor]:
        """See :meth:`Res5ROIHeads.losses`."""
        samples = [sample_proposals(self.cfg, p, t) for p, t in zip(proposals, truths, strict=True)]
        vectors = self.box_head(self.box_pooling(features, [s.boxes for s in samples]))
        losses = self.box_predictor.losses(*self.box_predictor(vectors), samples)
        if self.mask_head is not None:
            objects = [s.select(s.classes < self.cfg.MODEL.ROI_HEADS.NUM_CLASSES) for s in samples]
            maps = self.mask_pooling(features, [s.boxes for s in objects])
            losses["loss_mask"] = self.mask_head.loss(maps, objects, truths)
        return losses

    def detect(
        self, features: Features, proposals: Sequence[torch.Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[dict[str, torch.Tensor]]:
        """See :meth:`Res5ROIHeads.detect`."""
        vectors = self.box_head(self.box_pooling(features, proposals))
        detections = self.box_predictor.detect(*self.box_predictor(vectors), proposals, image_sizes)
        if self.mask_head is not None:
            maps = self.mask_pooling(features, [d["boxes"] for d in detections])
            self.mask_head.add_masks(maps, detections)
        return detections
