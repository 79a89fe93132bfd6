"""From pooled regions to classes and boxes: the fully connected head of FPN detectors and the predictor of all.

R regions over all images, K classes without the background, C channels, S side of the pooled square, D detections.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from fvcore.common.config import CfgNode
from fvcore.nn.weight_init import c2_msra_fill, c2_xavier_fill
from torch import nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image

from .box_coding import decode_boxes, encode_boxes
from .norm_layers import NORM_LAYERS
from .sample_proposals import Samples


def conv_norm_relu(in_channels: int, out_channels: int, norm: str) -> nn.Sequential:
    """A 3x3 convolution, its norm (a bias where there is none) and ReLU; Kaiming normal initialisation by fan-out."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not norm)
    c2_msra_fill(conv)
    layers = OrderedDict(conv=conv)
    if norm:
        layers["norm"] = NORM_LAYERS[norm](out_channels)
    layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


class ConvFCHead(nn.Sequential):
    """``NUM_CONV`` 3x3 convolutions, then ``NUM_FC`` fully connected layers: (R, C, S, S) -> (R, out_channels).

    The standard head is 0 + 2 (``moco-2fc``), the stronger one 4 + 1 with a norm (``infomin-4conv1fc``).
    """

    def __init__(self, cfg: CfgNode, channels: int) -> None:
        settings = cfg.MODEL.ROI_BOX_HEAD
        layers = OrderedDict()
        for i in range(1, settings.NUM_CONV + 1):
            layers[f"conv{i}"] = conv_norm_relu(channels, settings.CONV_DIM, settings.NORM)
            channels = settings.CONV_DIM
        layers["flatten"] = nn.Flatten()
        channels *= settings.POOLER_RESOLUTION**2
        for i in range(1, settings.NUM_FC + 1):
            layers[f"fc{i}"] = nn.Linear(channels, settings.FC_DIM)
            c2_xavier_fill(layers[f"fc{i}"])
            layers[f"fc_relu{i}"] = nn.ReLU(inplace=True)
            channels = settings.FC_DIM
        super().__init__(layers)
        self.out_channels = channels


class BoxPredictor(nn.Module):
    """Class scores and, for each class, a correction of the region's box (Girshick, Fast R-CNN, 2015)."""

    def __init__(self, cfg: CfgNode, channels: int) -> None:
        super().__init__()
        self.cfg = cfg
        self.num_classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        self.cls_score = nn.Linear(channels, self.num_classes + 1)
        self.bbox_pred = nn.Linear(channels, self.num_classes * 4)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(R, C) -> logits (R, K + 1), the background last; corrections (R, K, 4)."""
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (self.num_classes, 4))

    def losses(
        self, logits: torch.Tensor, corrections: torch.Tensor, samples: Sequence[Samples]
    ) -> dict[str, torch.Tensor]:
        """``loss_cls``: cross-entropy, mean over the regions. ``loss_box_reg``: L1 of the foreground's corrections for
        their true class, divided by the number of all regions, so that each foreground region counts the same however
        many there are."""
        settings = self.cfg.MODEL.ROI_BOX_HEAD
        classes = torch.cat([s.classes for s in samples])
        foreground = (classes < self.num_classes).nonzero().flatten()
        boxes = torch.cat([s.boxes for s in samples])[foreground]
        true_boxes = torch.cat([s.true_boxes for s in samples])[foreground]
        wanted = encode_boxes(boxes, true_boxes, settings.BBOX_REG_WEIGHTS)
        found = corrections[foreground, classes[foreground]]
        distance = F.smooth_l1_loss(found, wanted, beta=settings.SMOOTH_L1_BETA, reduction="sum")
        number = max(len(classes), 1)
        return {
            "loss_cls": F.cross_entropy(logits, classes, reduction="sum") / number,
            "loss_box_reg": distance * (settings.BBOX_REG_LOSS_WEIGHT / number),
        }

    def detect(
        self,
        logits: torch.Tensor,
        corrections: torch.Tensor,
        proposals: Sequence[torch.Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[dict[str, torch.Tensor]]:
        """The detections of every image, the best first.

        Returns:
            For each image ``boxes`` (D, 4) in input pixels, ``scores`` (D,) in (SCORE_THRESH_TEST, 1], ``classes`` (D,)
            int64; D at most DETECTIONS_PER_IMAGE, unless that is negative. Regions with a value that is not finite
            detect nothing.
        """
        heads = self.cfg.MODEL.ROI_HEADS
        numbers = [len(p) for p in proposals]
        boxes = decode_boxes(torch.cat(list(proposals)), corrections, self.cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS)
        scores = logits.float().softmax(dim=1)
        detections = []
        for image_boxes, image_scores, size in zip(
            boxes.split(numbers), scores.split(numbers), image_sizes, strict=True
        ):
            finite = image_boxes.isfinite().all(dim=2).all(dim=1) & image_scores.isfinite().all(dim=1)  # (R,)
            sure = (image_scores[:, :-1] > heads.SCORE_THRESH_TEST) & finite[:, None]
            region, classes = sure.nonzero(as_tuple=True)
            kept_boxes = clip_boxes_to_image(image_boxes[region, classes], size)
            kept_scores = image_scores[region, classes]
            best = batched_nms(kept_boxes, kept_scores, classes, heads.NMS_THRESH_TEST)
            if self.cfg.TEST.DETECTIONS_PER_IMAGE >= 0:
                best = best[: self.cfg.TEST.DETECTIONS_PER_IMAGE]
            detections.append({"boxes": kept_boxes[best], "scores": kept_scores[best], "classes": classes[best]})
        return detections
