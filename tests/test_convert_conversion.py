"""``clsa-convert`` as a whole: what it converts, what it refuses and why, what it leaves on the disk."""

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from clsa.configs.command import InputError
from clsa.convert.architecture import Architecture, build_trunk
from clsa.convert.backbone_file import read_backbone
from clsa.convert.cli import main
from clsa.convert.conversion import convert
from clsa.convert.sources import LAYOUTS

Tensors = dict[str, torch.Tensor]


def encoder(seed: int, head: nn.Module, width: int = 8, depth: int = 50) -> Tensors:
    """State dict of a torchvision ResNet, as if trained, with a projection head in the place of ``fc``."""
    torch.manual_seed(seed)
    network = build_trunk(depth, width)
    network.fc = head
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return network.state_dict()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(2048, 16), nn.ReLU(), nn.Linear(16, 8))


def trunk_of(state: Tensors) -> Tensors:
    return {key: value for key, value in state.items() if not key.startswith("fc.") and "num_batches" not in key}


def prefixed(prefix: str, state: Tensors) -> Tensors:
    return {f"{prefix}{key}": value for key, value in state.items()}


def with_momentum(parameters: Tensors) -> dict:
    """The state of SGD after a step, as the official checkpoints carry it."""
    tensors = [nn.Parameter(value.clone()) for value in parameters.values() if value.is_floating_point()]
    optimizer = torch.optim.SGD(tensors[:3], lr=0.03, momentum=0.9)
    sum(tensor.sum() for tensor in tensors[:3]).backward()
    optimizer.step()
    return optimizer.state_dict()


def moco_state(query: Tensors, key: Tensors, module: str = "module.") -> OrderedDict:
    queue = {f"{module}queue": torch.randn(8, 32), f"{module}queue_ptr": torch.zeros(1, dtype=torch.long)}
    return OrderedDict(queue | prefixed(f"{module}encoder_q.", query) | prefixed(f"{module}encoder_k.", key))


def moco_v1(path: Path, query: Tensors, key: Tensors) -> dict[str, int]:
    """A linear head; written by a PyTorch that had no zip format yet; the query network alone, as it is distributed."""
    linear = {"fc.weight": torch.zeros(8, 2048), "fc.bias": torch.zeros(8)}
    state = prefixed("module.encoder_q.", {k: v for k, v in query.items() if not k.startswith("fc.")} | linear)
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": state}, path, _use_new_zipfile_serialization=False)
    return {"bookkeeping": 2, "batch counters": 53, "head": 2}


def clsa(path: Path, query: Tensors, key: Tensors) -> dict[str, int]:
    content = {"epoch": 200, "arch": "resnet50", "best_acc": torch.tensor([61.5]), "state_dict": moco_state(query, key)}
    torch.save({**content, "optimizer": with_momentum(query)}, path)
    return {"bookkeeping": 3, "queue": 2, "batch counters": 53, "head": 4, "key network": 322, "optimizer": 1}


def without_ddp(path: Path, query: Tensors, key: Tensors) -> dict[str, int]:
    torch.save({"state_dict": moco_state(query, key, module="")}, path)
    return {"queue": 2, "batch counters": 53, "head": 4, "key network": 322}


def clsa_pretrain(path: Path, query: Tensors, key: Tensors) -> dict[str, int]:
    def ours(state: Tensors) -> Tensors:
        return {(f"head.{k[3:]}" if k.startswith("fc.") else f"backbone.{k}"): v for k, v in state.items()}

    content = {
        "format": "clsa-pretrain", "version": 1, "method": "clsa_single", "iteration": 1200, "epoch": 3,
        "query": ours(query), "key": ours(key), "queue": {"keys": torch.randn(8, 32), "pointer": torch.tensor(4)},
        "optimizer": with_momentum(query), "scaler": {}, "rng": {"torch": torch.get_rng_state(), "python": [1, 2]},
        "config": {"SEED": 0},
    }  # fmt: skip
    torch.save(content, path)
    return {"training state": 7, "batch counters": 53, "head": 4, "key network": 322, "queue": 2, "optimizer": 2}


def bare_torchvision(path: Path, query: Tensors, key: Tensors) -> dict[str, int]:
    torch.save({k: v for k, v in query.items() if not k.startswith("fc.")} | {"fc.bias": torch.zeros(3)}, path)
    return {"batch counters": 53, "head": 1}


SOURCES: dict[str, tuple[Callable[[Path, Tensors, Tensors], dict[str, int]], str]] = {
    "moco_v1.pth.tar": (moco_v1, "moco"),
    "clsa.pth.tar": (clsa, "moco"),
    "without_ddp.pth": (without_ddp, "moco"),
}


@pytest.fixture(scope="module")
def networks() -> tuple[Tensors, Tensors]:
    """Query and key network: ResNet-50 with narrow bottlenecks, all 265 tensors, different everywhere."""
    return encoder(0, mlp()), encoder(1, mlp())


