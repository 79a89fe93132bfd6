"""What the public code of "Contrastive Learning with Stronger Augmentations" does where its paper says "linear layer".

    N images, D features, K classes

``VOC_CLF`` of maple-research-lab/CLSA, which printed the 93.6 of the paper's table, departs from the paper in all that
can be measured: it trains on train alone and tests the epoch that is best on val; **the backbone is not frozen**, since
``model.train()`` lets every BatchNorm normalise by its batch and move its running statistics, which validation and test
then use; batches of 16; the learning rate goes up and down in a cosine of period 24 epochs, T_max 12 stepped over 100,
before each epoch; the loss is summed over images and classes; training images are stretched to 300 x 300, changed in
brightness or grey, mirrored with probability 0.25, rotated by up to 25 degrees, and the logits of a test image are the
mean over five crops of 300 of the image resized to 330; mean and std of the pixels are its own; a class all of whose
objects are difficult is absent, in the test too; and its metric is the per-image AP.

All of it is computed here as there, and is a key of the ``PUBLIC_CODE`` node. What differs: random numbers are drawn
from the seed, the epoch and the image, so that a run can be repeated with any number of workers; an image without a
class is left out of the mean of the per-image AP, and counted.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader
from torchvision import transforms
from tqdm import tqdm

from clsa.configs.command import InputError

from .average_precision import average_precisions
from .labels import LabelledSplit
from .seeded_views import EpochBatches, SeededViews, in_order, seeded

#: Of RGB in [0, 1]; the code's own, in place of ImageNet's.
PIXEL_MEAN = (0.457342265910642, 0.4387686270106377, 0.4073427106250871)
PIXEL_STD = (0.26753769276329037, 0.2638145880487105, 0.2776826934044154)

_INITIAL_LAYER = 3  # the stream of random numbers of its weights


@dataclass(frozen=True)
class PublicCodeFit:
    """``scores`` (N_test, K) float64, logits of the best epoch; by epoch the learning rate, the mean loss of an image
    in training and the per-image AP on val (fraction); how far the backbone moved."""

    scores: np.ndarray
    best_epoch: int
    learning_rates: list[float]
    losses: list[float]
    validation: list[float]
    drift: dict[str, float | int]


def train_and_score(
    network: nn.Module,
    train: LabelledSplit,
    val: LabelledSplit,
    test: LabelledSplit,
    cfg: CfgNode,
    seed: int,
    device: str = "cpu",
    workers: int = 0,
) -> PublicCodeFit:
    """Train the layer, and let the backbone drift.

    Args:
        network: (N, 3, H, W) -> (N, D), without gradients, on ``device``. Its BatchNorm statistics are changed.
        cfg: the ``PUBLIC_CODE`` node.
    """
    check_settings(cfg)
    views = SeededViews(train.paths, train_transform(cfg), seed)
    targets = torch.as_tensor(train.labels == 1, dtype=torch.float32, device=device)
    before = copy.deepcopy(network.state_dict())
    layer = _initial_layer(network, cfg, targets.shape[1], seed, device)
    optimizer = torch.optim.SGD(layer.parameters(), cfg.LR, momentum=cfg.MOMENTUM)

    rates, losses, validation = [], [], []
    best: tuple[float, int, dict, dict] = (0.0, 0, {}, {})
    for epoch in range(1, cfg.EPOCHS + 1):
        optimizer.param_groups[0]["lr"] = learning_rate(cfg, epoch)
        network.train(cfg.BATCH_NORM_IN_TRAIN_MODE)
        total = 0.0
        batches = EpochBatches(len(train.paths), cfg.BATCH_SIZE, seed, epoch, drop_last=False)
        loader = DataLoader(views, batch_sampler=batches, num_workers=workers)
        for images, index in tqdm(loader, desc=f"public code, epoch {epoch}/{cfg.EPOCHS}", unit="batch", leave=False):
            with torch.no_grad():
                features = network(images.to(device, memory_format=torch.channels_last))
            loss = binary_cross_entropy_with_logits(layer(features), targets[index.to(device)], reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(total / len(train.paths))
        if not math.isfinite(losses[-1]):
            raise InputError(f"the loss is {losses[-1]} in epoch {epoch}. Lower PUBLIC_CODE.LR ({cfg.LR}).")

        scores = _logits(network, layer, val, Crops(cfg, 1), cfg, device, workers)
        validation.append(average_precisions(scores, val.labels, "absent").means()["per-image AP"])
        if validation[-1] >= best[0]:  # the later of equal ones
            best = (validation[-1], epoch, copy.deepcopy(network.state_dict()), copy.deepcopy(layer.state_dict()))

    network.load_state_dict(best[2])
    layer.load_state_dict(best[3])
    scores = _logits(network, layer, test, Crops(cfg, 5), cfg, device, workers)
    return PublicCodeFit(scores, best[1], rates, losses, validation, drift(before, best[2]))


def learning_rate(cfg: CfgNode, epoch: int) -> float:
    """Of epoch 1, 2, ...: the scheduler is stepped before each, and turns round at T_max, where the rate is 0."""
    return cfg.LR * (1 + math.cos(math.pi * epoch / cfg.T_MAX)) / 2


def train_transform(cfg: CfgNode) -> transforms.Compose:
    """PIL image -> (3, SIZE, SIZE)."""
    return transforms.Compose(
        [
            transforms.Resize((cfg.SIZE, cfg.SIZE)),
            transforms.RandomChoice(
                [transforms.ColorJitter(brightness=(0.8, 1.2)), transforms.RandomGrayscale(p=0.25)]
            ),
            transforms.RandomHorizontalFlip(p=0.25),
            transforms.RandomRotation(25),
            transforms.ToTensor(),
            transforms.Normalize(PIXEL_MEAN, PIXEL_STD),
        ]
    )


class Crops:
    """PIL image -> (crops, 3, SIZE, SIZE): the shorter side to RESIZE, then the centre, or the corners and the centre.

    A class, so that worker processes can be sent it.
    """

    def __init__(self, cfg: CfgNode, count: int) -> None:
        self.resize = transforms.Resize(cfg.RESIZE)
        self.crop = {1: transforms.CenterCrop, 5: transforms.FiveCrop}[count](cfg.SIZE)
        self.finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(PIXEL_MEAN, PIXEL_STD)])

    def __call__(self, image: Image.Image) -> torch.Tensor:
        cropped = self.crop(self.resize(image))
        crops = cropped if isinstance(cropped, tuple) else (cropped,)
        return torch.stack([self.finish(crop) for crop in crops])


def drift(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> dict[str, float | int]:
    """How far BatchNorm's statistics moved: channels' mean |change of running mean| in former standard deviations, and
    mean |log of the ratio of running variances|; and how many of the backbone's tensors are not what they were."""
    means, variances = [], []
    for name, tensor in before.items():
        if name.endswith("running_mean"):
            variance = before[name.replace("running_mean", "running_var")]
            means.append((after[name] - tensor).abs() / (variance + 1e-5).sqrt())
        elif name.endswith("running_var"):
            variances.append(((after[name] + 1e-5) / (tensor + 1e-5)).log().abs())
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    return {
        "tensors_changed": sum(not name.endswith("num_batches_tracked") for name in moved),
        "running_mean_shift": float(torch.cat(means).mean()),
        "running_var_log_ratio": float(torch.cat(variances).mean()),
    }


