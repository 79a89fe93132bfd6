"""The layers that probes are put on, average-pooled to vectors, all from one forward pass.

    N images, C channels, H x W the map of a layer; D = C * h * w after its pool

Goyal et al., "Scaling and Benchmarking Self-Supervised Visual Representation Learning", 2019, pool each layer of a
ResNet-50 at 224 px to about 9000 dimensions; the kernels are those of its benchmark's and vissl's configs. As in vissl,
conv1 is taken behind its BatchNorm and ReLU, and before the max pool; res2 to res5 behind the whole stage.

==========  ======================  =========================  ====================
layer       kernel, stride, pad     ResNet-50 at 224 px        ResNet-18 at 224 px
==========  ======================  =========================  ====================
conv1       10, 10, 4               64 x 12 x 12 = 9216        64 x 12 x 12 = 9216
res2        16, 8, 0                256 x 6 x 6 = 9216         64 x 6 x 6 = 2304
res3        13, 5, 0                512 x 4 x 4 = 8192         128 x 4 x 4 = 2048
res4        8, 3, 0                 1024 x 3 x 3 = 9216        256 x 3 x 3 = 2304
res5        6, 1, 0                 2048 x 2 x 2 = 8192        512 x 2 x 2 = 2048
avgpool     the whole map           2048                       512
==========  ======================  =========================  ====================

Other inputs and widths give other dimensions, which the result states; a map smaller than its kernel is refused.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from clsa.configs.command import InputError

#: Layer -> kernel, stride, padding of its average pool; zeros that are padded count, as in ``torch.nn.AvgPool2d``.
POOLS = {"conv1": (10, 10, 4), "res2": (16, 8, 0), "res3": (13, 5, 0), "res4": (8, 3, 0), "res5": (6, 1, 0)}
LAYERS = (*POOLS, "avgpool")


def check_layers(layers: Sequence[str]) -> None:
    """Refuse unknown layers, repeated ones, and none at all."""
    unknown = [name for name in layers if name not in LAYERS]
    if unknown or not layers or len(set(layers)) < len(layers):
        raise InputError(
            f"FEATURES.LAYERS {list(layers)} must name some of {', '.join(LAYERS)}, each once"
            + (f"; {unknown[0]!r} is none of them" if unknown else "")
        )


def pooled_layers(trunk: nn.Module, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
    """Pooled features (N, D) of some of a torchvision ResNet's layers; what lies behind the last one is not computed.

    Args:
        images: (N, 3, S, S) float, normalised.
        layers: of :data:`LAYERS`.

    Raises:
        InputError: a layer whose map is smaller than its pool's kernel.
    """
    found = {}
    x = trunk.relu(trunk.bn1(trunk.conv1(images)))  # N x 64 x S/2 x S/2
    if "conv1" in layers:
        found["conv1"] = _pool("conv1", x, images)
    x = trunk.maxpool(x)
    last = max(LAYERS.index(name) for name in layers)
    for name in ("res2", "res3", "res4", "res5"):
        if last < LAYERS.index(name):
            break
        x = getattr(trunk, f"layer{int(name[-1]) - 1}")(x)
        if name in layers:
            found[name] = _pool(name, x, images)
    if "avgpool" in layers:
        found["avgpool"] = trunk.avgpool(x).flatten(1)  # N x C
    return found


def _pool(name: str, x: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    kernel, stride, padding = POOLS[name]
    if min(x.shape[2:]) + 2 * padding < kernel:
        raise InputError(
            f"layer {name} of a {images.shape[2]} px image is {x.shape[2]} x {x.shape[3]}, smaller than the "
            f"{kernel} x {kernel} of its pool, which was made for 224 px. Give a larger FEATURES.SIZE, or leave {name} "
            "out; avgpool takes any size."
        )
    return avg_pool2d(x, kernel, stride, padding).flatten(1)  # N x D
