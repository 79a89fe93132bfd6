"""Region proposal network (Ren et al., Faster R-CNN, 2015): boxes that may hold an object of any class.

N images, H and W the size of a feature map, A anchors a position, G true boxes and P proposals of an image.
torchvision's head; ours are what differs between torchvision and detectron2: anchors, losses (plain L1, divided by the
number of anchors that could have been sampled instead of those that were) and the selection of proposals.
"""

from collections.abc import Mapping, Sequence

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from clsa.configs.command import InputError

from .anchors import AnchorGrid
from .box_coding import decode_boxes, encode_boxes
from .config import STRIDES
from .matching import match_candidates, sample_candidates


class RegionProposals(nn.Module):
    """``cfg.MODEL.RPN`` on feature maps of ``channels`` channels."""

    def __init__(self, cfg: CfgNode, channels: int) -> None:
        super().__init__()
        generator = cfg.MODEL.ANCHOR_GENERATOR
        self.settings = cfg.MODEL.RPN
        strides = [STRIDES[name] for name in self.settings.IN_FEATURES]
        self.anchors = AnchorGrid(generator.SIZES, generator.ASPECT_RATIOS, strides, generator.OFFSET)
        self.head = RPNHead(channels, self.anchors.per_position)

    def forward(
        self,
        features: Mapping[str, torch.Tensor],
        image_sizes: Sequence[tuple[int, int]],
        true_boxes: Sequence[torch.Tensor] | None = None,
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Propose boxes, and in training compute ``loss_rpn_cls`` and ``loss_rpn_loc``.

        Args:
            features: name -> (N, C, H, W).
            image_sizes: (height, width) of every image without its padding.
            true_boxes: for every image (G, 4); needed in training only.

        Returns:
            For every image (P, 4), the best first, without gradient; and the losses, none in eval mode.

        Raises:
            InputError: in training, a prediction that is not finite. In eval mode such an anchor proposes nothing.
        """
        maps = [features[name] for name in self.settings.IN_FEATURES]
        anchors = self.anchors(maps)  # for each map (H W A, 4)
        logits, corrections = self.head(maps)
        logits = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]  # (N, H W A)
        corrections = [x.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in corrections]  # (N, HWA, 4)
        losses = self._losses(anchors, logits, corrections, true_boxes) if self.training else {}
        with torch.no_grad():
            proposals = self._propose(anchors, logits, corrections, image_sizes)
        return proposals, losses

    def _losses(
        self,
        anchors: list[torch.Tensor],
        logits: list[torch.Tensor],
        corrections: list[torch.Tensor],
        true_boxes: Sequence[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        settings = self.settings
        all_anchors = torch.cat(anchors)  # (P, 4): here the candidates are the anchors of all maps
        all_logits = torch.cat(logits, dim=1).flatten()  # (N P,)
        all_corrections = torch.cat(corrections, dim=1).flatten(0, 1)  # (N P, 4)
        object_rows, background_rows, wanted = [], [], []
        for image, truth in enumerate(true_boxes):
            matches, labels = match_candidates(box_iou(truth, all_anchors), *settings.IOU_THRESHOLDS, True)
            objects, backgrounds = sample_candidates(
                labels == 1, labels == 0, settings.BATCH_SIZE_PER_IMAGE, settings.POSITIVE_FRACTION
            )
            object_rows.append(objects + image * len(all_anchors))
            background_rows.append(backgrounds + image * len(all_anchors))
            wanted.append(encode_boxes(all_anchors[objects], truth[matches[objects]], settings.BBOX_REG_WEIGHTS))
        object_rows, background_rows = torch.cat(object_rows), torch.cat(background_rows)

        drawn = all_logits[torch.cat([object_rows, background_rows])]
        is_object = torch.zeros_like(drawn)
        is_object[: len(object_rows)] = 1
        classification = F.binary_cross_entropy_with_logits(drawn, is_object, reduction="sum")
        localization = F.smooth_l1_loss(
            all_corrections[object_rows], torch.cat(wanted), beta=settings.SMOOTH_L1_BETA, reduction="sum"
        )
        scale = settings.LOSS_WEIGHT / (settings.BATCH_SIZE_PER_IMAGE * len(true_boxes))
        return {
            "loss_rpn_cls": classification * scale,
            "loss_rpn_loc": localization * (scale * settings.BBOX_REG_LOSS_WEIGHT),
        }

    def _propose(
        self,
        anchors: list[torch.Tensor],
        logits: list[torch.Tensor],
        corrections: list[torch.Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[torch.Tensor]:
        settings = self.settings
        before = settings.PRE_NMS_TOPK_TRAIN if self.training else settings.PRE_NMS_TOPK_TEST
        after = settings.POST_NMS_TOPK_TRAIN if self.training else settings.POST_NMS_TOPK_TEST
        scores, boxes, levels = [], [], []
        for level, (map_anchors, map_logits, map_corrections) in enumerate(
            zip(anchors, logits, corrections, strict=True)
        ):
            best, index = map_logits.topk(min(before, map_logits.shape[1]), dim=1)  # (N, k)
            chosen = map_corrections.gather(1, index[..., None].expand(-1, -1, 4))  # (N, k, 4)
            decoded = decode_boxes(map_anchors[index].flatten(0, 1), chosen.flatten(0, 1), settings.BBOX_REG_WEIGHTS)
            scores.append(best)
            boxes.append(decoded.reshape(chosen.shape))
            levels.append(torch.full_like(index[0], level))
        scores, boxes, levels = torch.cat(scores, dim=1), torch.cat(boxes, dim=1), torch.cat(levels)

        proposals = []
        for image_boxes, image_scores, size in zip(boxes, scores, image_sizes, strict=True):
            finite = image_boxes.isfinite().all(dim=1) & image_scores.isfinite()
            if self.training and not finite.all():
                raise InputError(
                    "region proposals are infinite or not a number: training has diverged. "
                    "Lower SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
                )
            image_boxes = clip_boxes_to_image(image_boxes, size)
            keep = finite & (image_boxes[:, 2:] > image_boxes[:, :2]).all(dim=1)
            image_boxes, image_scores, image_levels = image_boxes[keep], image_scores[keep], levels[keep]
            kept = batched_nms(image_boxes, image_scores.float(), image_levels, settings.NMS_THRESH)[:after]
            proposals.append(image_boxes[kept])
        return proposals
