"""One dataset dictionary to one model input: read, resize, flip, and the annotations with it.

The same steps and the same rounding as detectron2's mapper with its default augmentations (resize of the shorter side
with PIL's bilinear filter, then a horizontal flip). What differs is where chance comes from: each image gets its own
generator, so that an image looks the same in a run that was resumed.

Shapes: H, W the image as the model sees it; G objects of the image.
"""

from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image, ImageOps

from clsa.configs.command import InputError
from clsa.datasets.images import open_rgb

from .dataset_dicts import XYWH

#: Objects thinner than this, in pixels of the resized image, are not trained on.
SMALLEST_SIDE = 1e-5


class DetectionMapper:
    """Map dataset dictionaries to the inputs of :func:`clsa.detection.rcnn.build_model`'s models.

    Args:
        cfg: ``INPUT`` says sizes, flip and channel order; ``MODEL.MASK_ON`` whether polygons are kept.
        is_train: draw the size among ``MIN_SIZE_TRAIN``, flip at random, keep the annotations. Otherwise resize to
            ``MIN_SIZE_TEST`` and give the image alone.
    """

    def __init__(self, cfg: CfgNode, is_train: bool):
        self.is_train = is_train
        self.image_format = cfg.INPUT.FORMAT
        self.with_polygons = cfg.MODEL.MASK_ON
        sizes = cfg.INPUT.MIN_SIZE_TRAIN if is_train else cfg.INPUT.MIN_SIZE_TEST
        self.short_sides = (sizes,) if isinstance(sizes, int) else tuple(sizes)
        self.draws_from_range = is_train and cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range"
        self.max_side = cfg.INPUT.MAX_SIZE_TRAIN if is_train else cfg.INPUT.MAX_SIZE_TEST
        self.flips = is_train and cfg.INPUT.RANDOM_FLIP == "horizontal"
        if self.draws_from_range and len(self.short_sides) != 2:
            raise InputError(
                f"INPUT.MIN_SIZE_TRAIN is {self.short_sides}: MIN_SIZE_TRAIN_SAMPLING 'range' needs (least, greatest)"
            )

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Read and transform one image.

        Returns:
            ``image`` uint8 (3, H, W) in the order of ``INPUT.FORMAT``; ``height``, ``width`` of the original,
            ``image_id``, ``file_name``; in training also ``gt_boxes`` float32 (G, 4) corners within the resized
            image, ``gt_classes`` int64 (G,), and with ``MASK_ON`` ``gt_polygons``: for each object its polygons, each
            a float64 array x0, y0, x1, y1, ...

        Raises:
            InputError: the image is missing, unreadable or not of the annotated size; with ``MASK_ON`` an object has
                no polygon.
        """
        image = read_image(record)
        if self.draws_from_range:
            short_side = int(rng.integers(self.short_sides[0], self.short_sides[1] + 1))
        else:
            short_side = int(rng.choice(self.short_sides))
        height, width = resized_shape(record["height"], record["width"], short_side, self.max_side)
        flip = bool(self.flips and rng.random() < 0.5)

        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))  # (H, W, 3)
        if flip:
            pixels = pixels[:, ::-1]
        if self.image_format == "BGR":
            pixels = pixels[:, :, ::-1]
        mapped = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
        mapped["image"] = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        if self.is_train:
            mapped.update(map_annotations(record, height, width, flip, self.with_polygons))
        return mapped


def read_image(record: dict[str, Any]) -> Image.Image:
    """The record's image in RGB, turned as its EXIF orientation says; its size must be the annotated one."""
    image = ImageOps.exif_transpose(open_rgb(record["file_name"]))
    require_size(record, image.size)
    return image


def require_size(record: dict[str, Any], size: tuple[int, int]) -> None:
    """Raise an ``InputError`` unless ``size``, (width, height) of the image file, is the annotated one."""
    if size != (record["width"], record["height"]):
        raise InputError(
            f"{record['file_name']} (image {record['image_id']}) has {size[0]} x {size[1]} pixels, its annotation says "
            f"{record['width']} x {record['height']}. One of them is wrong, and boxes would be misplaced: restore the "
            "original image, or correct the annotation."
        )


def require_polygons(record: dict[str, Any], annotation: dict[str, Any]) -> None:
    """Raise an ``InputError`` unless the object has polygons, which a mask head trains on."""
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, list):
        kind = "no segmentation" if segmentation is None else "a mask (RLE) in place of polygons"
        raise InputError(
            f"{record['file_name']} (image {record['image_id']}): an object that is no crowd has {kind}; MODEL.MASK_ON "
            "trains on polygons. Set MODEL.MASK_ON False, or give polygons in the annotation file."
        )


def resized_shape(height: int, width: int, short_side: int, max_side: int) -> tuple[int, int]:
    """(height, width) whose shorter side is ``short_side``, unless the longer would exceed ``max_side``.

    ``short_side`` 0 leaves the size as it is. Halves are rounded up, as in detectron2.
    """
    if short_side == 0:
        return height, width
    scale = short_side * 1.0 / min(height, width)
    new_height, new_width = (short_side, scale * width) if height < width else (scale * height, short_side)
    if max(new_height, new_width) > max_side:
        shrink = max_side * 1.0 / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return int(new_height + 0.5), int(new_width + 0.5)


def map_annotations(
    record: dict[str, Any], height: int, width: int, flip: bool, with_polygons: bool
) -> dict[str, torch.Tensor | list]:
    """Boxes, classes and polygons in the image resized to ``height`` x ``width`` and then perhaps flipped.

    Crowds are left out, boxes clipped to the image, boxes without area dropped.
    """
    scale = np.array([width * 1.0 / record["width"], height * 1.0 / record["height"]])  # x, y
    boxes, classes, polygons = [], [], []
    for annotation in record["annotations"]:
        if annotation.get("iscrowd", 0):
            continue
        x, y = (_corners(annotation).reshape(2, 2) * scale).T  # each (2,): left and right, top and bottom
        if flip:
            x = width - x[::-1]
        box = np.minimum(np.array([x[0], y[0], x[1], y[1]]).clip(min=0), [width, height, width, height])
        box = box.astype(np.float32)
        if box[2] - box[0] <= SMALLEST_SIDE or box[3] - box[1] <= SMALLEST_SIDE:
            continue
        boxes.append(box)
        classes.append(annotation["category_id"])
        if with_polygons:
            polygons.append(_map_polygons(record, annotation, scale, width if flip else None))
    mapped = {
        "gt_boxes": torch.from_numpy(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
        "gt_classes": torch.tensor(classes, dtype=torch.int64),
    }
    return {**mapped, "gt_polygons": polygons} if with_polygons else mapped


def _corners(annotation: dict[str, Any]) -> np.ndarray:
    """(4,) float64 x1, y1, x2, y2. COCO's x + width is a float32 sum, as it is in detectron2."""
    if annotation["bbox_mode"] != XYWH:
        return np.array(annotation["bbox"], dtype=np.float64)
    x, y, w, h = np.array(annotation["bbox"], dtype=np.float32)
    return np.array([x, y, x + w, y + h], dtype=np.float64)


def _map_polygons(record: dict, annotation: dict, scale: np.ndarray, flip_width: int | None) -> list[np.ndarray]:
    require_polygons(record, annotation)
    mapped = []
    for polygon in annotation["segmentation"]:
        points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2) * scale
        if flip_width is not None:
            points[:, 0] = flip_width - points[:, 0]
        mapped.append(points.reshape(-1))
    return mapped
