"""A backbone that stays as it is: loaded whole, in eval mode, and checked afterwards to be what it was.

N images, D = 2048 (ResNet-50 and up) or 512 (ResNet-18 and -34) feature dimensions
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import nn
from torch.utils.data import DataLoader

from clsa.convert.backbone_file import Backbone, build_trunk


def build_frozen(backbone: Backbone, device: str | torch.device) -> nn.Module:
    """The ResNet up to its global average pool, (N, 3, H, W) -> (N, D), in eval mode, without gradients."""
    network = build_trunk(**asdict(backbone.architecture))
    missing, _ = network.load_state_dict(backbone.state, strict=False)
    if not all(name.endswith("num_batches_tracked") for name in missing):  # those are counters, not weights
        raise RuntimeError(f"{backbone.path} left tensors of the network unfilled: {missing}")
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def reestimate_batch_norm(network: nn.Module, images: DataLoader, device: str) -> None:
    """Replace BatchNorm's running statistics by those of ``images``, one pass; the weights stay.

    The estimator is fvcore's precise BN (population variance over all batches; Wu & Johnson, "Rethinking 'Batch' in
    BatchNorm", 2021): each batch is normalised by its own statistics, as in training.
    """
    from fvcore.nn.precise_bn import update_bn_stats  # its package scripts a module on import, with a warning

    batches = (batch.to(device, memory_format=torch.channels_last) for batch in images)
    network.train()
    try:
        update_bn_stats(network, batches, num_iters=len(images), progress="tqdm")
    finally:
        network.eval()


@contextlib.contextmanager
def asserted_frozen(network: nn.Module) -> Iterator[None]:
    """Within the block the network computes in eval mode; at its end every weight and every buffer is as before.

    BatchNorm left in train mode moves its statistics with every batch, without an error and without a gradient: a
    probe of "frozen" features then measures another network for each image.
    """
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    yield
    if any(module.training for module in network.modules()):
        raise RuntimeError("the backbone was not in eval mode while features were computed")
    moved = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    if moved:
        raise RuntimeError(f"the frozen backbone moved while features were computed: {', '.join(moved[:5])}")
