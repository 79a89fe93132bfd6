"""``--visualize RUN``: what a detector found, beside what there was to find.

The detections are those that the evaluation left in ``RUN/inference``, of either engine, so the pictures show what was
evaluated. With ``--config-file`` the detector in ``MODEL.WEIGHTS`` runs on the chosen images instead.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import yaml
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.configs.launch import launch
from clsa.configs.loading import find_config
from clsa.configs.processes import Process

from .dataset_dicts import DatasetSource, annotation_file, data_root, find_source
from .detect_images import Detector, detector_config
from .detection_result import evaluated_dataset
from .draw_detections import Drawn, draw_pair, match
from .evaluate_coco import read_ground_truth
from .evaluate_voc import read_split

#: COCO's own limit between small and medium, in square pixels.
SMALL_AREA = 32**2
IMAGES = 8


def run_visualize(args: argparse.Namespace) -> None:
    """``--visualize`` as the command line asks for it; prints the pictures' paths."""
    ids = args.images.split(",") if args.images else None
    words = (Path(args.visualize), ids, args.count, args.min_score)
    if args.config_file is None:
        print(*visualize(*words), sep="\n")
        return
    args.config_file = str(find_config(args.config_file))
    cfg = detector_config(args)

    def draw(process: Process) -> None:
        print(*visualize(*words, detector=Detector(args.engine, cfg, process)), sep="\n")

    launch(draw, min(args.num_gpus, 1), on_cpu=cfg.MODEL.DEVICE == "cpu")


def visualize(
    run: Path,
    images: Sequence[str] | None,
    count: int | None,
    min_score: float | None,
    detector: Detector | None = None,
) -> list[Path]:
    """Draw images of a test set into ``run/visualized/<image>.png``; the paths.

    Args:
        run: OUTPUT_DIR of a run that has been evaluated; with ``detector`` any folder.
        images: ids of the images; None: the ``count`` (8) images with the most small objects.
        min_score: draw the detections from this score on; None: an image's most confident ones, as many as it has
            objects, so that weak and strong detectors give pictures that can be compared.
        detector: runs on the images, of the test set that its config names; None: what the evaluation saved.

    Raises:
        InputError: ``run`` has no config or no detections (with the command that makes them), or an id is not in the
            test set.
    """
    source = find_source(evaluated_dataset(detector.cfg)) if detector else _source_of(run)
    truth = read_truth(source)
    if count is not None and (images or count < 1):
        raise InputError(f"--count is {count}: give a positive number, and not with --images, which names them.")
    chosen = _chosen(truth, images, source) if images else most_small(truth, count or IMAGES)
    detections = _drawn(detector.results(source, chosen), source) if detector else read_detections(run, source)
    written = []
    for image_id in tqdm(chosen, desc="draw", unit="image"):
        file, objects = truth[image_id]
        found = sorted(detections.get(image_id, []), key=lambda drawn: -drawn.score)
        keep = len(objects) if min_score is None else sum(drawn.score >= min_score for drawn in found)
        path = run / "visualized" / f"{image_id}.png"
        draw_pair(path, file, objects, found[:keep], match(objects, found[:keep]), f"{source.name} {image_id}")
        written.append(path)
    return written


