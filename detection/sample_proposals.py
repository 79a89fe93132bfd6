"""What an image truly shows, and the proposals drawn from it to train the region heads.

G true objects and P proposals of an image, R drawn proposals.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torchvision.ops import box_iou

from .matching import match_candidates, sample_candidates


@dataclass(frozen=True)
class Truth:
    """The objects of one image, in the coordinates of the network's input.

    ``boxes`` (G, 4) float32; ``classes`` (G,) int64 in [0, number of classes); ``polygons`` for masks: of each object a
    list of arrays (x1, y1, x2, y2, ...), or None.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    polygons: list[list[np.ndarray]] | None = None

    @classmethod
    def from_input(cls, image: dict[str, Any], device: torch.device) -> "Truth":
        """The ``gt_*`` entries of one of the model's inputs."""
        return cls(image["gt_boxes"].to(device), image["gt_classes"].to(device), image.get("gt_polygons"))


@dataclass(frozen=True)
class Samples:
    """Proposals of one image with what they stand for.

    ``boxes`` (R, 4); ``classes`` (R,), the background being the number of classes; ``matches`` (R,), which true object,
    meaningful for the foreground only; ``true_boxes`` (R, 4) that object's box, zeros where the image has no object.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    matches: torch.Tensor
    true_boxes: torch.Tensor

    def select(self, keep: torch.Tensor) -> "Samples":
        """Those for which ``keep`` (R,) is true."""
        return Samples(self.boxes[keep], self.classes[keep], self.matches[keep], self.true_boxes[keep])


@torch.no_grad()
def sample_proposals(cfg: CfgNode, proposals: torch.Tensor, truth: Truth) -> Samples:
    """Label (P, 4) proposals, to which the true boxes are added, and draw ``BATCH_SIZE_PER_IMAGE`` of them."""
    heads = cfg.MODEL.ROI_HEADS
    if heads.PROPOSAL_APPEND_GT:
        # while the proposals are still poor, the true boxes are the only foreground there is
        proposals = torch.cat([proposals, truth.boxes])
    threshold = heads.IOU_THRESHOLDS[0]
    matches, labels = match_candidates(box_iou(truth.boxes, proposals), threshold, threshold, best_is_object=False)
    foreground, background = sample_candidates(
        labels == 1, labels == 0, heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION
    )
    drawn = torch.cat([foreground, background])
    classes = torch.full_like(drawn, heads.NUM_CLASSES)
    classes[: len(foreground)] = truth.classes[matches[foreground]]
    boxes, matches = proposals[drawn], matches[drawn]
    true_boxes = truth.boxes[matches] if len(truth.boxes) else torch.zeros_like(boxes)
    return Samples(boxes, classes, matches, true_boxes)
