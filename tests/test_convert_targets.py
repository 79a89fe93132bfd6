"""What the files of each target hold, that they turn into each other without loss, that their libraries load them."""

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
from clsa.configs.run_files import sha256_of_file
from clsa.convert.architecture import Architecture, build_trunk, recognise_architecture, trunk_shapes
from clsa.convert.backbone_file import backbone_hash, detectron2_name, read_backbone, write_backbone
from clsa.convert.cli import main
from clsa.convert.conversion import convert
from clsa.convert.proof import features
from clsa.convert.targets import TARGETS, write_tensors

FILES = [(target, suffix) for target, entry in TARGETS.items() for suffix in entry.suffixes]


def test_there_are_seven_kinds_of_files() -> None:
    assert FILES == [
        ("detectron2", ".pkl"), ("detectron2", ".pth"), ("torchvision", ".pth"), ("torchvision", ".safetensors"),
        ("timm", ".pth"), ("timm", ".safetensors"), ("openmmlab", ".pth"),
    ]  # fmt: skip


def as_if_trained(architecture: Architecture) -> dict[str, torch.Tensor]:
    """A trunk of random weights whose features neither vanish nor grow from stage to stage."""
    torch.manual_seed(0)
    state = build_trunk(**asdict(architecture)).state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 4:
            torch.nn.init.kaiming_normal_(tensor)
        elif name.endswith(("running_var", "weight")):
            tensor.uniform_(0.8, 1.2)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.1)
        if name.endswith("bn3.weight"):
            tensor.mul_(0.3)  # what a block adds to its input
    state = {name: state[name] for name in trunk_shapes(architecture)}
    spreads = {stage: maps.std().item() for stage, maps in features(state, architecture).items()}
    assert all(0.1 < spread < 10 for spread in spreads.values()), spreads
    return state


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    return as_if_trained(Architecture(50, 8))


@pytest.fixture(scope="module")
def files(tmp_path_factory, trunk) -> dict[tuple[str, str], Path]:
    """The same backbone for every target, in every suffix."""
    folder = tmp_path_factory.mktemp("targets")
    for target, suffix in FILES:
        write_backbone(folder / f"{target}{suffix}", trunk, target, {})
    return {(target, suffix): folder / f"{target}{suffix}" for target, suffix in FILES}


def test_every_file_into_every_other(tmp_path: Path, trunk, files) -> None:
    """The very bytes that are written straight from the tensors; from each kind of file, and to each, in full once."""
    straight = {kind: sha256_of_file(path) for kind, path in files.items()}
    for (kind, source), (target, suffix) in zip(files.items(), [*FILES[1:], FILES[0]], strict=True):
        manifest = convert(source, tmp_path / f"in full{suffix}", target, overwrite=True).manifest
        assert manifest["sha256"] == straight[target, suffix], f"{kind} to {target}{suffix}"
        assert manifest["backbone_sha256"] == backbone_hash(trunk)
        assert set(manifest["parity"].values()) == {0.0}
        read = read_backbone(source).state
        state = {name: read[name] for name in trunk}
        assert all(torch.equal(state[name], trunk[name]) for name in trunk)
        for target, suffix in FILES:
            write_tensors(tmp_path / f"tensors{suffix}", state, target)
            assert sha256_of_file(tmp_path / f"tensors{suffix}") == straight[target, suffix], (
                f"{kind} to {target}{suffix}"
            )


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


def test_wide_resnet() -> None:
    """``width_per_group`` 128: what torchvision, timm and detectron2 (WIDTH_PER_GROUP) call wide."""
    with torch.device("meta"):
        state = torchvision.models.wide_resnet50_2().state_dict()
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.") and "num_b" not in name}
    assert recognise_architecture(state, "x") == Architecture(50, 128)


MILLIONS = {(128, 128, 128): 94, (256, 128, 128): 267, (256, 256, 256): 375, (320, 320, 320): 586, (128, 64, 128): 93}


@pytest.mark.parametrize("widths", MILLIONS)
def test_widths_are_read_from_the_tensors(widths: tuple[int, int, int]) -> None:
    """SwAV's resnet50w2, w4, w5 have as many numbers as its paper says; wider bottlenecks; the published stem."""
    architecture = Architecture(50, *widths)
    state = {name: torch.empty(shape, device="meta") for name, shape in trunk_shapes(architecture).items()}
    assert recognise_architecture(state, "x") == architecture
    assert sum(tensor.numel() for tensor in state.values()) // 1_000_000 == MILLIONS[widths]


@pytest.mark.parametrize(("width", "stem", "base"), [(16, 16, 16), (8, 64, 32)])
def test_a_resnet_of_other_widths_throughout(tmp_path: Path, capsys, width: int, stem: int, base: int) -> None:
    """Put together as SwAV's resnet50w2: for libraries that can build it, with the keys that they must be given."""
    architecture = Architecture(50, width, stem, base)
    state = as_if_trained(architecture)
    torch.save({f"module.{n}": t for n, t in state.items()} | {"module.prototypes.weight": torch.ones(2, 2)},
               tmp_path / "swav.pth.tar")  # fmt: skip
    for target in ("torchvision", "timm"):
        with pytest.raises(InputError, match=rf"{target} builds no ResNet-50 of .*--to detectron2 or openmmlab\."):
            convert(tmp_path / "swav.pth.tar", tmp_path / "no.pth", target)
    assert not (tmp_path / "no.pth").exists()
    keys = {
        "MODEL.RESNETS.DEPTH": 50, "MODEL.RESNETS.STEM_OUT_CHANNELS": stem,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 4 * base, "MODEL.RESNETS.WIDTH_PER_GROUP": width,
    }  # fmt: skip
    for target, suffix in (("detectron2", ".pkl"), ("openmmlab", ".pth")):
        path = tmp_path / f"{target}{suffix}"
        assert main([str(tmp_path / "swav.pth.tar"), str(path), "--to", target]) == 0
        said = capsys.readouterr().out.splitlines()
        detector = f"detector {' '.join(f'{key} {value}' for key, value in keys.items())}"
        assert [line for line in said if line.startswith("detector")] == ([detector] if target == "detectron2" else [])
        backbone = read_backbone(path)
        assert backbone.architecture == architecture
        assert backbone.manifest["detector"] == keys
        assert backbone.manifest["parity"] == dict.fromkeys(("stem", "res2", "res3", "res4", "res5"), 0.0)
        assert backbone.state.keys() == state.keys()
        assert all(torch.equal(backbone.state[name], tensor) for name, tensor in state.items()), "265 of 265"