@pytest.mark.parametrize("name", SOURCES)
def test_the_varieties_of_mocos_layout(tmp_path: Path, networks, name: str) -> None:
    write, layout = SOURCES[name]
    rules = write(tmp_path / name, *networks)
    trunk = trunk_of(networks[0])
    manifest = convert(tmp_path / name, tmp_path / "out.pkl", "detectron2").manifest
    backbone = read_backbone(tmp_path / "out.pkl")
    assert backbone.state.keys() == trunk.keys()
    assert all(torch.equal(backbone.state[key], trunk[key]) for key in trunk), "265 of 265, of the query network"
    assert manifest["source"]["format"] == layout
    assert {rule["rule"]: len(rule["keys"]) for rule in manifest["dropped"]} == rules
    dropped = sum(rules.values())
    assert manifest["counts"] == {"source": 265 + dropped, "used": 265, "dropped": dropped, "target": 265}
    assert manifest["parity"] == dict.fromkeys(("stem", "res2", "res3", "res4", "res5"), 0.0)


def test_the_published_size_and_the_way_back(tmp_path: Path, capsys) -> None:
    """torchvision's own resnet50 through the command line, to detectron2 and back: the same tensors, the same bytes."""
    network = torchvision.models.resnet50()
    torch.save(network.state_dict(), tmp_path / "r50.pth")
    there, back, again = (str(tmp_path / name) for name in ("there.pkl", "back.pth", "again.pkl"))
    assert main([str(tmp_path / "r50.pth"), there, "--to", "detectron2"]) == 0
    shown = capsys.readouterr()
    assert "ResNet-50: 265 of 265 trunk tensors" in shown.out
    assert "dropped  55 source keys: batch counters 53, head 2" in shown.out
    assert "parity   stem 0.0, res2 0.0, res3 0.0, res4 0.0, res5 0.0" in shown.out
    assert "warning: the weights look untrained: 53 of 53 batch norms" in shown.err
    assert main([there, back, "--to", "torchvision"]) == 0
    assert main([back, again, "--to", "detectron2"]) == 0
    state, trunk = torch.load(back, weights_only=True), trunk_of(network.state_dict())
    assert state.keys() == trunk.keys()
    assert all(torch.equal(state[name], trunk[name]) for name in trunk)
    assert Path(there).read_bytes() == Path(again).read_bytes()


@pytest.mark.parametrize(("depth", "width"), [(18, 64), (101, 8)])
def test_other_depths(tmp_path: Path, depth: int, width: int) -> None:
    state = encoder(2, nn.Identity(), width, depth)
    torch.save({"state_dict": prefixed("module.encoder_q.", state)}, tmp_path / "a.pth")
    conversion = convert(tmp_path / "a.pth", tmp_path / "a.pkl", "detectron2")
    assert conversion.manifest["architecture"] == asdict(Architecture(depth, width))
    assert conversion.warnings == []


def test_a_checkpoint_trained_in_channels_last(tmp_path: Path, networks) -> None:
    network = build_trunk(50, 8).to(memory_format=torch.channels_last)
    network.load_state_dict(trunk_of(networks[0]), strict=False)
    torch.save({"query": prefixed("backbone.", network.state_dict()), "format": "clsa-pretrain"}, tmp_path / "a.pth")
    bare_torchvision(tmp_path / "plain.pth", *networks)
    one = convert(tmp_path / "a.pth", tmp_path / "a.pkl", "detectron2").manifest
    other = convert(tmp_path / "plain.pth", tmp_path / "plain.pkl", "detectron2").manifest
    assert one["sha256"] == other["sha256"]


def test_the_origin_survives_a_second_conversion(tmp_path: Path, networks) -> None:
    clsa_pretrain(tmp_path / "checkpoint.pth", *networks)
    origin = {"method": "clsa_single", "iteration": 1200, "epoch": 3}
    for source, destination, target in (
        ("checkpoint.pth", "a.pth", "torchvision"),
        ("a.pth", "a.pkl", "detectron2"),
    ):
        manifest = convert(tmp_path / source, tmp_path / destination, target).manifest
        assert {key: manifest["source"][key] for key in origin} == origin
        assert manifest["source"]["file"] == str(tmp_path / source)


def refused(tmp_path: Path, content: object, message: str) -> None:
    """``content`` is refused with ``message``, and no file appears."""
    (tmp_path / "source").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    torch.save(content, tmp_path / "source" / "a.pth")
    with pytest.raises(InputError, match=rf"a\.pth.*({message})"):
        convert(tmp_path / "source" / "a.pth", tmp_path / "out" / "a.pkl", "detectron2")
    assert list((tmp_path / "out").iterdir()) == []


