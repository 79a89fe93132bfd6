"""Pascal VOC's annotations as the content of a COCO annotation file.

A box (xmin, ymin, xmax, ymax), counted from 1 with both ends inside, becomes x = xmin - 1, y = ymin - 1, width =
xmax - xmin + 1, height = ymax - ymin + 1, which is what detectron2 trains on. VOC has no mask for most objects: the
area that sorts objects into small (< 32^2), medium and large (> 96^2) is the box's, where COCO's own is the mask's. So
fewer objects are small than masks would have it.

What becomes of objects marked ``difficult`` changes every figure (by a point or so), hence three policies by name:

- ``ignored``: they count neither as found nor as missed, as in VOC's own AP, and a detection that overlaps with one is
  no false alarm (one detection for each object; VOC forgives any number). pycocotools overwrites a flag ``ignore`` with
  ``iscrowd``; an area outside every range does the same and works in every evaluator: it is -1.
- ``ordinary``: they must be found like all others; so does detectron2 where it converts VOC to COCO's form.
- ``crowd``: as ``iscrowd``. Any number of detections may match one, and for them the overlap is the part of the
  detection that lies inside, so small detections in a large difficult object are forgiven too.
"""

from collections.abc import Sequence
from typing import Any, Literal

from .voc_folder import VOCAnnotation

Difficult = Literal["ignored", "ordinary", "crowd"]

#: In no area range of COCO's evaluation, so neither a miss nor a find.
AREA_OF_IGNORED = -1.0


def to_coco_form(
    annotations: Sequence[VOCAnnotation], class_names: Sequence[str], difficult: Difficult
) -> dict[str, Any]:
    """A split of VOC as the content of a COCO annotation file.

    Images are numbered from 1 in the order of the split (``file_name`` has VOC's id), and so are categories.

    Args:
        class_names: every class that occurs.
        difficult: see the module's docstring.
    """
    number = {name: index for index, name in enumerate(class_names, 1)}
    objects = []
    for image, annotation in enumerate(annotations, 1):
        for voc in annotation.objects:
            xmin, ymin, xmax, ymax = voc.box
            width, height = xmax - xmin + 1, ymax - ymin + 1
            objects.append(
                {
                    "id": len(objects) + 1,  # pycocotools takes id 0 for "not matched"
                    "image_id": image,
                    "category_id": number[voc.name],
                    "bbox": [xmin - 1, ymin - 1, width, height],
                    "area": AREA_OF_IGNORED if voc.difficult and difficult == "ignored" else width * height,
                    "iscrowd": int(voc.difficult and difficult == "crowd"),
                    "difficult": int(voc.difficult),
                }
            )
    return {
        "info": {"description": f"Pascal VOC in COCO's form; difficult objects: {difficult}; area: of the box"},
        "images": [
            {"id": image, "file_name": f"{a.image_id}.jpg", "width": a.width, "height": a.height}
            for image, a in enumerate(annotations, 1)
        ],
        "categories": [{"id": index, "name": name, "supercategory": ""} for name, index in number.items()],
        "annotations": objects,
    }
