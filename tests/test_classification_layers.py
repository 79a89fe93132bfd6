"""Every layer's pooled features, against the published dimensions and against slow loops."""

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from clsa.classification.layers import LAYERS, POOLS, check_layers, pooled_layers
from clsa.configs.command import InputError
from clsa.convert.backbone_file import build_trunk


@pytest.mark.parametrize(
    ("depth", "dimensions"),
    [(50, (9216, 9216, 8192, 9216, 8192, 2048)), (18, (9216, 2304, 2048, 2304, 2048, 512))],
)
def test_dimensions_at_224(depth: int, dimensions: tuple[int, ...]) -> None:
    with torch.device("meta"):  # shapes alone
        found = pooled_layers(build_trunk(depth).eval(), torch.empty(2, 3, 224, 224), LAYERS)
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        name: (2, size) for name, size in zip(LAYERS, dimensions, strict=True)
    }


def slow_pool(maps: torch.Tensor, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Windows one by one, padded with zeros that count."""
    maps = np.pad(maps.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    starts = range(0, maps.shape[2] - kernel + 1, stride)
    windows = [maps[:, :, y : y + kernel, x : x + kernel].mean(axis=(2, 3)) for y in starts for x in starts]
    return np.stack(windows, axis=2).reshape(len(maps), -1)  # channel, row, column


@torch.no_grad()
def test_each_layer_is_the_pooled_output_of_its_stage() -> None:
    torch.manual_seed(0)
    trunk = resnet18().eval()
    taken = {}
    stages = {"conv1": trunk.relu, "res2": trunk.layer1, "res3": trunk.layer2, "res4": trunk.layer3}
    for name, module in stages.items():
        module.register_forward_hook(lambda _, __, output, name=name: taken.__setitem__(name, output.clone()))
    found = pooled_layers(trunk, torch.randn(2, 3, 128, 128), tuple(stages))
    for name in stages:
        np.testing.assert_allclose(found[name], slow_pool(taken[name], *POOLS[name]), rtol=1e-4, atol=1e-5)
    assert taken["conv1"].min() == 0  # behind its ReLU


def test_what_lies_behind_the_last_layer_is_not_computed() -> None:
    trunk = resnet18().eval()
    trunk.layer3.register_forward_hook(lambda *_: pytest.fail("layer3 was computed"))
    pooled_layers(trunk, torch.randn(1, 3, 128, 128), ("res3", "conv1"))


def test_a_map_that_is_smaller_than_its_pool() -> None:
    with pytest.raises(InputError, match=r"layer res5 of a 96 px image is 3 x 3, smaller than the 6 x 6 of its pool"):
        pooled_layers(resnet18().eval(), torch.randn(1, 3, 96, 96), ("res5",))


@pytest.mark.parametrize("layers", [[], ["res6"], ["res5", "res5"]])
def test_refused_layers(layers: list[str]) -> None:
    with pytest.raises(InputError, match=r"must name some of conv1, res2, .* each once"):
        check_layers(layers)
