"""Which ResNet a set of tensors is, and what the trunk of such a ResNet must hold.

The trunk is everything before the classifier: for ResNet-50 265 tensors, 53 convolutions and 53 batch norms of four
tensors each. The counters ``num_batches_tracked`` are not weights and are left out everywhere.
"""

import dataclasses
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
STANDARD_WIDTH = 64  # of the stem, of layer1's blocks and of their bottlenecks, as published
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Architecture:
    """A ResNet trunk: ``depth`` 18, 34, 50, 101 or 152, and three widths, all 64 as published.

    Attributes:
        width_per_group: channels of the first 3x3 convolution in layer1's bottlenecks: 128 in ``wide_resnet50_2``.
        stem_channels: channels of the first convolution: 128 in SwAV's ``resnet50w2``.
        base_channels: a quarter of what layer1's bottlenecks give (all of it for 18 and 34): 128 in ``resnet50w2``.
    """

    depth: int
    width_per_group: int = STANDARD_WIDTH
    stem_channels: int = STANDARD_WIDTH
    base_channels: int = STANDARD_WIDTH

    def __str__(self) -> str:
        widths = (
            f"{name} {width}"
            for name, width in dataclasses.asdict(self).items()
            if name != "depth" and width != STANDARD_WIDTH
        )
        return f"ResNet-{self.depth}" + (f" of {', '.join(widths)}" if self.is_unusual else "")

    @property
    def is_unusual(self) -> bool:
        """Whether any width is not the published one."""
        return {self.width_per_group, self.stem_channels, self.base_channels} != {STANDARD_WIDTH}

    @property
    def res2_channels(self) -> int:
        """Channels that layer1, detectron2's res2, gives: 256 in the published ResNet-50."""
        return self.base_channels * DEPTHS[self.depth][0].expansion

    @property
    def detector_keys(self) -> dict[str, int]:
        """What a detector's config has to say of its trunk, for detectron2 and for both engines here."""
        return {
            "MODEL.RESNETS.DEPTH": self.depth,
            "MODEL.RESNETS.STEM_OUT_CHANNELS": self.stem_channels,
            "MODEL.RESNETS.RES2_OUT_CHANNELS": self.res2_channels,
            "MODEL.RESNETS.WIDTH_PER_GROUP": self.width_per_group,
        }


class _OtherwiseWideResNet(ResNet):
    """torchvision's ResNet with other widths than the 64 that are written into it, of the stem and of its blocks."""

    def __init__(self, block, layers, stem_channels: int, base_channels: int, width_per_group: int, **options):
        self._stem_channels, self._base_channels = stem_channels, base_channels
        # torchvision's blocks multiply their own width by this over 64
        super().__init__(block, layers, width_per_group=width_per_group * STANDARD_WIDTH / base_channels, **options)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False) -> nn.Sequential:
        if planes == STANDARD_WIDTH:  # the first layer, before which the stem was made
            self.inplanes = self._stem_channels
            self.conv1 = nn.Conv2d(3, self._stem_channels, kernel_size=7, stride=2, padding=3, bias=False)
            self.bn1 = self._norm_layer(self._stem_channels)
        return super()._make_layer(block, planes * self._base_channels // STANDARD_WIDTH, blocks, stride, dilate)


def build_trunk(
    depth: int,
    width_per_group: int = STANDARD_WIDTH,
    stem_channels: int = STANDARD_WIDTH,
    base_channels: int = STANDARD_WIDTH,
    **options,
) -> ResNet:
    """torchvision's ResNet with its classifier replaced by the identity: images to average-pooled features.

    Args:
        depth: 18, 34, 50, 101 or 152.
        width_per_group: width of the bottlenecks; 64 as published, 8 for quick trials.
        stem_channels: of the first convolution.
        base_channels: of layer1's blocks, a quarter of what its bottlenecks give.
        options: passed on to ``torchvision.models.resnet.ResNet`` (``zero_init_residual``, ``norm_layer``, ...).

    Raises:
        InputError: a depth that does not exist, or another width than 64 for 18 and 34.
    """
    if depth not in DEPTHS:
        raise InputError(f"there is no ResNet of depth {depth}; choose one of {', '.join(map(str, DEPTHS))}")
    block, layers = DEPTHS[depth]
    architecture = Architecture(depth, width_per_group, stem_channels, base_channels)
    if block is BasicBlock and architecture.is_unusual:
        raise InputError(f"ResNet-{depth} has no bottlenecks: all of its widths must be 64, got a {architecture}")
    if (stem_channels, base_channels) == (STANDARD_WIDTH, STANDARD_WIDTH):
        network = ResNet(block, list(layers), width_per_group=width_per_group, **options)
    else:
        network = _OtherwiseWideResNet(block, list(layers), stem_channels, base_channels, width_per_group, **options)
    network.fc = nn.Identity()
    return network


@functools.lru_cache(maxsize=16)
def trunk_shapes(architecture: Architecture) -> Mapping[str, tuple[int, ...]]:
    """Name -> shape of every tensor of the trunk, in torchvision's names and order. No memory is taken."""
    with torch.device("meta"):
        state = build_trunk(**dataclasses.asdict(architecture)).state_dict()
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
    architecture = Architecture(depth)
    stem, first_block = state["conv1.weight"], state["layer1.0.conv2.weight"]
    if DEPTHS[depth][0] is Bottleneck and first_block.ndim == 4:
        width, width_of_a_group = first_block.shape[:2]
        if width != width_of_a_group:
            raise InputError(f"{origin} is a ResNeXt: its 3x3 convolutions have groups, which no target here takes")
        given = state["layer1.0.conv3.weight"]
        if stem.ndim == given.ndim == 4 and all((width, *stem.shape, *given.shape)):
            architecture = Architecture(depth, width, stem.shape[0], max(given.shape[0] // Bottleneck.expansion, 1))
    for name, shape in trunk_shapes(architecture).items():
        if tuple(state[name].shape) != shape:
            raise InputError(f"{origin}: {name} has shape {tuple(state[name].shape)}, a {architecture} needs {shape}")
    return architecture


def first(names: Iterable[str], count: int = 5) -> str:
    """The first few of ``names``, for an error message."""
    names = list(names)
    shown = ", ".join(map(str, names[:count]))
    return f"{shown}, ... ({len(names)} in all)" if len(names) > count else shown or "nothing"
