"""Detections of an evaluated data set, between the model and the evaluators, and as COCO's result format.

Shapes: D detections of one image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from clsa.configs.run_files import write_json


@dataclass(frozen=True)
class ImagePrediction:
    """What the model found in one image, best first, in the coordinates of the original image."""

    image_id: int | str
    boxes: np.ndarray  # (D, 4) float32 x1, y1, x2, y2
    scores: np.ndarray  # (D,) float32 in [0, 1]
    classes: np.ndarray  # (D,) int64 in 0 .. classes - 1
    masks: list[dict[str, Any]] | None = None  # D compressed RLEs, counts as str


def to_prediction(image_id: int | str, output: dict[str, torch.Tensor]) -> ImagePrediction:
    """One element of a model's evaluation output; masks (bool, (D, height, width)) are run-length encoded."""
    masks = None
    if "masks" in output:
        stack = output["masks"].cpu().numpy().astype(np.uint8).transpose(1, 2, 0)  # (height, width, D)
        masks = mask_util.encode(np.asfortranarray(stack)) if stack.shape[-1] else []
        masks = [{"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")} for rle in masks]
    return ImagePrediction(
        image_id=image_id,
        boxes=output["boxes"].detach().float().cpu().numpy().reshape(-1, 4),
        scores=output["scores"].detach().float().cpu().numpy(),
        classes=output["classes"].cpu().numpy().astype(np.int64),
        masks=masks,
    )


def to_coco_results(predictions: Sequence[ImagePrediction], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """COCO's result format: one dictionary for each detection, boxes as x, y, width, height.

    Args:
        category_ids: id of each class number.
    """
    results = []
    for prediction in predictions:
        corners = prediction.boxes
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        for k, box in enumerate(boxes):
            result = {
                "image_id": prediction.image_id,
                "category_id": category_ids[int(prediction.classes[k])],
                "bbox": box,
                "score": float(prediction.scores[k]),
            }
            if prediction.masks is not None:
                result["segmentation"] = prediction.masks[k]
            results.append(result)
    return results


def write_voc_detections(path: Path, predictions: Sequence[ImagePrediction], class_names: Sequence[str]) -> None:
    """Detections on VOC in COCO's result format, with VOC's image ids and, as it has no category ids, class numbers
    and names: ``{"image_id": "000001", "category_id": 14, "category": "person", "bbox": ..., "score": ...}``.
    """
    results = to_coco_results(predictions, range(len(class_names)))
    write_json(path, [{**result, "category": class_names[result["category_id"]]} for result in results])
