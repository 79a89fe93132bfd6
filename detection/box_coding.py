"""Boxes as corrections of other boxes (Girshick et al., R-CNN, 2014, appendix C): (dx, dy, dw, dh).

dx and dy move the centre, in widths and heights of the reference box; dw and dh are the logarithms of the change of its
width and height. Each is multiplied by a weight, so that the targets have about unit variance.
"""

import math
from collections.abc import Sequence

import torch

#: Largest dw and dh that are believed: they would turn 16 pixels into 1000.
LARGEST_LOG_SCALE = math.log(1000 / 16)


def encode_boxes(references: torch.Tensor, boxes: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """(R, 4) references, (R, 4) boxes, both (x1, y1, x2, y2) -> (R, 4) corrections from the first to the second."""
    size = references[:, 2:] - references[:, :2]
    centre = references[:, :2] + 0.5 * size
    box_size = boxes[:, 2:] - boxes[:, :2]
    box_centre = boxes[:, :2] + 0.5 * box_size
    weights = torch.as_tensor(weights, dtype=boxes.dtype, device=boxes.device)
    shift = weights[:2] * (box_centre - centre) / size
    log_scale = weights[2:] * torch.log(box_size / size)
    return torch.cat([shift, log_scale], dim=1)


def decode_boxes(references: torch.Tensor, corrections: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """(R, 4) references, (R, ..., 4) corrections of any number of classes -> (R, ..., 4) float32 boxes.

    The inverse of :func:`encode_boxes`, except for enlargements beyond :data:`LARGEST_LOG_SCALE`. Computed in float32
    also under mixed precision: half a pixel in 1000 is already too coarse.
    """
    corrections = corrections.float()
    weights = torch.as_tensor(weights, dtype=corrections.dtype, device=corrections.device)
    references = references.reshape(len(references), *[1] * (corrections.dim() - 2), 4)  # (R, 1, ..., 4)
    size = references[..., 2:] - references[..., :2]
    centre = references[..., :2] + 0.5 * size
    shift, log_scale = (corrections / weights).split(2, dim=-1)
    box_centre = shift * size + centre
    half_size = 0.5 * (log_scale.clamp(max=LARGEST_LOG_SCALE).exp() * size)
    return torch.cat([box_centre - half_size, box_centre + half_size], dim=-1)
