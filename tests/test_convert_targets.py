"""What the files of each target hold, that they turn into each other without loss, that their libraries load them."""

import hashlib
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

from clsa.configs.command import InputError
from clsa.convert.architecture import Architecture, build_trunk, recognise_architecture, trunk_shapes
from clsa.convert.backbone_file import backbone_hash, detectron2_name, read_backbone, write_backbone
from clsa.convert.conversion import convert
from clsa.convert.targets import TARGETS

FILES = [(target, suffix) for target, entry in TARGETS.items() for suffix in entry.suffixes]


def test_there_are_seven_kinds_of_files() -> None:
    assert FILES == [
        ("detectron2", ".pkl"), ("detectron2", ".pth"), ("torchvision", ".pth"), ("torchvision", ".safetensors"),
        ("timm", ".pth"), ("timm", ".safetensors"), ("openmmlab", ".pth"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = trunk_shapes(Architecture(50, 8))
    state = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    spread = ("running_var", "bn1.weight", "bn2.weight", "bn3.weight", "downsample.1.weight")
    return {name: tensor.abs() + 0.9 if name.endswith(spread) else tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory, trunk) -> dict[tuple[str, str], Path]:
    """The same backbone for every target, in every suffix."""
    folder = tmp_path_factory.mktemp("targets")
    for target, suffix in FILES:
        write_backbone(folder / f"{target}{suffix}", trunk, target, {})
    return {(target, suffix): folder / f"{target}{suffix}" for target, suffix in FILES}


def test_every_file_into_every_other(tmp_path: Path, trunk, files) -> None:
    """The very bytes that are written straight from the tensors, whichever way they took."""
    straight = {pair: hashlib.sha256(path.read_bytes()).hexdigest() for pair, path in files.items()}
    for pair, source in files.items():
        for target, suffix in FILES:
            manifest = convert(source, tmp_path / f"there{suffix}", target, overwrite=True).manifest
            assert manifest["sha256"] == straight[target, suffix], f"{pair} to {target}{suffix}"
            assert manifest["backbone_sha256"] == backbone_hash(trunk)
            assert set(manifest["parity"].values()) == {0.0}
    state = read_backbone(tmp_path / "there.pth").state
    assert all(torch.equal(state[name], trunk[name]) for name in trunk)


def test_what_the_files_hold(trunk, files) -> None:
    loaded = {pair: torch.load(path, weights_only=True) for pair, path in files.items() if pair[1] == ".pth"}
    with files["detectron2", ".pkl"].open("rb") as file:
        loaded["detectron2", ".pkl"] = pickle.load(file, encoding="latin1")  # as detectron2 does
    for suffix in (".pkl", ".pth"):
        content = loaded["detectron2", suffix]
        assert content.keys() == {"model", "__author__", "matching_heuristics"}
        assert content["matching_heuristics"] is True
        assert content["model"].keys() == {detectron2_name(name) for name in trunk}
    assert {type(array) for array in loaded["detectron2", ".pkl"]["model"].values()} == {np.ndarray}
    assert loaded["torchvision", ".pth"].keys() == loaded["timm", ".pth"].keys() == trunk.keys()
    content = loaded["openmmlab", ".pth"]
    assert content.keys() == {"meta", "state_dict"}
    assert content["state_dict"].keys() == {f"backbone.{name}" for name in trunk}
    for target in ("torchvision", "timm"):
        with safetensors.safe_open(files[target, ".safetensors"], "pt") as file:
            assert file.metadata() == {"format": "pt"}
            assert set(file.keys()) == trunk.keys()


def test_a_file_is_read_as_what_it_is(files) -> None:
    for (target, _), path in files.items():
        assert read_backbone(path).target == ("torchvision" if target == "timm" else target)
    with pytest.raises(InputError, match=r"holds a backbone in openmmlab's names, need detectron2's.*--to detectron2"):
        read_backbone(files["openmmlab", ".pth"], target="detectron2")
    with pytest.raises(
        InputError, match=r"clsa-convert \S+/detectron2\.pth \S+/detectron2_torchvision\.pth --to torch"
    ):
        read_backbone(files["detectron2", ".pth"], target="torchvision")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_loads_it_strictly(files, trunk, suffix: str) -> None:
    load = safetensors.torch.load_file if suffix == ".safetensors" else torch.load
    network = build_trunk(50, 8)
    network.load_state_dict(load(files["torchvision", suffix]), strict=True)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in trunk.items())


def test_the_backbone_of_openmmlab_without_its_prefix_is_torchvisions(files) -> None:
    """What ``init_cfg=dict(type="Pretrained", prefix="backbone.")`` does with the file."""
    state = torch.load(files["openmmlab", ".pth"], weights_only=True)["state_dict"]
    build_trunk(50, 8).load_state_dict({name.removeprefix("backbone."): t for name, t in state.items()}, strict=True)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_timm_loads_it_strictly(tmp_path: Path, suffix: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed: its own loader cannot be tried")
    network = build_trunk(18).eval()
    torch.save(network.state_dict(), tmp_path / "trained.pth")
    convert(tmp_path / "trained.pth", tmp_path / f"timm{suffix}", "timm")
    model = timm.create_model("resnet18", num_classes=0, checkpoint_path=str(tmp_path / f"timm{suffix}")).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert (model(images) - network(images)).abs().max().item() == 0.0


def test_wide_resnet(tmp_path: Path) -> None:
    """``width_per_group`` 128: what torchvision, timm and detectron2 (WIDTH_PER_GROUP) call wide."""
    with torch.device("meta"):
        shapes = torchvision.models.wide_resnet50_2().state_dict()
    state = {n: torch.full_like(t, 1e-3 if t.ndim > 1 else 1, device="cpu") for n, t in shapes.items()}
    torch.save(state, tmp_path / "wide.pth")
    conversion = convert(tmp_path / "wide.pth", tmp_path / "wide.pkl", "detectron2")
    assert conversion.manifest["architecture"] == asdict(Architecture(50, 128))
    assert set(conversion.manifest["parity"].values()) == {0.0}


MILLIONS = {(128, 128, 128): 94, (256, 128, 128): 267, (256, 256, 256): 375, (320, 320, 320): 586, (128, 64, 128): 93}


@pytest.mark.parametrize("widths", MILLIONS)
def test_widths_are_read_from_the_tensors(widths: tuple[int, int, int]) -> None:
    """SwAV's resnet50w2, w4, w5 have as many numbers as its paper says; wider bottlenecks; the published stem."""
    architecture = Architecture(50, *widths)
    state = {name: torch.empty(shape, device="meta") for name, shape in trunk_shapes(architecture).items()}
    assert recognise_architecture(state, "x") == architecture
    assert sum(tensor.numel() for tensor in state.values()) // 1_000_000 == MILLIONS[widths]


@pytest.mark.parametrize(("width", "stem", "base"), [(8, 128, 128), (8, 64, 128)])
def test_a_resnet_that_is_wider_throughout(tmp_path: Path, width: int, stem: int, base: int) -> None:
    """SwAV's resnet50w2 and the like: for libraries that can build them, with the keys that they must be given."""
    architecture = Architecture(50, width, stem, base)
    state = {name: torch.full(shape, 1e-3) for name, shape in trunk_shapes(architecture).items()}
    torch.save({f"module.{n}": t for n, t in state.items()} | {"module.prototypes.weight": torch.ones(2, 2)},
               tmp_path / "swav.pth.tar")  # fmt: skip
    for target in ("torchvision", "timm"):
        with pytest.raises(InputError, match=rf"{target} builds no ResNet-50 of .*--to detectron2 or openmmlab\."):
            convert(tmp_path / "swav.pth.tar", tmp_path / "no.pth", target)
    assert not (tmp_path / "no.pth").exists()
    for target, suffix in (("detectron2", ".pkl"), ("openmmlab", ".pth")):
        manifest = convert(tmp_path / "swav.pth.tar", tmp_path / f"{target}{suffix}", target).manifest
        assert set(manifest["parity"].values()) == {0.0}
        assert manifest["detector"] == {
            "MODEL.RESNETS.DEPTH": 50, "MODEL.RESNETS.STEM_OUT_CHANNELS": stem,
            "MODEL.RESNETS.RES2_OUT_CHANNELS": 4 * base, "MODEL.RESNETS.WIDTH_PER_GROUP": width,
        }  # fmt: skip
        backbone = read_backbone(tmp_path / f"{target}{suffix}")
        assert backbone.architecture == architecture
        assert len(backbone.state) == 265