def read_truth(source: DatasetSource) -> dict[str, tuple[Path, list[Drawn]]]:
    """Image file and objects of each image. Crowds and difficult objects are ``ignored``: they count neither way."""
    if source.kind == "voc":
        return {
            annotation.image_id: (
                data_root() / source.folder / "JPEGImages" / f"{annotation.image_id}.jpg",
                [
                    Drawn(
                        np.array([x1 - 1, y1 - 1, x2, y2], dtype=np.float64),  # VOC counts from 1, ends included
                        voc_object.name,
                        is_small=(x2 - x1 + 1) * (y2 - y1 + 1) < SMALL_AREA,
                        ignored=voc_object.difficult,
                    )
                    for voc_object in annotation.objects
                    for x1, y1, x2, y2 in [voc_object.box]
                ],
            )
            for annotation in read_split(source)
        }
    coco = read_ground_truth(annotation_file(source))
    names = {category["id"]: category["name"] for category in coco.dataset["categories"]}
    return {
        str(image_id): (
            data_root() / source.folder / source.split / image["file_name"],
            [
                Drawn(
                    _corners(annotation["bbox"]),
                    names[annotation["category_id"]],
                    is_small=annotation["area"] < SMALL_AREA,
                    ignored=bool(annotation.get("iscrowd")),
                    rle=coco.annToRLE(annotation) if annotation.get("segmentation") else None,
                )
                for annotation in coco.imgToAnns[image_id]
            ],
        )
        for image_id, image in sorted(coco.imgs.items())
    }


def read_detections(run: Path, source: DatasetSource) -> dict[str, list[Drawn]]:
    """The detections of each image that has any.

    Raises:
        InputError: the evaluation's file is missing or is not what the evaluation writes.
    """
    path = run / "inference" / ("detections.json" if source.kind == "voc" else "coco_instances_results.json")
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: the detector in {run} has not been evaluated. Do it with clsa-detect --engine E "
            f"--config-file {run}/config.yaml --eval-only --resume OUTPUT_DIR {run}, or run it on these images alone: "
            f"clsa-detect --engine E --config-file {run}/config.yaml --visualize {run} "
            f"MODEL.WEIGHTS {run}/model_final.pth"
        )
    try:
        return _drawn(json.loads(path.read_text(encoding="utf-8")), source)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no detections of {source.name} ({error!r}). Evaluate the run again.") from error


def _drawn(results: Sequence[dict[str, Any]], source: DatasetSource) -> dict[str, list[Drawn]]:
    """Detections in COCO's result format, by image."""
    names = _names_of_categories(source)
    found: dict[str, list[Drawn]] = defaultdict(list)
    for result in results:
        segmentation = result.get("segmentation")
        area = float(mask_util.area(segmentation)) if segmentation else result["bbox"][2] * result["bbox"][3]
        found[str(result["image_id"])].append(
            Drawn(
                _corners(result["bbox"]),
                names[result["category_id"]],
                is_small=area < SMALL_AREA,
                score=float(result["score"]),
                rle=segmentation,
            )
        )
    return found


def most_small(truth: dict[str, tuple[Path, list[Drawn]]], count: int) -> list[str]:
    """The images with the most small objects, of equals the first in the data set's order."""
    small = {image_id: sum(thing.is_small for thing in objects) for image_id, (_, objects) in truth.items()}
    return sorted(small, key=lambda image_id: -small[image_id])[:count]


def _chosen(truth: dict[str, Any], images: Sequence[str], source: DatasetSource) -> list[str]:
    for image_id in images:
        if image_id not in truth:
            some = ", ".join(list(truth)[:3])
            raise InputError(f"--images: {image_id!r} is no image of {source.name}; its ids are such as {some}.")
    return list(images)


def _source_of(run: Path) -> DatasetSource:
    """The test set of the last evaluation, or where none has ended that of the training's config."""
    path = run / "result.json"
    path = path if path.is_file() else run / "config.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
        (name,) = content.get("config", content)["DATASETS"]["TEST"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise InputError(
            f"--visualize {run}: {path} names no test set ({error}). Give the OUTPUT_DIR of a finished run."
        ) from error
    return find_source(name)


def _names_of_categories(source: DatasetSource) -> dict[int, str]:
    if source.kind == "voc":
        return dict(enumerate(source.class_names))
    content = json.loads(annotation_file(source).read_bytes())
    return {category["id"]: category["name"] for category in content["categories"]}


def _corners(box: Sequence[float]) -> np.ndarray:
    x, y, width, height = box
    return np.array([x, y, x + width, y + height], dtype=np.float64)
