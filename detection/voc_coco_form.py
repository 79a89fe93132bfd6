"""VOC in COCO's form, so that COCO's evaluation gives AP of small, medium and large objects on VOC too.

VOC's own average precision knows no sizes. Its annotations written as COCO's can be evaluated as COCO's are: IoU of
continuous boxes, 101 recall levels, at most 100 detections an image, unrounded scores. Such a figure is of another kind
than VOC's AP and bears another name: its keys begin with ``bbox_coco_form/``.

A box (xmin, ymin, xmax, ymax), counted from 1 with both ends inside, becomes x = xmin - 1, y = ymin - 1, width =
xmax - xmin + 1, height = ymax - ymin + 1, which is what detectron2 trains on. VOC has no mask for most objects: the
area that sorts objects into small (< 32^2), medium and large (> 96^2) is the box's, where COCO's own is the mask's. So
fewer objects are small than masks would have it.

What becomes of objects marked ``difficult`` changes every figure (by a point or so), hence three policies by name:

- ``ignored``, the default: they count neither as found nor as missed, as in VOC's own AP, and a detection that overlaps
  with one is no false alarm (one detection for each object; VOC forgives any number). pycocotools overwrites a flag
  ``ignore`` with ``iscrowd``; an area outside every range does the same and works in every evaluator: it is -1.
- ``ordinary``: they must be found like all others; so does detectron2 where it converts VOC to COCO's form.
- ``crowd``: as ``iscrowd``. Any number of detections may match one, and for them the overlap is the part of the
  detection that lies inside, so small detections in a large difficult object are forgiven too.
"""

from collections.abc import Sequence
from typing import Any

from clsa.datasets.voc_folder import VOCAnnotation

from .evaluate_coco import evaluate_coco, read_ground_truth
from .predictions import ImagePrediction, to_coco_results

PREFIX = "bbox_coco_form"

#: In no area range of COCO's evaluation, so neither a miss nor a find.
AREA_OF_IGNORED = -1.0


def to_coco_form(annotations: Sequence[VOCAnnotation], class_names: Sequence[str], difficult: str) -> dict[str, Any]:
    """A split of VOC as the content of a COCO annotation file.

    Images are numbered from 1 in the order of the split (``file_name`` has VOC's id), and so are categories.

    Args:
        difficult: ``"ignored"``, ``"ordinary"`` or ``"crowd"``, see the module's docstring.
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


def evaluate_coco_form(
    predictions: Sequence[ImagePrediction],
    annotations: Sequence[VOCAnnotation],
    class_names: Sequence[str],
    difficult: str = "ignored",
    evaluator: str = "pycocotools",
) -> dict[str, Any]:
    """COCO's six figures for boxes on VOC, in percent, as :func:`~clsa.detection.evaluate_coco.evaluate_coco` has them.

    Args:
        predictions: of images of the split, with VOC's image ids.

    Returns:
        ``{"flavour": "COCO form of VOC, difficult ignored", "values": {"bbox_coco_form/AP", ..., "bbox_coco_form/APl"},
        "per_class": {"bbox_coco_form/AP": {...}, "bbox_coco_form/APs": {...}}, "details"}``. Unlike VOC's own mean this
        one leaves classes without objects out (None for the class).
    """
    image_number = {annotation.image_id: image for image, annotation in enumerate(annotations, 1)}
    results = to_coco_results(predictions, range(1, len(class_names) + 1))
    results = [{**result, "image_id": image_number[result["image_id"]]} for result in results]
    ground_truth = read_ground_truth(to_coco_form(annotations, class_names, difficult))
    evaluation = evaluate_coco(ground_truth, results, ("bbox",), evaluator)

    def renamed(figures: dict[str, Any]) -> dict[str, Any]:
        return {name.replace("bbox/", f"{PREFIX}/"): value for name, value in figures.items()}

    return {
        "flavour": f"COCO form of VOC, difficult {difficult}",
        "values": renamed(evaluation["values"]),
        "per_class": renamed(evaluation["per_class"]),
        "details": evaluation["details"],
    }
