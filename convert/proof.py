"""What must hold before a backbone is written: sound values, and the source's features out of the file.

Shapes: images (N, 3, S, S); stem (N, 64 or wider, S/4, S/4); res2..res5 (N, C, S/4 .. S/32, S/4 .. S/32).
"""

import dataclasses
import functools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import ResNet

from clsa.configs.command import InputError

from .architecture import COUNTER, Architecture, build_trunk, first
from .targets import TARGETS, TargetName

STAGES = ("stem", "res2", "res3", "res4", "res5")
IMAGE_SIDE = 64  # the smallest round size at which every stage still has more than one cell
BN_EPSILON = 1e-5  # of torchvision's and detectron2's batch norms alike


def check_values(state: Mapping[str, torch.Tensor], origin: str, also: tuple[torch.dtype, ...] = ()) -> None:
    """Every tensor float32 (or of a type in ``also``) and finite, every batch-norm variance positive.

    Args:
        state: tensors in torchvision's names.
        origin: what to call them in an error.

    Raises:
        InputError: naming the first tensors that are not so.
    """
    if other := [
        f"{name} ({tensor.dtype})" for name, tensor in state.items() if tensor.dtype not in (torch.float32, *also)
    ]:
        raise InputError(f"{origin}: need float32 tensors, got {first(other)}")
    if broken := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise InputError(f"{origin}: NaN or infinity in {first(broken)}. Take an earlier checkpoint of that run.")
    if dead := [name for name, tensor in state.items() if name.endswith("running_var") and not (tensor > 0).all()]:
        raise InputError(f"{origin}: variances of batch norm must be positive, are not in {first(dead)}")


def untrained_norms(state: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """How many batch norms still hold the statistics they are created with (mean 0, variance 1), and of how many."""
    variances = [name for name in state if name.endswith("running_var")]
    initial = [
        name
        for name in variances
        if (state[name] == 1).all() and (state[name.replace("running_var", "running_mean")] == 0).all()
    ]
    return len(initial), len(variances)


def forward_parity(expected: Mapping[str, torch.Tensor], got: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Compare the features of the source's network with those of the file's, stage by stage.

    Args:
        expected: :func:`features` of the source.
        got: of the tensors that were read back from the file.

    Returns:
        stage -> max abs difference, 0.0 at every stage.

    Raises:
        InputError: a difference, or features that are not finite.
    """
    parity = {stage: (expected[stage] - got[stage]).abs().max().item() for stage in STAGES}
    if any(difference != 0.0 for difference in parity.values()):  # NaN differs too
        figures = ", ".join(f"{stage} {difference:.3g}" for stage, difference in parity.items())
        raise InputError(f"the features of the converted backbone differ from the source's: {figures}; need 0.0")
    return parity


@torch.inference_mode()
def features(
    tensors: Mapping[str, torch.Tensor], architecture: Architecture, target: TargetName = "torchvision"
) -> dict[str, torch.Tensor]:
    """What a backbone makes of a random image, always the same one: stage -> features.

    The network is put together from nothing but the names and tensors of ``target``: for ``"detectron2"`` by a forward
    pass of our own in detectron2's structure (STRIDE_IN_1X1 False), for the others, whose ResNets are torchvision's
    under other prefixes, by a network of torchvision's that gets all of its tensors from them.

    Raises:
        InputError: a tensor that takes no part.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, IMAGE_SIDE, IMAGE_SIDE, generator=generator)
    if target == "detectron2":
        return detectron2_stages(tensors, images)
    restored = {TARGETS[target].restore(name): tensor for name, tensor in tensors.items()}
    return torchvision_stages(restored, architecture, images)


def torchvision_stages(
    state: Mapping[str, torch.Tensor], architecture: Architecture, images: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Features of torchvision's network in eval mode, with all of ``state`` and nothing else for its tensors."""
    stages = _stages(architecture)
    counters = {name: torch.tensor(0) for name in stages.network.state_dict() if name.endswith(COUNTER)}
    tensors = {f"network.{name}": tensor for name, tensor in {**state, **counters}.items()}
    return torch.func.functional_call(stages, tensors, images, strict=True)


class _Stages(nn.Module):
    """torchvision's network that returns what it computes after each stage."""

    def __init__(self, network: ResNet):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        network = self.network
        x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        features = {"stem": x}
        layers = (network.layer1, network.layer2, network.layer3, network.layer4)
        for stage, layer in zip(STAGES[1:], layers, strict=True):
            x = features[stage] = layer(x)
        return features


@functools.lru_cache(maxsize=4)
def _stages(architecture: Architecture) -> _Stages:
    """Without memory for its tensors and without initialisation, which would use up the caller's random numbers."""
    with torch.device("meta"):
        return _Stages(build_trunk(**dataclasses.asdict(architecture))).eval()


def detectron2_stages(weights: Mapping[str, torch.Tensor], images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Features of the ResNet that ``weights`` spell out in detectron2's names, STRIDE_IN_1X1 False, in eval mode.

    Raises:
        InputError: a tensor of ``weights`` that takes no part.
    """
    used: set[str] = set()

    def tensor(name: str) -> torch.Tensor:
        used.add(name)
        return weights[name]

    def conv_norm(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        kernel = tensor(f"{name}.weight")
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, variance = tensor(f"{name}.norm.running_mean"), tensor(f"{name}.norm.running_var")
        scale, shift = tensor(f"{name}.norm.weight"), tensor(f"{name}.norm.bias")
        return F.batch_norm(x, mean, variance, scale, shift, eps=BN_EPSILON)

    def block(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        shortcut = conv_norm(x, f"{name}.shortcut", stride) if f"{name}.shortcut.weight" in weights else x
        if f"{name}.conv3.weight" in weights:  # bottleneck: the 3x3 convolution strides
            x = F.relu(conv_norm(x, f"{name}.conv1"))
            x = F.relu(conv_norm(x, f"{name}.conv2", stride))
            return F.relu(conv_norm(x, f"{name}.conv3") + shortcut)
        x = F.relu(conv_norm(x, f"{name}.conv1", stride))
        return F.relu(conv_norm(x, f"{name}.conv2") + shortcut)

    x = F.max_pool2d(F.relu(conv_norm(images, "stem.conv1", stride=2)), kernel_size=3, stride=2, padding=1)
    features = {"stem": x}
    for stage in STAGES[1:]:
        number = 0
        while f"{stage}.{number}.conv1.weight" in weights:
            x = block(x, f"{stage}.{number}", stride=2 if number == 0 and stage != "res2" else 1)
            number += 1
        features[stage] = x
    if idle := [name for name in weights if name not in used]:
        raise InputError(f"the converted backbone holds tensors that take no part in its forward pass: {first(idle)}")
    return features
