"""The linear layer of "Contrastive Learning with Stronger Augmentations", 2021, section 4.2, on frozen features.

    N images, D feature dimensions, K classes

The paper says: a linear layer on the frozen backbone, 100 epochs on trainval, SGD with learning rate 0.05, momentum
0.9, no weight decay, batch 256, the learning rate constant. It does not say:

- the loss. Sigmoid cross entropy for each class, as in its public code; difficult images are absent ones. The code sums
  it over a batch of 16, the mean over images and classes is taken here: summed over 256 images it is too steep for this
  learning rate (on a random ResNet-18's features it grew from 306 in the first epoch to 480 in the last; the mean fell
  from 0.43 to 0.26). ``LINEAR.LOSS_REDUCTION sum`` is there to try.
- the augmentation. There is none here, so that the features are computed once and an epoch costs milliseconds.
- a normalisation of the features. None here.
- where the layer begins. PyTorch's default, drawn from the seed.
"""

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import trange

from clsa.configs.command import InputError


def train_and_score(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    cfg: CfgNode,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[np.ndarray, list[float]]:
    """Train the layer and score the test images.

    Args:
        train_features, test_features: (N, D), finite.
        train_labels: (N_train, K), 1 / -1 / 0.
        cfg: the ``LINEAR`` node.
        seed: of the initial layer and of the order of the images.

    Returns:
        Logits (N_test, K) float64, and the mean loss of every epoch (each batch's own, before its step).

    Raises:
        InputError: impossible settings; a loss that is not finite.
    """
    check_settings(cfg)
    generator = torch.Generator().manual_seed(seed)
    features = torch.tensor(train_features, dtype=torch.float32, device=device)  # N x D
    targets = torch.as_tensor(train_labels == 1, dtype=torch.float32, device=device)  # N x K
    images, classes = targets.shape

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(features.shape[1], classes).to(device)
    optimizer = torch.optim.SGD(layer.parameters(), cfg.LR, momentum=cfg.MOMENTUM, weight_decay=cfg.WEIGHT_DECAY)

    losses = []
    for epoch in trange(cfg.EPOCHS, desc="linear layer", unit="epoch", leave=False):
        total = 0.0
        for batch in torch.randperm(images, generator=generator).to(device).split(cfg.BATCH_SIZE):
            loss = binary_cross_entropy_with_logits(
                layer(features[batch]), targets[batch], reduction=cfg.LOSS_REDUCTION
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * (len(batch) if cfg.LOSS_REDUCTION == "mean" else 1 / classes)
        losses.append(total / images)
        if not np.isfinite(losses[-1]):
            raise InputError(
                f"the loss of the linear layer is {losses[-1]} in epoch {epoch + 1}. Lower LINEAR.LR ({cfg.LR}), or "
                "set LINEAR.L2_NORMALISE True."
            )

    with torch.no_grad():
        logits = layer(torch.tensor(test_features, dtype=torch.float32, device=device))  # N_test x K
    return logits.double().cpu().numpy(), losses


def check_settings(cfg: CfgNode) -> None:
    """Refuse impossible values of the ``LINEAR`` node."""
    if cfg.EPOCHS < 1 or cfg.BATCH_SIZE < 1 or cfg.LR <= 0:
        raise InputError(
            f"LINEAR.EPOCHS {cfg.EPOCHS}, BATCH_SIZE {cfg.BATCH_SIZE} and LR {cfg.LR} must all be above zero"
        )
    if cfg.LOSS_REDUCTION not in ("mean", "sum"):
        raise InputError(f"LINEAR.LOSS_REDUCTION {cfg.LOSS_REDUCTION!r} is unknown. Give mean or sum.")
