"""VOC in COCO's form, so that COCO's evaluation gives AP of small, medium and large objects on VOC too.

VOC's own average precision knows no sizes. Its annotations written as COCO's can be evaluated as COCO's are: IoU of
continuous boxes, 101 recall levels, at most 100 detections an image, unrounded scores. Such a figure is of another kind
than VOC's AP and bears another name: its keys begin with ``bbox_coco_form/``.

How boxes, sizes and objects marked ``difficult`` are carried over is told in :mod:`clsa.datasets.voc_coco_form`; of its
policies for difficult objects ``ignored`` is the default.
"""

from collections.abc import Sequence
from typing import Any

from clsa.datasets.voc_coco_form import Difficult, to_coco_form
from clsa.datasets.voc_folder import VOCAnnotation

from .evaluate_coco import evaluate_coco, read_ground_truth
from .predictions import ImagePrediction, to_coco_results

PREFIX = "bbox_coco_form"


def evaluate_coco_form(
    predictions: Sequence[ImagePrediction],
    annotations: Sequence[VOCAnnotation],
    class_names: Sequence[str],
    difficult: Difficult = "ignored",
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
