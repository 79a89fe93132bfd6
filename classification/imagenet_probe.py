"""``clsa-classify imagenet`` and ``knn``: a folder of images a class, a frozen backbone, a result."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode

from clsa.configs.processes import Process
from clsa.configs.run_files import atomic_write, plain, start_log, write_config, write_result
from clsa.convert.backbone_file import read_backbone
from clsa.datasets.fingerprint import dataset_record

from . import imagenet_linear, knn
from .backbone import asserted_frozen, build_frozen
from .config import get_cfg
from .features import choose_device, describe_weights, load_features
from .image_folder import ClassifiedImages, read_image_folder
from .imagenet_batches import AugmentedViews, CachedRows, choose_precision

FLAVOUR = "top-1 accuracy"


def run_linear(process: Process, cfg: CfgNode, weights: str, data: str, output: str, resume: bool = False) -> None:
    """The linear classifier on augmented views, in every one of the processes; the first writes the files."""
    started = time.perf_counter()
    train, val = read_image_folder(data, cfg.IMAGENET.TRAIN_SPLIT, cfg.IMAGENET.VAL_SPLIT)
    imagenet_linear.check_settings(cfg.IMAGENET, len(train.paths), process.world_size)
    backbone = read_backbone(weights, target="torchvision")
    record, dataset = describe_weights(backbone), describe_data(data, train, val)
    log = start_log(output, process.is_main)
    if process.is_main:
        write_config(output, cfg)
    log.info(
        f"ImageNet linear, {len(train.paths)} -> {len(val.paths)} images, {len(train.classes)} classes, "
        f"{process.world_size} process(es) on {process.device.type}"
    )
    network = build_frozen(backbone, process.device)
    batches = AugmentedViews(network, train, val, cfg.IMAGENET, cfg.SEED, process, cfg.FEATURES.WORKERS)
    with asserted_frozen(network):
        history = imagenet_linear.train_layer(
            batches,
            feature_dimensions(network, cfg.IMAGENET.SIZE, process.device),
            len(train.classes),
            cfg.IMAGENET,
            cfg.SEED,
            process,
            output,
            identity(cfg, record, dataset, protocol(cfg, "imagenet-linear")),
            resume,
        )
    if process.is_main:
        precision = choose_precision(cfg.IMAGENET.AMP, process.device)
        details = {
            "views": "random resized crop and mirror image in training, resized centre crop in val",
            "precision": str(precision or torch.float32).removeprefix("torch."),
            "processes": process.world_size,
        }
        write_linear(output, cfg, "imagenet-linear", history, record, dataset, details, started)


def run_linear_cached(
    cfg: CfgNode, weights: str, data: str, output: str, cache: str | os.PathLike, resume: bool = False
) -> None:
    """The quick estimate: the same layer and schedule on one centre crop's features of each image."""
    started = time.perf_counter()
    train, val = read_image_folder(data, cfg.IMAGENET.TRAIN_SPLIT, cfg.IMAGENET.VAL_SPLIT)
    imagenet_linear.check_settings(cfg.IMAGENET, len(train.paths), 1)
    log = start_log(output)
    write_config(output, cfg)
    log.info(f"ImageNet linear on cached features of one crop, an estimate: {len(train.paths)} images")
    features, (in_train, in_val) = centre_crop_features(cfg, weights, train, val, cache)
    dataset, device = describe_data(data, train, val), choose_device(cfg.FEATURES.DEVICE)
    batches = CachedRows(in_train, train.targets, in_val, val.targets, cfg.IMAGENET.BATCH_SIZE, cfg.SEED, device)
    name = "imagenet-linear-cached-features"
    history = imagenet_linear.train_layer(
        batches,
        in_train.shape[1],
        len(train.classes),
        cfg.IMAGENET,
        cfg.SEED,
        Process(0, 1, torch.device(device)),
        output,
        identity(cfg, features.weights, dataset, protocol(cfg, name)),
        resume,
    )
    details = {**features.details, "estimate": "one centre crop of each image, no augmentation"}
    write_linear(output, cfg, name, history, features.weights, dataset, details, started)