def check_settings(cfg: CfgNode) -> None:
    """Refuse impossible values of the ``PUBLIC_CODE`` node."""
    if min(cfg.EPOCHS, cfg.BATCH_SIZE, cfg.T_MAX) < 1 or cfg.LR <= 0:
        raise InputError(
            f"PUBLIC_CODE.EPOCHS {cfg.EPOCHS}, BATCH_SIZE {cfg.BATCH_SIZE}, T_MAX {cfg.T_MAX} and LR {cfg.LR} must all "
            "be above zero"
        )
    if cfg.SIZE < 32 or cfg.RESIZE < cfg.SIZE:
        raise InputError(
            f"PUBLIC_CODE.SIZE {cfg.SIZE} and RESIZE {cfg.RESIZE}: SIZE must be at least 32, and RESIZE at least SIZE"
        )


def _initial_layer(network: nn.Module, cfg: CfgNode, classes: int, seed: int, device: str) -> nn.Linear:
    with torch.no_grad():
        dimensions = network.eval()(torch.zeros(1, 3, cfg.SIZE, cfg.SIZE, device=device)).shape[1]
    layer = nn.Linear(dimensions, classes)
    with seeded(_INITIAL_LAYER, seed):
        nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer.to(device)


@torch.no_grad()
def _logits(
    network: nn.Module, layer: nn.Linear, split: LabelledSplit, crops: Crops, cfg: CfgNode, device: str, workers: int
) -> np.ndarray:
    """(N, K) float64, means over the crops; in eval mode, with whatever statistics there are by now."""
    network.eval()
    keys = in_order(len(split.paths), cfg.BATCH_SIZE)
    loader = DataLoader(SeededViews(split.paths, crops, seed=0), batch_sampler=keys, num_workers=workers)
    logits = []
    for views, _ in tqdm(loader, desc=f"public code, {split.name}", unit="batch", leave=False):
        images = views.flatten(0, 1).to(device, memory_format=torch.channels_last)  # N x crops, an image's in turn
        logits.append(layer(network(images)).unflatten(0, views.shape[:2]).mean(1).double().cpu())
    return torch.cat(logits).numpy()
