"""torchvision's and detectron2's names, against a table written out by hand."""

import pytest

from clsa.configs.command import InputError
from clsa.convert.architecture import DEPTHS, Architecture, trunk_shapes
from clsa.convert.names import detectron2_name, torchvision_name

TABLE = {
    "conv1.weight": "stem.conv1.weight",
    "bn1.weight": "stem.conv1.norm.weight",
    "bn1.running_var": "stem.conv1.norm.running_var",
    "layer1.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.0.downsample.0.weight": "res2.0.shortcut.weight",
    "layer1.0.downsample.1.bias": "res2.0.shortcut.norm.bias",
    "layer2.3.bn2.running_mean": "res3.3.conv2.norm.running_mean",
    "layer3.22.bn3.weight": "res4.22.conv3.norm.weight",
    "layer4.2.conv3.weight": "res5.2.conv3.weight",
}

TENSORS = {18: 20 * 5, 34: 36 * 5, 50: 53 * 5, 101: 104 * 5, 152: 155 * 5}  # convolutions, each with four of BN


@pytest.mark.parametrize(("torchvision", "detectron2"), TABLE.items())
def test_written_out_names(torchvision: str, detectron2: str) -> None:
    assert detectron2_name(torchvision) == detectron2
    assert torchvision_name(detectron2) == torchvision


@pytest.mark.parametrize("depth", DEPTHS)
def test_one_to_one_over_every_trunk(depth: int) -> None:
    names = list(trunk_shapes(Architecture(depth)))
    renamed = [detectron2_name(name) for name in names]
    assert len(set(renamed)) == len(names) == TENSORS[depth]
    assert [torchvision_name(name) for name in renamed] == names


@pytest.mark.parametrize(
    "name",
    ["fc.weight", "bn1.num_batches_tracked", "conv2.weight", "layer5.0.conv1.weight", "layer1.0.conv1.bias",
     "layer1.0.downsample.0.bias", "downsample.0.weight", "module.conv1.weight", "layer1.conv1.weight", ""],
)  # fmt: skip
def test_what_is_no_trunk_tensor_for_torchvision(name: str) -> None:
    with pytest.raises(InputError, match="not a torchvision name"):
        detectron2_name(name)


@pytest.mark.parametrize(
    "name",
    ["stem.fc.0.weight", "stem.conv2.weight", "stem.shortcut.weight", "res6.0.conv1.weight", "res2.conv1.weight",
     "backbone.bottom_up.res2.0.conv1.weight", "stem.conv1.norm.num_batches_tracked", "layer1.0.conv1.weight"],
)  # fmt: skip
def test_what_is_no_trunk_tensor_for_detectron2(name: str) -> None:
    with pytest.raises(InputError, match="not a detectron2 name"):
        torchvision_name(name)
