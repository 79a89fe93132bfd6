"""Runs a trained detector on a few images of a test set, without evaluating it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.datasets.categories import COCO_CATEGORIES

from .config import get_cfg
from .dataset_dicts import DatasetSource, load_dataset_dicts
from .foreign_keys import load_detector_config
from .predictions import ImagePrediction, to_coco_results, to_prediction


@dataclass(frozen=True)
class Detector:
    """The detector in ``cfg.MODEL.WEIGHTS``, of either engine, to run in ``process``."""

    engine: str
    cfg: CfgNode
    process: Process

    def results(self, source: DatasetSource, image_ids: Sequence[str]) -> list[dict[str, Any]]:
        """What it finds in these images of ``source``, in COCO's result format as the evaluation writes it.

        Raises:
            InputError: ``MODEL.WEIGHTS`` is no detector of this engine and config.
        """
        records = {str(record["image_id"]): record for record in load_dataset_dicts(source.name)}
        detect = _by_detectron2 if self.engine == "detectron2" else _by_torchvision
        found = detect(self.cfg, self.process, [records[image_id] for image_id in image_ids])
        voc = source.kind == "voc"
        return to_coco_results(found, range(20) if voc else [category["id"] for category in COCO_CATEGORIES])


def detector_config(args: argparse.Namespace) -> CfgNode:
    """The config of ``--engine``, ``--config-file`` and the overrides, which must name a detector.

    Raises:
        InputError: no engine, no weights, or detectron2 is not there.
    """
    if args.engine is None:
        raise InputError("--visualize with --config-file runs the detector: give --engine torchvision or detectron2.")
    if args.engine == "detectron2":
        from .detectron2_engine import require_detectron2, resolve_config

        require_detectron2()
        cfg = resolve_config(args)
    else:
        cfg = load_detector_config(get_cfg(), args.config_file, args.opts)
    if cfg.MODEL.WEIGHTS in ("", "See Instructions"):
        raise InputError(
            "--visualize with --config-file runs the detector: give MODEL.WEIGHTS OUTPUT_DIR/model_final.pth of a "
            "finished run. Without --config-file it draws what an evaluation has saved."
        )
    return cfg


def _by_torchvision(cfg: CfgNode, process: Process, records: list[dict[str, Any]]) -> list[ImagePrediction]:
    from .detector_checkpoint import read_checkpoint
    from .evaluate_detector import predict
    from .rcnn import build_model
    from .torchvision_engine import load_detector

    model = build_model(cfg)
    load_detector(model, read_checkpoint(cfg.MODEL.WEIGHTS))
    return predict(process, cfg, model.to(process.device), records)


def _by_detectron2(cfg: CfgNode, _: Process, records: list[dict[str, Any]]) -> list[ImagePrediction]:
    from detectron2.data import DatasetMapper, build_detection_test_loader

    from .detectron2_trainer import Trainer, load_detector

    model = Trainer.build_model(cfg).eval()
    load_detector(model, cfg.MODEL.WEIGHTS)
    found = []
    with torch.inference_mode():
        for batch in build_detection_test_loader(records, mapper=DatasetMapper(cfg, is_train=False)):
            for image, output in zip(batch, model(batch), strict=True):
                instances = output["instances"]
                tensors = {
                    "boxes": instances.pred_boxes.tensor,
                    "scores": instances.scores,
                    "classes": instances.pred_classes,
                }
                if instances.has("pred_masks"):
                    tensors["masks"] = instances.pred_masks
                found.append(to_prediction(image["image_id"], tensors))
    return found
