"""Boxes of an annotation file that are not what a box should be, and what is done about them.

detectron2 says nothing of them: training clips a box to its image and drops it if nothing is left. One such box in a
file of one's own mostly means that all boxes are of another scale, order or counting than the reader takes them to be.
So they stop a run, unless ``DATASETS.BAD_BOXES`` is ``clip``. Two kinds are in the official files and pass:

- A box may leave its image by a pixel: COCO's coordinates are rounded to hundredths, and who counts VOC's pixels from 0
  and who from 1 differ by one.
- COCO's train2017 has two boxes of height 0 among 860,001, in the images 200365 and 550395 (issue 355 of
  cocodataset/cocoapi).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from clsa.configs.command import InputError

#: Pixels by which a box may leave its image, and below which that is only the rounding of its coordinates.
TOLERATED, ROUNDING = 1.0, 0.011

#: Images with a box of height 0 in the official files.
OFFICIAL_FLAT_BOXES = {("coco_2017_train", 200365), ("coco_2017_train", 550395)}

FLAT, OUTSIDE, EDGE = "has no area inside its image", "leaves its image", "leaves its image by at most a pixel"


@dataclass(frozen=True)
class OddBox:
    """``where``: file, image and annotation. ``kind``: one of the three. ``what``: the sentence about it."""

    where: str
    image_id: int | str
    kind: str
    what: str


def inspect_box(
    where: str, image_id: int | str, corners: tuple[float, float, float, float], width: int, height: int
) -> list[OddBox]:
    """Nothing for a box within its image of ``width`` x ``height``, else one :class:`OddBox`.

    Args:
        corners: x1, y1, x2, y2 counted from 0, the end not inside: a box over the whole image is 0, 0, width, height.
    """
    x1, y1, x2, y2 = corners
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    is_flat = min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0)
    if not is_flat and beyond <= ROUNDING:
        return []
    within = FLAT if is_flat else EDGE
    kind = OUTSIDE if beyond > TOLERATED else within
    box = ", ".join(f"{side:g}" for side in corners)
    what = f"the box with corners ({box}) {kind} of {width} x {height} pixels"
    return [OddBox(where, image_id, kind, what)]


def refuse_odd_boxes(name: str, odd_boxes: Sequence[OddBox], policy: str) -> None:
    """Count them in the log, and stop at those that are certainly wrong unless ``policy`` is ``"clip"``.

    Args:
        name: of the data set, such as ``"coco_2017_train"``.

    Raises:
        InputError: naming the first of them by file, image and annotation.
    """
    wrong = [
        b for b in odd_boxes if b.kind != EDGE and not (b.kind == FLAT and (name, b.image_id) in OFFICIAL_FLAT_BOXES)
    ]
    if wrong and policy != "clip":
        more = f" So it is with {len(wrong) - 1} more of {name}." if len(wrong) > 1 else ""
        raise InputError(
            f"{wrong[0].where}: {wrong[0].what}.{more} Correct the file; or set DATASETS.BAD_BOXES clip, and such "
            "boxes are clipped to their image, and left out of training where nothing remains, as detectron2 does it."
        )
    for kind in (OUTSIDE, EDGE, FLAT):
        found = [b.where for b in odd_boxes if b.kind == kind]
        if found:
            fate = "left out of training" if kind == FLAT else "clipped in training"
            logging.getLogger("clsa").warning(
                "%s: a box %s: %d times (%s), %s", name, kind, len(found), "; ".join(found[:3]), fate
            )
