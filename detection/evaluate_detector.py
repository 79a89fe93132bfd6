"""Run a trained detector over ``DATASETS.TEST`` and evaluate what it finds, over all processes."""

import logging
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from tqdm import tqdm

from clsa.configs.processes import Process
from clsa.configs.run_files import write_json
from clsa.datasets.categories import COCO_CATEGORIES

from .dataset_dicts import DatasetSource, find_source, load_dataset_dicts
from .detection_result import evaluated_dataset
from .evaluate_dataset import evaluate_coco_split, evaluate_voc_split
from .loader import evaluation_batches
from .predictions import ImagePrediction, to_coco_results, to_prediction


def evaluate_detector(process: Process, cfg: CfgNode, model: torch.nn.Module) -> dict[str, Any] | None:
    """Evaluate ``model`` on the data set that ``DATASETS.TEST`` names.

    Every process takes a share of the images; the main process evaluates all and writes the detections into
    ``OUTPUT_DIR/inference``: ``coco_instances_results.json``, or for VOC ``detections.json``.

    Returns:
        ``{"flavour", "values", "per_class", "details"}`` as
        :func:`~clsa.detection.detection_result.write_detection_result` takes it, on the main process;
        None on the others.
    """
    source = find_source(evaluated_dataset(cfg))
    predictions = predict(process, cfg, model, load_dataset_dicts(source.name))
    if predictions is None:
        return None
    evaluation = _evaluate(cfg, source, predictions)
    values = "  ".join(f"{name} {value:.2f}" for name, value in evaluation["values"].items() if value is not None)
    logging.getLogger("clsa").info("%s (%s): %s", source.name, evaluation["flavour"], values)
    return evaluation


def predict(
    process: Process, cfg: CfgNode, model: torch.nn.Module, records: list[dict[str, Any]]
) -> list[ImagePrediction] | None:
    """The model's detections in every image, in the order of ``records``, on the main process."""
    process.broadcast_buffers(model)
    was_training = model.training
    model.eval()
    mine = {}
    batches = evaluation_batches(cfg, records, process.rank, process.world_size)
    with torch.inference_mode():
        for batch in tqdm(batches, desc="evaluate", unit="batch", disable=not process.is_main, mininterval=1.0):
            for image, output in zip(batch, model(batch), strict=True):
                mine[image["image_id"]] = to_prediction(image["image_id"], output)
    model.train(was_training)
    shares = process.gather(mine)
    if shares is None:
        return None
    found = {image_id: prediction for share in shares for image_id, prediction in share.items()}
    return [found[record["image_id"]] for record in records]


def _evaluate(cfg: CfgNode, source: DatasetSource, predictions: list[ImagePrediction]) -> dict[str, Any]:
    if source.kind == "voc":
        return evaluate_voc_split(cfg, source, predictions)
    results = to_coco_results(predictions, [category["id"] for category in COCO_CATEGORIES])
    write_json(Path(cfg.OUTPUT_DIR) / "inference" / "coco_instances_results.json", results)
    return evaluate_coco_split(cfg, source, results)
