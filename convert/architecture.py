"""Which ResNet a set of tensors is, and what the trunk of such a ResNet must hold.

The trunk is everything before the classifier: for ResNet-50 265 tensors, 53 convolutions and 53 batch norms of four
tensors each. The counters ``num_batches_tracked`` are not weights and are left out everywhere.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from clsa.configs.command import InputError

#: depth -> (kind of block, blocks in layer1..layer4), He et al. 2016, table 1
DEPTHS: dict[int, tuple[type[nn.Module], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
STANDARD_WIDTH = 64
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Architecture:
    """A ResNet trunk: ``depth`` 18, 34, 50, 101 or 152; ``width_per_group`` of the bottlenecks, 64 as published."""

    depth: int
    width_per_group: int = STANDARD_WIDTH

    def __str__(self) -> str:
        width = "" if self.width_per_group == STANDARD_WIDTH else f" of width_per_group {self.width_per_group}"
        return f"ResNet-{self.depth}{width}"


def build_trunk(depth: int, width_per_group: int = STANDARD_WIDTH, **options) -> ResNet:
    """torchvision's ResNet with its classifier replaced by the identity: images to average-pooled features.

    Args:
        depth: 18, 34, 50, 101 or 152.
        width_per_group: width of the bottlenecks; 64 as published, 8 for quick trials.
        options: passed on to ``torchvision.models.resnet.ResNet`` (``zero_init_residual``, ``norm_layer``, ...).

    Raises:
        InputError: a depth that does not exist, or another width than 64 for 18 and 34, which have no bottlenecks.
    """
    if depth not in DEPTHS:
        raise InputError(f"there is no ResNet of depth {depth}; choose one of {', '.join(map(str, DEPTHS))}")
    block, layers = DEPTHS[depth]
    if block is BasicBlock and width_per_group != STANDARD_WIDTH:
        raise InputError(f"ResNet-{depth} has no bottlenecks: width_per_group must be 64, got {width_per_group}")
    network = ResNet(block, list(layers), width_per_group=width_per_group, **options)
    network.fc = nn.Identity()
    return network


@functools.lru_cache(maxsize=16)
def trunk_shapes(architecture: Architecture) -> Mapping[str, tuple[int, ...]]:
    """Name -> shape of every tensor of the trunk, in torchvision's names and order. No memory is taken."""
    with torch.device("meta"):
        state = build_trunk(architecture.depth, architecture.width_per_group).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(COUNTER)}


def recognise_architecture(state: Mapping[str, torch.Tensor], origin: str) -> Architecture:
    """The ResNet whose trunk ``state`` (torchvision's names) is, completely: every name and every shape.

    Args:
        state: name -> tensor.
        origin: what to call the tensors in an error, for instance the file's name.

    Raises:
        InputError: tensors that are no ResNet's, that are missing, too many, or of another shape; the first are named.
    """
    depth = min(DEPTHS, key=lambda depth: len(trunk_shapes(Architecture(depth)).keys() ^ state.keys()))
    names = trunk_shapes(Architecture(depth)).keys()
    if len(names & state.keys()) < len(names) // 2:
        raise InputError(
            f"{origin} is no ResNet of torchvision's kind: of the {len(names)} tensors of the nearest one, "
            f"ResNet-{depth}, it has {len(names & state.keys())}. It holds {first(state)}."
        )
    if missing := [name for name in names if name not in state]:
        raise InputError(
            f"{origin} looks like a ResNet-{depth} but {len(missing)} of its {len(names)} trunk tensors are missing: "
            f"{first(missing)}. An incomplete backbone would load without an error and train from noise; "
            f"get the whole checkpoint."
        )
    if extra := [name for name in state if name not in names]:
        raise InputError(
            f"{origin} holds what neither belongs to the trunk of a ResNet-{depth} nor is known to be safe to drop: "
            f"{first(extra)}"
        )
    return _recognise_width(depth, state, origin)


def _recognise_width(depth: int, state: Mapping[str, torch.Tensor], origin: str) -> Architecture:
    stem = tuple(state["conv1.weight"].shape)
    if stem[1:] == (3, 7, 7) and stem[0] != STANDARD_WIDTH:
        raise InputError(
            f"{origin}: its stem has {stem[0]} channels, not {STANDARD_WIDTH}: a ResNet-{depth} wider throughout "
            f"(as SwAV's resnet50w2), which no target here takes; wider bottlenecks (width_per_group) they do take"
        )
    architecture = Architecture(depth)
    first_block = state["layer1.0.conv2.weight"]
    if DEPTHS[depth][0] is Bottleneck and first_block.ndim == 4:
        width, width_of_a_group = first_block.shape[:2]
        if width != width_of_a_group:
            raise InputError(f"{origin} is a ResNeXt: its 3x3 convolutions have groups, which no target here takes")
        architecture = Architecture(depth, width)
    for name, shape in trunk_shapes(architecture).items():
        if tuple(state[name].shape) != shape:
            raise InputError(f"{origin}: {name} has shape {tuple(state[name].shape)}, a {architecture} needs {shape}")
    return architecture


def first(names: Iterable[str], count: int = 5) -> str:
    """The first few of ``names``, for an error message."""
    names = list(names)
    shown = ", ".join(map(str, names[:count]))
    return f"{shown}, ... ({len(names)} in all)" if len(names) > count else shown or "nothing"
