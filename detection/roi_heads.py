"""The second stage: classes, boxes and masks of the proposed regions.

C4 detectors apply the trunk's res5 to every region and predict from its output; FPN detectors pool from the pyramid
into a head of their own. N images, R regions over all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from fvcore.common.config import CfgNode
from torch import nn

from .box_head import BoxPredictor, ConvFCHead
from .mask_head import MaskHead
from .norm_layers import NORM_LAYERS
from .roi_pooling import RoIPooling
from .sample_proposals import Samples, Truth, sample_proposals

Features = Mapping[str, torch.Tensor]


class ROIHeads(nn.Module):
    """What both families share. A subclass sets ``box_predictor`` and ``mask_head`` (or None) and pools regions."""

    box_predictor: BoxPredictor
    mask_head: MaskHead | None

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.cfg = cfg

    def box_features(self, features: Features, boxes: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool boxes -> the vectors that the predictor takes (R, C), and the maps that they were made of."""
        raise NotImplementedError

    def mask_features(self, features: Features, boxes: Sequence[torch.Tensor]) -> torch.Tensor:
        """Pool boxes -> what the mask head takes (R, C, S, S)."""
        raise NotImplementedError

    def foreground_mask_features(
        self, features: Features, maps: torch.Tensor, is_foreground: torch.Tensor, foreground: Sequence[Samples]
    ) -> torch.Tensor:
        """The same for the foreground of the sampled regions, whose ``maps`` (R, ...) are there already."""
        return self.mask_features(features, [s.boxes for s in foreground])

    def losses(
        self, features: Features, proposals: Sequence[torch.Tensor], truths: Sequence[Truth]
    ) -> dict[str, torch.Tensor]:
        """``loss_cls``, ``loss_box_reg`` and, with masks, ``loss_mask``."""
        samples = [sample_proposals(self.cfg, p, t) for p, t in zip(proposals, truths, strict=True)]
        vectors, maps = self.box_features(features, [s.boxes for s in samples])
        losses = self.box_predictor.losses(*self.box_predictor(vectors), samples)
        if self.mask_head is not None:
            is_foreground = [s.classes < self.cfg.MODEL.ROI_HEADS.NUM_CLASSES for s in samples]
            foreground = [
                replace(s, boxes=s.boxes[f], classes=s.classes[f], matches=s.matches[f], true_boxes=s.true_boxes[f])
                for s, f in zip(samples, is_foreground, strict=True)
            ]
            chosen = self.foreground_mask_features(features, maps, torch.cat(is_foreground), foreground)
            losses["loss_mask"] = self.mask_head.loss(chosen, foreground, truths)
        return losses

    def detect(
        self, features: Features, proposals: Sequence[torch.Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[dict[str, torch.Tensor]]:
        """For each image ``boxes``, ``scores``, ``classes`` and, with masks, ``masks`` (D, M, M) probabilities."""
        vectors, _ = self.box_features(features, proposals)
        detections = self.box_predictor.detect(*self.box_predictor(vectors), proposals, image_sizes)
        if self.mask_head is not None:
            boxes = [d["boxes"] for d in detections]
            classes = torch.cat([d["classes"] for d in detections])
            masks = self.mask_head.predict(self.mask_features(features, boxes), classes)
            for detection, of_image in zip(detections, masks.split([len(b) for b in boxes]), strict=True):
                detection["masks"] = of_image
        return detections


class Res5ROIHeads(ROIHeads):
    """C4: res5 runs once on all sampled regions, and boxes and masks share its output.

    With ``extra_norm`` a norm follows res5, as in MoCo's protocol (``Res5ROIHeadsExtraNorm``): the output of a trunk
    that was trained without labels has no fixed scale, and fine-tuning would need another learning rate.

    detectron2 gives C4 detectors a res5 of three bottleneck blocks whatever the depth; here res5 is the trunk's own, so
    that ResNet-18 and -34 keep their weights too.
    """

    def __init__(self, cfg: CfgNode, res5: nn.Sequential, channels: int) -> None:
        super().__init__(cfg)
        head = cfg.MODEL.ROI_BOX_HEAD
        self.pooling = RoIPooling(cfg.MODEL.ROI_HEADS.IN_FEATURES, head.POOLER_RESOLUTION, head.POOLER_SAMPLING_RATIO)
        self.res5 = res5
        if cfg.MODEL.ROI_HEADS.NAME == "Res5ROIHeadsExtraNorm":
            self.res5.add_module("norm", NORM_LAYERS[cfg.MODEL.RESNETS.NORM](channels))
        self.box_predictor = BoxPredictor(cfg, channels)
        self.mask_head = MaskHead(cfg, channels) if cfg.MODEL.MASK_ON else None

    def mask_features(self, features: Features, boxes: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.res5(self.pooling(features, boxes))

    def box_features(self, features: Features, boxes: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.mask_features(features, boxes)
        return maps.mean(dim=(2, 3)), maps

    def foreground_mask_features(
        self, features: Features, maps: torch.Tensor, is_foreground: torch.Tensor, foreground: Sequence[Samples]
    ) -> torch.Tensor:
        return maps[is_foreground]


class StandardROIHeads(ROIHeads):
    """FPN: boxes and masks pool separately from the pyramid, each into its own head."""

    def __init__(self, cfg: CfgNode, channels: int) -> None:
        super().__init__(cfg)
        in_features = cfg.MODEL.ROI_HEADS.IN_FEATURES
        box, mask = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD
        self.box_pooling = RoIPooling(in_features, box.POOLER_RESOLUTION, box.POOLER_SAMPLING_RATIO)
        self.box_head = ConvFCHead(cfg, channels)
        self.box_predictor = BoxPredictor(cfg, self.box_head.out_channels)
        self.mask_pooling = RoIPooling(in_features, mask.POOLER_RESOLUTION, mask.POOLER_SAMPLING_RATIO)
        self.mask_head = MaskHead(cfg, channels) if cfg.MODEL.MASK_ON else None

    def box_features(self, features: Features, boxes: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.box_pooling(features, boxes)
        return self.box_head(maps), maps

    def mask_features(self, features: Features, boxes: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.mask_pooling(features, boxes)
