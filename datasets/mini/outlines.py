"""Masks as COCO's annotation files hold them: polygons without holes, or run lengths for crowds."""

import cv2
import numpy as np

#: How many times a mask is enlarged before its border is traced. The border then runs an eighth of a pixel inside the
#: true edge, and rounding brings it to the edge; tracing pixel centres instead would lose half a pixel all around.
_ENLARGED = 4


def mask_to_polygons(mask: np.ndarray) -> list[list[int]]:
    """``[x1, y1, x2, y2, ...]`` for each part of ``mask`` (bool[H, W]), along the edges of its pixels.

    COCO's polygons know no holes: a part that has one is cut in two through the middle of it. Rasterised as
    pycocotools does it, the polygons give the mask back.
    """
    rows, columns = _extent(mask)
    polygons = []
    for part in _parts_without_holes(mask[rows, columns].astype(np.uint8)):
        enlarged = cv2.resize(part, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_NEAREST)
        (contour,), _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        edge = np.rint((contour[:, 0].astype(np.float64) + 0.5) / _ENLARGED).astype(int)
        corners = cv2.approxPolyDP(edge.astype(np.int32)[:, None], 0, closed=True)[:, 0]
        polygons.append((corners + (columns.start, rows.start)).ravel().tolist())
    return polygons


def mask_to_runs(mask: np.ndarray) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths: of 0 and 1 in turn, down the columns, beginning with 0."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def mask_to_box(mask: np.ndarray) -> list[int]:
    """COCO's ``[x, y, width, height]`` of the smallest box around ``mask``, from the pixels' outer edges."""
    rows, columns = _extent(mask)
    return [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _parts_without_holes(mask: np.ndarray) -> list[np.ndarray]:
    """Parts (uint8 like ``mask``) that hang together by pixel edges and enclose nothing."""
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    parts = []
    for label in range(1, count):
        part = (labels == label).astype(np.uint8)
        hole = _first_hole(part)
        if hole is None:
            parts.append(part)
            continue
        cut = int(np.median(np.flatnonzero(hole.any(axis=0)))) + 1
        for side in (np.s_[:, :cut], np.s_[:, cut:]):
            half = np.zeros_like(part)
            half[side] = part[side]
            parts += _parts_without_holes(half)
    return parts


def _first_hole(part: np.ndarray) -> np.ndarray | None:
    """``bool`` like ``part``, or None. Ground that touches the part's surroundings by a corner only is a hole too."""
    ground = np.pad(1 - part, 1, constant_values=1)
    count, labels = cv2.connectedComponents(ground.astype(np.uint8), connectivity=4)
    outside = labels[0, 0]
    for label in range(1, count):
        if label != outside:
            return labels[1:-1, 1:-1] == label
    return None
