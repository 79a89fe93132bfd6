"""Instance masks (He et al., Mask R-CNN, 2017): a small mask for each class inside each region.

R regions over all images, K classes, M side of the predicted mask (twice the side of the pooled square).
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from fvcore.common.config import CfgNode
from fvcore.nn.weight_init import c2_msra_fill
from pycocotools import mask as coco_mask
from torch import nn
from torch.nn import functional as F

from .box_head import conv_norm_relu
from .sample_proposals import Samples, Truth


class MaskHead(nn.Sequential):
    """3x3 convolutions, an upsampling by 2, one channel a class: (R, C, S, S) -> (R, K, 2 S, 2 S) logits."""

    def __init__(self, cfg: CfgNode, channels: int) -> None:
        settings = cfg.MODEL.ROI_MASK_HEAD
        layers = OrderedDict()
        for i in range(1, settings.NUM_CONV + 1):
            layers[f"mask_fcn{i}"] = conv_norm_relu(channels, settings.CONV_DIM, settings.NORM)
            channels = settings.CONV_DIM
        layers["deconv"] = nn.ConvTranspose2d(channels, settings.CONV_DIM, 2, stride=2)
        c2_msra_fill(layers["deconv"])
        layers["deconv_relu"] = nn.ReLU(inplace=True)
        layers["predictor"] = nn.Conv2d(settings.CONV_DIM, cfg.MODEL.ROI_HEADS.NUM_CLASSES, 1)
        nn.init.normal_(layers["predictor"].weight, std=0.001)
        nn.init.zeros_(layers["predictor"].bias)
        super().__init__(layers)

    def loss(self, features: torch.Tensor, samples: Sequence[Samples], truths: Sequence[Truth]) -> torch.Tensor:
        """Mean binary cross-entropy of the true class's mask over all pixels of the foreground regions.

        Args:
            features: (R, C, S, S), of the foreground regions alone.
            samples: those regions, image by image.
            truths: of the images, with polygons.
        """
        if len(features) == 0:
            # nothing to learn from; a norm cannot take an empty batch, yet all processes expect these gradients
            return sum(parameter.sum() for parameter in self.parameters()) * 0
        logits = self(features)
        classes = torch.cat([s.classes for s in samples])
        targets = torch.cat([mask_targets(s, t, logits.shape[-1]) for s, t in zip(samples, truths, strict=True)])
        of_true_class = logits[torch.arange(len(logits), device=logits.device), classes]  # (R, M, M)
        return F.binary_cross_entropy_with_logits(of_true_class, targets.to(of_true_class))

    def add_masks(self, features: torch.Tensor, detections: Sequence[dict[str, torch.Tensor]]) -> None:
        """Give each image's detections ``masks`` (D, M, M): for each pixel the probability of lying on the object.

        Args:
            features: (R, C, S, S), of the detected boxes, image by image.
            detections: for each image a dict with ``classes`` (D,).
        """
        logits = self(features)
        classes = torch.cat([d["classes"] for d in detections])
        masks = logits[torch.arange(len(logits), device=logits.device), classes].sigmoid()
        for detection, of_image in zip(detections, masks.split([len(d["classes"]) for d in detections]), strict=True):
            detection["masks"] = of_image


def mask_targets(samples: Samples, truth: Truth, side: int) -> torch.Tensor:
    """The true objects' polygons inside the sampled boxes -> (R, side, side) bool."""
    boxes = samples.boxes.cpu().numpy()
    masks = [
        rasterize(truth.polygons[match], box, side) for box, match in zip(boxes, samples.matches.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(masks) if masks else np.zeros((0, side, side), dtype=bool))


def rasterize(polygons: Sequence[np.ndarray], box: np.ndarray, side: int) -> np.ndarray:
    """The union of an object's polygons, seen through a box, by the rules of COCO's own masks.

    Args:
        polygons: each (x1, y1, x2, y2, ...) in pixels.
        box: (4,) float32, stretched to a square of ``side`` pixels; less than 0.1 pixel wide or high, it is widened.

    Returns:
        (side, side) bool.
    """
    scale = side / np.maximum(box[2:] - box[:2], np.float32(0.1))
    moved = [((np.reshape(p, (-1, 2)) - box[:2]) * scale).ravel().tolist() for p in polygons]
    if not moved:
        return np.zeros((side, side), dtype=bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(moved, side, side))).astype(bool)