def test_other_architectures(tmp_path: Path) -> None:
    block = {"cls_token": torch.zeros(1, 1, 8), "blocks.0.attn.qkv.weight": torch.zeros(24, 8)}
    refused(
        tmp_path, block, r"of no layout that is known here\. It holds cls_token, blocks\.0.*Need .* moco .*MoCo|moco"
    )
    vgg = {f"features.{i}.weight": torch.zeros(1) for i in range(8)}
    refused(tmp_path, vgg, r"It holds features\.0\.weight, .*\(8 in all\)")
    refused(
        tmp_path,
        {"state_dict": prefixed("module.encoder_q.", vgg)},
        r"no ResNet of torchvision's kind: of the 100 tensors .* ResNet-18, it has 0.*features\.0\.weight",
    )
    resnext = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [3, 4, 6, 3], groups=2, width_per_group=4)
    refused(tmp_path, resnext.state_dict(), "is a ResNeXt")
    refused(tmp_path, [1, 2], "holds a list, need a dictionary")


def test_incomplete_and_unsound_checkpoints(tmp_path: Path, networks) -> None:
    query, _ = networks
    without_res5 = {k: v for k, v in query.items() if not k.startswith("layer4.")}
    moco = "module.encoder_q."
    refused(
        tmp_path,
        {"state_dict": prefixed(moco, without_res5)},
        r"looks like a ResNet-50 but 50 of its 265 trunk tensors are missing: layer4\.0\.conv1\.weight, layer4\.0\.bn1",
    )
    changes = {
        r"layer2\.0\.conv1\.weight has shape \(16, 128, 1, 1\), a ResNet-50 .*needs \(16, 256, 1, 1\)": {
            "layer2.0.conv1.weight": torch.zeros(16, 128, 1, 1)
        },
        r"NaN or infinity in layer2\.0\.bn1\.bias": {"layer2.0.bn1.bias": torch.full((16,), torch.nan)},
        r"must be positive, are not in bn1\.running_var": {"bn1.running_var": -query["bn1.running_var"]},
        r"need float32 tensors, got conv1\.weight \(torch\.float64\)": {"conv1.weight": query["conv1.weight"].double()},
        r"nor is known to be safe to drop: state_dict/module\.encoder_q\.layer1\.3": {"layer1.3.x": torch.ones(1)},
    }
    for message, change in changes.items():
        refused(tmp_path, {"state_dict": prefixed(moco, query | change)}, message)


def test_keys_that_no_rule_covers(tmp_path: Path, networks) -> None:
    state = prefixed("module.encoder_q.", networks[0])
    refused(tmp_path, {"state_dict": state, "ema": {"decay": 0.9}}, "nor is known to be safe to drop: ema")
    extra = {**state, "module.predictor.0.weight": torch.ones(1)}
    refused(tmp_path, {"state_dict": extra}, r"safe to drop: state_dict/module\.predictor\.0\.weight")
    twice = {**state, "encoder_q.conv1.weight": state["module.encoder_q.conv1.weight"]}
    refused(tmp_path, {"state_dict": twice}, r"holds conv1\.weight twice")


def test_nothing_is_replaced_unasked(tmp_path: Path, networks) -> None:
    bare_torchvision(tmp_path / "a.pth", *networks)
    (tmp_path / "b.pkl").write_text("mine")
    with pytest.raises(InputError, match=r"b\.pkl exists\. .*--overwrite"):
        convert(tmp_path / "a.pth", tmp_path / "b.pkl", "detectron2")
    (tmp_path / "c.pkl.json").write_text("mine")
    with pytest.raises(InputError, match=r"c\.pkl\.json exists"):
        convert(tmp_path / "a.pth", tmp_path / "c.pkl", "detectron2")
    with pytest.raises(InputError, match="the same file"):
        convert(tmp_path / "a.pth", tmp_path / "a.pth", "torchvision", overwrite=True)
    broken = networks[0] | {"bn1.bias": torch.full((64,), torch.nan)}
    bare_torchvision(tmp_path / "broken.pth", broken, broken)
    with pytest.raises(InputError, match="NaN"):
        convert(tmp_path / "broken.pth", tmp_path / "b.pkl", "detectron2", overwrite=True)
    assert (tmp_path / "b.pkl").read_text() == "mine"
    convert(tmp_path / "a.pth", tmp_path / "b.pkl", "detectron2", overwrite=True)
    assert read_backbone(tmp_path / "b.pkl").depth == 50
    assert Counter(path.name for path in tmp_path.iterdir()) == Counter(
        ["a.pth", "b.pkl", "b.pkl.json", "c.pkl.json", "broken.pth"]
    ), "no temporary file stays behind"


def test_the_command_line(tmp_path: Path, networks, capsys) -> None:
    source, destination = str(tmp_path / "a.pth"), str(tmp_path / "b.pth")
    bare_torchvision(tmp_path / "a.pth", *networks)
    assert main([source, str(tmp_path / "b.npz"), "--to", "detectron2"]) == 1
    assert "must end in .pkl" in capsys.readouterr().err
    assert main([str(tmp_path / "none.pth"), destination, "--to", "torchvision"]) == 1
    assert "none.pth cannot be read: No such file" in capsys.readouterr().err
    assert main([source, destination, "--to", "torchvision", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "b.pth.json").read_text())
    with pytest.raises(SystemExit, match="2"):
        main([source, destination])
    assert "--to" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert all(layout.name in shown for layout in LAYOUTS)
