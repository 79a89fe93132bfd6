"""The data of a run, looked over before its first step: the same for both engines.

What detectron2 would meet as a traceback in a loader's process hours later, or never mention, is one sentence here.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode
from PIL import Image
from tqdm import tqdm

from clsa.configs.command import InputError

from .coco_file_check import check_coco_ground_truth
from .dataset_dicts import annotation_file, coco_annotations, find_source, load_with_odd_boxes
from .evaluation_keys import check_evaluation_keys
from .loader import has_usable_objects
from .mapper import require_polygons, require_size
from .number_limits import check_numbers
from .odd_boxes import refuse_odd_boxes

EXIF_ORIENTATION = 0x0112


def check_data(cfg: CfgNode, needs_training_data: bool) -> None:
    """Read the annotations and the headers of the images of ``DATASETS.TRAIN`` (where needed) and ``DATASETS.TEST``.

    Raises:
        InputError: a file that is missing, empty or damaged, an unknown class or category, boxes that cannot be right
            (``odd_boxes.py``), an image that is missing or of another size than its annotation says, nothing to train
            on, an object without polygons for a mask head, a test annotation without what the evaluation reads; a value
            that cannot be (``evaluation_keys.py``, ``number_limits.py``).
    """
    check_evaluation_keys(cfg)
    check_numbers(cfg, trains=needs_training_data)
    training = []
    for name in dict.fromkeys((*(cfg.DATASETS.TRAIN if needs_training_data else ()), *cfg.DATASETS.TEST)):
        records, odd_boxes = load_with_odd_boxes(name)
        refuse_odd_boxes(name, odd_boxes, cfg.DATASETS.BAD_BOXES)
        check_images(name, records)
        if needs_training_data and name in cfg.DATASETS.TRAIN:
            training += records
    for source in map(find_source, cfg.DATASETS.TEST):
        if source.kind == "coco":
            check_coco_ground_truth(annotation_file(source), coco_annotations(source), cfg.MODEL.MASK_ON)
    if not needs_training_data:
        return
    if not any(map(has_usable_objects, training)):
        raise InputError(
            f"no image of {', '.join(cfg.DATASETS.TRAIN)} has an object to train on: annotate some, or choose another "
            "split."
        )
    if cfg.MODEL.MASK_ON:
        for record in training:
            for annotation in record["annotations"]:
                if not annotation.get("iscrowd", 0):
                    require_polygons(record, annotation)


def check_images(name: str, records: Sequence[dict[str, Any]]) -> None:
    """Every image file is there and has the annotated size. Only headers are read.

    Raises:
        InputError: naming the first file that is not, and how many there are.
    """
    paths = [Path(record["file_name"]) for record in records]
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(
            f"{name}: {len(missing)} of {len(paths)} images are missing, the first is {missing[0]}. Complete the "
            "images, or take them out of the split."
        )
    with ThreadPoolExecutor() as pool:  # most of the time is the disk's
        sizes = pool.map(image_size, paths)
        bar = tqdm(sizes, desc=f"check {name}", total=len(paths), unit=" images", disable=None)
        for record, size in zip(records, bar, strict=True):
            require_size(record, size)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) as shown, that is after the turn which the file's EXIF orientation asks for.

    Raises:
        InputError: the file is no image.
    """
    try:
        with Image.open(path) as image:
            is_turned = image.getexif().get(EXIF_ORIENTATION, 1) >= 5
            return image.size[::-1] if is_turned else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"image {path} cannot be read: {reason}. Replace or remove it.") from error
