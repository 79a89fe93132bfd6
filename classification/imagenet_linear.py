"""A linear classifier of ImageNet's classes on frozen features, trained by SGD; may be interrupted and resumed.

    N images of a batch, D features, K classes

The protocol of MoCo's ``main_lincls.py`` in the setting of "Contrastive Learning with Stronger Augmentations", 2021:
100 epochs, learning rate 10, no weight decay, batch 256, the rate along a cosine to 0, set once an epoch; momentum 0.9
and an initial layer of N(0, 0.01) are MoCo's, which the paper does not state. (Its public code ends at 0.01, not 0, and
keeps the epoch that is best on val; here the last epoch counts, and the best one is named beside it.)
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.configs.run_files import atomic_write

from .imagenet_batches import AugmentedViews, CachedRows
from .seeded_views import seeded

CHECKPOINT_FORMAT = "clsa-imagenet-linear"

_INITIAL_LAYER = 3  # the stream of random numbers of its weights


def train_layer(
    batches: AugmentedViews | CachedRows,
    dimensions: int,
    classes: int,
    cfg: CfgNode,
    seed: int,
    process: Process,
    output: str | os.PathLike,
    identity: Mapping[str, Any],
    resume: bool = False,
) -> list[dict[str, float | int | None]]:
    """Train, and write ``OUTPUT/checkpoint.pth`` after every epoch.

    Args:
        cfg: the ``IMAGENET`` node.
        identity: what a checkpoint must agree with to be resumed: the weights, the data, the settings.
        resume: go on after the checkpoint's epoch, if there is one; to the same layer, bit for bit, as without a stop.

    Returns:
        For each epoch ``epoch``, ``lr``, ``loss`` (mean over the images), and where it was evaluated ``top-1`` and
        ``top-5`` in percent (None with fewer than five classes).

    Raises:
        InputError: impossible settings; a loss that is not finite; a checkpoint of another run.
    """
    layer = initial_layer(dimensions, classes, seed).to(process.device)
    optimizer = torch.optim.SGD(layer.parameters(), cfg.LR, momentum=cfg.MOMENTUM, weight_decay=cfg.WEIGHT_DECAY)
    path = Path(output) / "checkpoint.pth"
    history = _load(path, layer, optimizer, identity) if resume and path.exists() else []
    model = layer if process.world_size == 1 else DistributedDataParallel(layer)

    for epoch in range(len(history) + 1, cfg.EPOCHS + 1):
        lr = learning_rate(cfg, epoch)
        optimizer.param_groups[0]["lr"] = lr
        total = torch.zeros(2, dtype=torch.float64, device=process.device)  # sum of losses, images
        label = f"epoch {epoch}/{cfg.EPOCHS}"
        for features, targets in tqdm(
            batches.train(epoch), label, batches.steps, unit="batch", leave=False, disable=not process.is_main
        ):
            loss = cross_entropy(model(features), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += torch.stack([loss.detach().double() * len(targets), total.new_tensor(len(targets))])
        loss_sum, images = process.sum(total).tolist()
        record: dict[str, float | int | None] = {"epoch": epoch, "lr": lr, "loss": loss_sum / images}
        if not math.isfinite(loss_sum):
            raise InputError(f"the loss is {record['loss']} in epoch {epoch}. Lower IMAGENET.LR ({cfg.LR}).")
        if epoch % cfg.EVAL_PERIOD == 0 or epoch == cfg.EPOCHS:
            record |= evaluate(layer, batches, classes, process)
        history.append(record)
        if process.is_main:
            _save(path, layer, optimizer, identity, history)
    return history


@torch.no_grad()
def evaluate(
    layer: nn.Module, batches: AugmentedViews | CachedRows, classes: int, process: Process
) -> dict[str, float | None]:
    """``top-1`` and ``top-5`` accuracy of the val images, in percent."""
    counts = torch.zeros(3, dtype=torch.float64, device=process.device)  # first right, among five, images
    for features, targets in batches.val():
        ranked = layer(features).topk(min(5, classes), dim=1).indices == targets[:, None]
        counts += torch.stack([ranked[:, 0].sum(), ranked.any(1).sum(), ranked.new_tensor(len(targets), dtype=int)])
    first, five, images = process.sum(counts).tolist()
    return {"top-1": 100 * first / images, "top-5": 100 * five / images if classes >= 5 else None}


def learning_rate(cfg: CfgNode, epoch: int) -> float:
    """Of epoch 1, 2, ... EPOCHS: LR in the first, nearly 0 in the last."""
    return cfg.LR * (1 + math.cos(math.pi * (epoch - 1) / cfg.EPOCHS)) / 2


def initial_layer(dimensions: int, classes: int, seed: int) -> nn.Linear:
    """Weights from N(0, 0.01), bias 0."""
    layer = nn.Linear(dimensions, classes)
    with seeded(_INITIAL_LAYER, seed):
        nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


def check_settings(cfg: CfgNode, images: int, world_size: int) -> None:
    """Refuse impossible values of the ``IMAGENET`` node, for that many training images and processes."""
    if min(cfg.EPOCHS, cfg.BATCH_SIZE, cfg.EVAL_PERIOD) < 1 or cfg.LR <= 0:
        raise InputError(
            f"IMAGENET.EPOCHS {cfg.EPOCHS}, BATCH_SIZE {cfg.BATCH_SIZE}, EVAL_PERIOD {cfg.EVAL_PERIOD} and LR {cfg.LR} "
            "must all be above zero"
        )
    if cfg.SIZE < 32 or cfg.RESIZE < cfg.SIZE:
        raise InputError(
            f"IMAGENET.SIZE {cfg.SIZE} and RESIZE {cfg.RESIZE}: SIZE must be at least 32, and RESIZE at least SIZE"
        )
    if cfg.BATCH_SIZE % world_size:
        raise InputError(f"IMAGENET.BATCH_SIZE {cfg.BATCH_SIZE} must be a multiple of the {world_size} processes")
    if images < cfg.BATCH_SIZE:
        raise InputError(f"IMAGENET.BATCH_SIZE is {cfg.BATCH_SIZE}, and there are {images} training images. Lower it.")


def _save(
    path: Path, layer: nn.Module, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any], history: list
) -> None:
    with atomic_write(path) as file:
        torch.save(
            {
                "format": CHECKPOINT_FORMAT,
                "version": 1,
                "identity": dict(identity),
                "history": history,
                "layer": layer.state_dict(),
                "optimizer": optimizer.state_dict(),
            },
            file,
        )


def _load(path: Path, layer: nn.Module, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any]) -> list:
    """Fill ``layer`` and ``optimizer``, and return the history of the epochs that are done."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of PyTorch's readers
        raise InputError(f"{path} cannot be read: {error}. Remove it to begin again.") from error
    if not isinstance(saved, dict) or saved.get("format") != CHECKPOINT_FORMAT:
        raise InputError(f"{path} is no checkpoint of this command. Choose another --output.")
    there = saved["identity"]
    differs = [name for name, value in identity.items() if there.get(name) != value]
    if differs:
        found, wanted = (", ".join(f"{name} {which.get(name)!r}" for name in differs) for which in (there, identity))
        raise InputError(
            f"{path} is of another run: {found}; asked for is {wanted}. Leave --resume out to begin again, or choose "
            "another --output."
        )
    layer.load_state_dict(saved["layer"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["history"]