def run_knn(cfg: CfgNode, weights: str, data: str, output: str, cache: str | os.PathLike | None) -> None:
    """The nearest-neighbour classifier on one centre crop's features."""
    started = time.perf_counter()
    train, val = read_image_folder(data, cfg.IMAGENET.TRAIN_SPLIT, cfg.IMAGENET.VAL_SPLIT)
    knn.check_settings(cfg.KNN.NEIGHBOURS, cfg.KNN.TEMPERATURE, len(train.paths))
    log = start_log(output)
    write_config(output, cfg)
    log.info(f"nearest neighbours, k = {', '.join(map(str, cfg.KNN.NEIGHBOURS))}, {len(train.paths)} training images")
    features, (in_train, in_val) = centre_crop_features(cfg, weights, train, val, cache)
    votes = knn.vote(
        in_train,
        train.targets,
        in_val,
        len(train.classes),
        cfg.KNN.NEIGHBOURS,
        cfg.KNN.TEMPERATURE,
        choose_device(cfg.FEATURES.DEVICE),
    )
    targets = torch.as_tensor(val.targets)
    values = {}
    for k, counted in votes.items():
        ranked = counted.topk(min(5, len(train.classes)), dim=1).indices == targets[:, None]
        values[f"{k}-NN top-1"] = 100 * ranked[:, 0].double().mean().item()
        values[f"{k}-NN top-5"] = 100 * ranked.any(1).double().mean().item() if len(train.classes) >= 5 else None
    write_result(
        output,
        stage="classification",
        protocol=protocol(cfg, "imagenet-knn"),
        metric_flavour=FLAVOUR,
        values=values,
        per_class={},
        engine="torch",
        weights=features.weights,
        dataset=describe_data(data, train, val),
        seed=cfg.SEED,
        trial=cfg.TRIAL,
        wall_seconds=time.perf_counter() - started,
        config=cfg,
        details={
            **features.details,
            "similarity": "cosine",
            "vote": f"exp(similarity / {cfg.KNN.TEMPERATURE:g})",
            "classes": len(train.classes),
        },
    )
    log.info(", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None))


def centre_crop_features(
    cfg: CfgNode, weights: str, train: ClassifiedImages, val: ClassifiedImages, cache: str | os.PathLike | None
) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    """The features of IMAGENET's val crop for both splits, with their record."""
    node = cfg.FEATURES.clone()
    node.defrost()
    node.TRANSFORM, node.RESIZE, node.SIZE = "center_crop", cfg.IMAGENET.RESIZE, cfg.IMAGENET.SIZE
    node.LAYERS = ["avgpool"]
    features = load_features(node, weights, (train, val), cfg.SEED, cache)
    return features, features.matrices["avgpool"]


def feature_dimensions(network: torch.nn.Module, size: int, device: torch.device) -> int:
    with torch.no_grad():
        return network(torch.zeros(1, 3, size, size, device=device)).shape[1]


def identity(cfg: CfgNode, record: Mapping[str, Any], dataset: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a run must share with a checkpoint to go on from it. The number of processes is free."""
    return {
        "protocol": name,
        "weights": record["sha256"],
        "images": dataset["fingerprint"]["file_list_sha256"],
        "settings": plain(cfg.IMAGENET),
        "seed": cfg.SEED,
    }


def describe_data(data: str | os.PathLike, train: ClassifiedImages, val: ClassifiedImages) -> dict[str, Any]:
    root = Path(data)
    files = [f"{split.name}/{image_id}" for split in (train, val) for image_id in split.image_ids]
    return dataset_record(f"{root.resolve().name} {train.name} -> {val.name}", files, root)


def protocol(cfg: CfgNode, name: str) -> str:
    """``name``, and what departs from it; nearest neighbours depend on the images' keys of IMAGENET alone."""
    ours, standard = cfg.IMAGENET, get_cfg()
    if name == "imagenet-knn":
        if cfg.KNN.TEMPERATURE != standard.KNN.TEMPERATURE:
            name += f"-t{cfg.KNN.TEMPERATURE:g}"
        same = (ours.SIZE, ours.RESIZE) == (standard.IMAGENET.SIZE, standard.IMAGENET.RESIZE)
        return name if same else f"{name}-{ours.SIZE}of{ours.RESIZE}"
    free = {"AMP", "EVAL_PERIOD"}  # how, and not what, is computed
    same = all(ours[key] == standard.IMAGENET[key] for key in ours if key not in free)
    return name if same else f"{name}-custom"


def write_linear(
    output: str | os.PathLike,
    cfg: CfgNode,
    name: str,
    history: list[dict[str, Any]],
    record: Mapping[str, Any],
    dataset: Mapping[str, Any],
    details: Mapping[str, Any],
    started: float,
) -> None:
    """metrics.json, a line an epoch, and result.json with the last epoch's accuracies."""
    with atomic_write(Path(output) / "metrics.json", "w") as file:
        file.writelines(f"{json.dumps(record)}\n" for record in history)
    last = history[-1]
    best = max((epoch for epoch in history if "top-1" in epoch), key=lambda epoch: epoch["top-1"])
    write_result(
        output,
        stage="classification",
        protocol=protocol(cfg, name),
        metric_flavour=FLAVOUR,
        values={"top-1": last["top-1"], "top-5": last["top-5"]},
        per_class={},
        engine="torch",
        weights=record,
        dataset=dataset,
        seed=cfg.SEED,
        trial=cfg.TRIAL,
        wall_seconds=time.perf_counter() - started,
        config=cfg,
        details={
            **details,
            "epoch": last["epoch"],
            "loss_first_epoch": history[0]["loss"],
            "loss_last_epoch": last["loss"],
            "best_epoch": {
                "epoch": best["epoch"],
                "top-1": best["top-1"],
                "chosen_on": "the images that it is measured on",
            },
            "backbone": "eval mode; every weight and statistic compared before and after",
        },
    )
