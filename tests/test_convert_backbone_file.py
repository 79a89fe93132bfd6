"""The backbone file: what is written is what is read, and nothing else passes for one."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from clsa.configs.command import InputError
from clsa.convert.architecture import Architecture, trunk_shapes
from clsa.convert.backbone_file import build_trunk, detectron2_name, read_backbone, write_backbone

FILES = [("detectron2", "b.pkl"), ("torchvision", "b.pth"), ("torchvision", "b.safetensors")]


def random_trunk(depth: int, width: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(depth)
    shapes = trunk_shapes(Architecture(depth, width))
    state = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: tensor.abs() + 0.5 if name.endswith("running_var") else tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    return random_trunk(50, 8)


@pytest.mark.parametrize(
    ("depth", "width", "target", "name"),
    [
        *((50, 8, target, name) for target, name in FILES),
        *((depth, width, "detectron2", "b.pkl") for depth, width in ((18, 64), (34, 64), (101, 8), (152, 8))),
        (18, 64, "torchvision", "b.pth"),
    ],
)
def test_round_trip(tmp_path: Path, depth: int, width: int, target: str, name: str) -> None:
    state = random_trunk(depth, width)
    manifest = write_backbone(tmp_path / name, state, target, {"source": {"file": "x", "method": "clsa_single"}})
    backbone = read_backbone(tmp_path / name)
    assert (backbone.target, backbone.depth, backbone.width_per_group) == (target, depth, width)
    assert backbone.state.keys() == state.keys()
    assert all(torch.equal(backbone.state[key], state[key]) for key in state)
    assert backbone.manifest == manifest == json.loads((tmp_path / f"{name}.json").read_text())
    assert backbone.sha256 == manifest["sha256"]
    assert manifest["source"] == {"file": "x", "method": "clsa_single"}
    assert manifest["counts"] == {"target": len(state)}
    assert set(manifest["parity"].values()) == {0.0}
    assert build_trunk(depth, width).load_state_dict(backbone.state, strict=False).unexpected_keys == []


def test_what_detectron2_finds_in_the_file(tmp_path: Path, trunk) -> None:
    write_backbone(tmp_path / "b.pkl", trunk, "detectron2", {})
    with (tmp_path / "b.pkl").open("rb") as file:
        content = pickle.load(file, encoding="latin1")  # as detectron2 does
    assert content.keys() == {"model", "__author__", "matching_heuristics"}
    assert content["matching_heuristics"] is True
    assert content["__author__"] != "Caffe2"
    assert content["model"].keys() == {detectron2_name(name) for name in trunk}
    assert all(type(a) is np.ndarray and a.dtype == np.float32 for a in content["model"].values())


def test_same_weights_same_bytes(tmp_path: Path, trunk) -> None:
    """Whatever the order of the source, its memory format, or the storage that its tensors share."""
    shuffled = {name: trunk[name] for name in sorted(trunk, reverse=True)}
    for name, tensor in shuffled.items():
        if tensor.ndim == 4:
            shuffled[name] = tensor.to(memory_format=torch.channels_last)
        else:
            shuffled[name] = torch.cat([tensor, tensor])[: len(tensor)]
    for target, name in FILES:
        one = write_backbone(tmp_path / name, trunk, target, {})
        other = write_backbone(tmp_path / f"other_{name}", shuffled, target, {})
        assert one["sha256"] == other["sha256"]


def test_a_bare_torchvision_state_dict_is_a_backbone_file(tmp_path: Path) -> None:
    network = build_trunk(18)
    network.fc = torch.nn.Linear(512, 10)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    backbone = read_backbone(tmp_path / "resnet18.pth")
    assert (backbone.depth, len(backbone.state), backbone.manifest) == (18, 100, None)
    assert torch.equal(backbone.state["conv1.weight"], network.conv1.weight)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"module.encoder_q.conv1.weight": torch.zeros(1)}, "epoch": 200},
        {"format": "clsa-pretrain", "query": {"backbone.conv1.weight": torch.zeros(1)}},
        {"module.encoder_q.conv1.weight": torch.zeros(1)},
    ],
)
def test_a_checkpoint_has_to_be_converted_first(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "run.pth.tar"
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"clsa-convert {path} {tmp_path / 'run_backbone.pth'} --to torchvision"):
        read_backbone(path)


def test_the_other_targets_file(tmp_path: Path, trunk) -> None:
    for target, name in FILES:
        write_backbone(tmp_path / name, trunk, target, {})
    with pytest.raises(
        InputError, match=rf"in detectron2's names.*clsa-convert {tmp_path}/b\.pkl {tmp_path}/b\.pth --to"
    ):
        read_backbone(tmp_path / "b.pkl", target="torchvision")
    with pytest.raises(InputError, match=r"clsa-convert \S+b\.safetensors \S+b\.pkl --to detectron2"):
        read_backbone(tmp_path / "b.safetensors", target="detectron2")
    assert read_backbone(tmp_path / "b.pkl", target="detectron2").target == "detectron2"


def test_a_detectron2_file_under_a_torch_name(tmp_path: Path, trunk) -> None:
    write_backbone(tmp_path / "b.pkl", trunk, "detectron2", {})
    (tmp_path / "b.pkl").rename(tmp_path / "b.pth")
    with pytest.raises(
        InputError, match=r"mv \S+b\.pth \S+b\.pkl && clsa-convert \S+b\.pkl \S+b\.pth --to torchvision"
    ):
        read_backbone(tmp_path / "b.pth")


@pytest.mark.parametrize(
    "content", [[1, 2], {"model": {}}, {"model": {"stem.conv1.weight": 3}}, {"blobs": {}}, {"model": {1: np.ones(1)}}]
)
def test_pickles_that_are_no_backbone(tmp_path: Path, content: object) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r'without the \{"model": \{name: array\}\} that detectron2 reads'):
        read_backbone(tmp_path / "a.pkl")


def test_a_detectron2_file_with_more_than_the_trunk(tmp_path: Path, trunk) -> None:
    """MoCo's own script leaves the head's stem.fc.* in."""
    model = {detectron2_name(name): tensor.numpy() for name, tensor in trunk.items()}
    model["stem.fc.0.weight"] = np.zeros((2, 2), np.float32)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": model, "__author__": "MOCO"}))
    with pytest.raises(InputError, match=r"more than a backbone: 'stem\.fc\.0\.weight'.*clsa-convert"):
        read_backbone(tmp_path / "a.pkl")


def test_incomplete_or_unsound_tensors_are_not_written(tmp_path: Path, trunk) -> None:
    lacking = {name: tensor for name, tensor in trunk.items() if not name.startswith("layer4.")}
    extra = {**trunk, "fc.weight": torch.zeros(1)}
    other_shape = {**trunk, "layer3.1.conv2.weight": torch.zeros(16, 32, 3, 3)}
    not_finite = {**trunk, "bn1.bias": torch.full((64,), torch.nan)}
    for target, name in FILES:
        path = tmp_path / name
        for state, message in (
            (lacking, r"50 of its 265 trunk tensors are missing: layer4\.0\.conv1\.weight"),
            (extra, r"neither belongs to the trunk of a ResNet-50 .*fc\.weight"),
            (other_shape, r"layer3\.1\.conv2\.weight has shape \(16, 32, 3, 3\), a ResNet-50 .*needs \(32, 32, 3, 3\)"),
            (not_finite, r"NaN or infinity in bn1\.bias"),
        ):
            with pytest.raises(InputError, match=message):
                write_backbone(path, state, target, {})
    assert list(tmp_path.iterdir()) == []


def test_incomplete_files_are_not_read(tmp_path: Path, trunk) -> None:
    lacking = {name: tensor for name, tensor in trunk.items() if not name.startswith("layer4.")}
    torch.save(lacking, tmp_path / "a.pth")
    with pytest.raises(InputError, match="50 of its 265 trunk tensors are missing"):
        read_backbone(tmp_path / "a.pth")
    safetensors.torch.save_file({name: tensor.half() for name, tensor in trunk.items()}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="need float32"):
        read_backbone(tmp_path / "a.safetensors")


def test_a_file_name_that_no_reader_would_understand(tmp_path: Path, trunk) -> None:
    with pytest.raises(InputError, match=r"a file for detectron2 must end in \.pkl or \.pth"):
        write_backbone(tmp_path / "b.safetensors", trunk, "detectron2", {})
    with pytest.raises(InputError, match=r"a file for torchvision must end in \.pth or \.safetensors"):
        write_backbone(tmp_path / "b.pkl", trunk, "torchvision", {})
    with pytest.raises(InputError, match="unknown target 'caffe2'"):
        write_backbone(tmp_path / "b.pkl", trunk, "caffe2", {})


def test_a_manifest_of_other_bytes(tmp_path: Path, trunk) -> None:
    write_backbone(tmp_path / "b.pth", trunk, "torchvision", {})
    torch.save(random_trunk(18), tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"b\.pth\.json describes other bytes than \S+b\.pth holds"):
        read_backbone(tmp_path / "b.pth")
    (tmp_path / "b.pth.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.pth\.json cannot be read"):
        read_backbone(tmp_path / "b.pth")


def test_architectures_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="no ResNet of depth 20; choose one of 18, 34, 50, 101, 152"):
        build_trunk(20)
    with pytest.raises(InputError, match="ResNet-18 has no bottlenecks"):
        build_trunk(18, 8)
