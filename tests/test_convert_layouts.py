"""Every layout that is known: recognised, and converted completely, from a checkpoint laid out exactly so.

Each checkpoint is built from torchvision's network as its repository would save it: names, nesting, companions.
"""

import argparse
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from clsa.configs.command import InputError
from clsa.convert.architecture import Architecture, build_trunk
from clsa.convert.backbone_file import backbone_hash, detectron2_name, read_backbone
from clsa.convert.conversion import convert
from clsa.convert.inspection import inspect
from clsa.convert.safe_reading import read_file
from clsa.convert.sources import LAYOUTS, flatten, recognise_layout, sort_keys
from clsa.convert.targets import TARGETS, trunk_of

Tensors = dict[str, torch.Tensor]
COUNTERS = {"batch counters": 53}  # of ResNet-50
SEQUENTIAL = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def trained_network(seed: int) -> Tensors:
    """State dict of a narrow ResNet-50 without ``fc``, as if trained: 265 trunk tensors and 53 counters."""
    torch.manual_seed(seed)
    network = build_trunk(50, width_per_group=8)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def one() -> Tensors:
    """The network that has to be taken."""
    return trained_network(0)


@pytest.fixture(scope="module")
def two() -> Tensors:
    """The network beside it: key, teacher, student, target, average."""
    return trained_network(1)


def under(prefix: str, state: Tensors) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def sequential(state: Tensors) -> Tensors:
    """Names in ``nn.Sequential(*list(resnet.children())[:-1])``."""
    return {f"{SEQUENTIAL[n.split('.')[0]]}.{n.split('.', 1)[1]}": tensor for n, tensor in state.items()}


def mlp(prefix: str, norm_at_the_end: bool = False) -> Tensors:
    """A projection head with a norm in its middle: nine entries, twelve with one at the end."""
    layers = [nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4)]
    layers += [nn.BatchNorm1d(4, affine=False)] if norm_at_the_end else []
    return under(prefix, nn.Sequential(*layers).state_dict())  # 1 + 5 + 2 (+ 3)


def linear(prefix: str) -> Tensors:
    return under(prefix, nn.Linear(8, 4).state_dict())


def sgd() -> dict:
    """The optimizer's state after a step."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.03, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def lightning(state: Tensors, **hyper_parameters) -> dict:
    return {
        "epoch": 99, "global_step": 5000, "pytorch-lightning_version": "2.1.2", "state_dict": OrderedDict(state),
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [sgd()],
        "lr_schedulers": [{"last_epoch": 99}], "hparams_name": "cfg", "hyper_parameters": hyper_parameters,
    }  # fmt: skip


LIGHTNING = {"bookkeeping": 7, "optimizer": 2}


def mmengine(state: Tensors) -> dict:
    meta = {"epoch": 200, "iter": 1000, "cfg": "model = dict()", "mmengine_version": "0.10.1"}
    return {"meta": meta, "state_dict": state, "message_hub": {}, "optimizer": sgd(), "param_schedulers": []}


# Each builder gives (content, dropped by which rule, what the other network is called or None).
Built = tuple[object, dict[str, int], str | None]


def moco(one: Tensors, two: Tensors) -> Built:
    state = under("module.encoder_q.", one | mlp("fc.")) | under("module.encoder_k.", two | mlp("fc."))
    state |= {"module.queue": torch.zeros(4, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    content = {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": sgd()}
    rules = {"head": 8, "key network": 326, "queue": 2, "bookkeeping": 2, "optimizer": 1}
    return content, COUNTERS | rules, "key network"


def moco_v3(one: Tensors, two: Tensors) -> Built:
    state = under("module.base_encoder.", one | mlp("fc.", norm_at_the_end=True))
    state |= under("module.momentum_encoder.", two | mlp("fc.", norm_at_the_end=True)) | mlp("module.predictor.")
    content = {"epoch": 300, "arch": "resnet50", "state_dict": state, "optimizer": sgd(), "scaler": {"scale": 65536.0}}
    rules = {"head": 11 + 8, "key network": 318 + 11, "bookkeeping": 2, "optimizer": 2}
    return content, COUNTERS | rules, "key network"


def simsiam(one: Tensors, two: Tensors) -> Built:
    state = under("module.encoder.", one | mlp("fc.", norm_at_the_end=True)) | mlp("module.predictor.")
    content = {"epoch": 100, "arch": "resnet50", "state_dict": state, "optimizer": sgd()}
    return content, COUNTERS | {"head": 11 + 8, "bookkeeping": 2, "optimizer": 1}, None


def swav(one: Tensors, two: Tensors) -> Built:
    """As released: the bare state dict, under ``module.``."""
    state = one | mlp("projection_head.") | {"prototypes.weight": torch.zeros(4, 4)}
    return under("module.", state), COUNTERS | {"head": 8, "prototypes": 1}, None


def swav_while_training(one: Tensors, two: Tensors) -> Built:
    state, rules, _ = swav(one, two)
    content = {"epoch": 800, "state_dict": state, "optimizer": sgd(), "amp": {"loss_scaler0": {"loss_scale": 2.0}}}
    return content, rules | {"bookkeeping": 1, "optimizer": 2}, None


def deepcluster_v2(one: Tensors, two: Tensors) -> Built:
    prototypes = {f"prototypes.prototypes{i}.weight": torch.zeros(4, 4) for i in range(3)}
    state = under("module.", one | mlp("projection_head.") | prototypes)
    rules = {"head": 8, "prototypes": 3, "bookkeeping": 1, "optimizer": 1}
    return {"epoch": 800, "state_dict": state, "optimizer": sgd()}, COUNTERS | rules, None


def barlow_twins(one: Tensors, two: Tensors) -> Built:
    norm = nn.BatchNorm1d(4, affine=False).state_dict()
    state = under("module.backbone.", one) | mlp("module.projector.") | under("module.bn.", norm)
    rules = {"head": 8 + 3, "bookkeeping": 1, "optimizer": 1}
    return {"epoch": 1000, "model": state, "optimizer": sgd()}, COUNTERS | rules, None


def vicreg(one: Tensors, two: Tensors) -> Built:
    state = under("module.backbone.", one) | mlp("module.projector.")
    content = {"epoch": 1000, "model": state, "optimizer": sgd()}
    return content, COUNTERS | {"head": 8, "bookkeeping": 1, "optimizer": 1}, None


def dino(one: Tensors, two: Tensors) -> Built:
    """ResNets: the teacher is wrapped too, for the sake of its batch norms. Options are an ``argparse.Namespace``."""
    last = {"head.last_layer.weight_g": torch.ones(4, 1), "head.last_layer.weight_v": torch.ones(4, 4)}
    content = {
        "student": under("module.", under("backbone.", two) | mlp("head.mlp.") | last),
        "teacher": under("module.", under("backbone.", one) | mlp("head.mlp.") | last),
        "optimizer": sgd(), "epoch": 800, "args": argparse.Namespace(arch="resnet50", lr=0.3, local_crops_number=6),
        "dino_loss": {"center": torch.zeros(1, 4)}, "fp16_scaler": {"scale": 1.0},
    }  # fmt: skip
    rules = {"head": 8 + 2, "student network": 318 + 10, "loss": 1, "bookkeeping": 2, "optimizer": 2}
    return content, COUNTERS | rules, "student network"


def pycontrast(one: Tensors, two: Tensors) -> Built:
    content = {
        "model": under("module.encoder.", one) | linear("module.head.0."),
        "model_ema": under("encoder.", two) | linear("head.0."),
        "contrast": {"memory": torch.zeros(4, 8)}, "optimizer": sgd(), "epoch": 200,
    }  # fmt: skip
    rules = {"head": 2, "averaged network": 320, "memory": 1, "bookkeeping": 1, "optimizer": 1}
    return content, COUNTERS | rules, "averaged network"


def pixpro(one: Tensors, two: Tensors) -> Built:
    heads = {"projector.linear1.weight": torch.ones(4, 4, 1, 1), "projector_k.linear1.weight": torch.ones(4, 4, 1, 1)}
    state = under("encoder.", one) | under("encoder_k.", two) | heads | linear("value_transform.")
    content = {
        "opt": argparse.Namespace(arch="resnet50", pixpro_momentum=0.99), "model": under("module.", state),
        "optimizer": sgd(), "scheduler": {"last_epoch": 1}, "epoch": 400,
    }  # fmt: skip
    rules = {"head": 2 + 2, "key network": 318, "bookkeeping": 2, "optimizer": 2}
    return content, COUNTERS | rules, "key network"


def byol(one: Tensors, two: Tensors) -> Built:
    content = {
        "online_network_state_dict": under("encoder.", sequential(one)) | mlp("projetion.net."),
        "target_network_state_dict": under("encoder.", sequential(two)) | mlp("projetion.net."),
        "optimizer_state_dict": sgd(),
    }
    return content, COUNTERS | {"head": 8, "target network": 326, "optimizer": 1}, "target network"


def byol_pytorch(one: Tensors, two: Tensors) -> Built:
    with_fc = one | linear("fc.")
    content = under("net.", with_fc) | under("online_encoder.net.", with_fc) | mlp("online_encoder.projector.")
    content |= mlp("online_predictor.") | under("target_encoder.net.", two | linear("fc."))
    content |= mlp("target_encoder.projector.")
    rules = {"head": 2 + 2 + 8 + 8, "the same network again": 318, "target network": 318 + 2 + 8}
    return content, COUNTERS | rules, "target network"


def ours(one: Tensors, two: Tensors) -> Built:
    content = {
        "format": "clsa-pretrain", "version": 1, "method": "clsa_single", "iteration": 1200, "epoch": 3,
        "query": under("backbone.", one) | mlp("head."), "key": under("backbone.", two) | mlp("head."),
        "queue": {"keys": torch.zeros(8, 4)}, "optimizer": sgd(), "config": {"SEED": 0, "MODEL": {"DEPTH": 50}},
    }  # fmt: skip
    rules = {"head": 8, "key network": 326, "queue": 1, "optimizer": 1, "training state": 6}
    return content, COUNTERS | rules, "key network"


def torchvision_weights(one: Tensors, two: Tensors) -> Built:
    return one | linear("fc."), COUNTERS | {"head": 2}, None


def torchvision_sequential(one: Tensors, two: Tensors) -> Built:
    return sequential(one), COUNTERS, None


def torchvision_references(one: Tensors, two: Tensors) -> Built:
    average = under("module.", two | linear("fc.")) | {"n_averaged": torch.tensor(7)}
    content = {
        "model": one | linear("fc."), "optimizer": sgd(), "lr_scheduler": {"last_epoch": 1}, "epoch": 89,
        "args": argparse.Namespace(model="resnet50"), "model_ema": average,
    }  # fmt: skip
    rules = {"head": 2, "averaged network": 321, "bookkeeping": 2, "optimizer": 2}
    return content, COUNTERS | rules, "averaged network"


def pytorch_examples(one: Tensors, two: Tensors) -> Built:
    content = {
        "epoch": 90, "arch": "resnet50", "state_dict": under("module.", one | linear("fc.")),
        "best_acc1": torch.tensor(76.1), "optimizer": sgd(), "scheduler": {"last_epoch": 90},
    }  # fmt: skip
    return content, COUNTERS | {"head": 2, "bookkeeping": 3, "optimizer": 2}, None


def detectron2_pickle(one: Tensors, two: Tensors) -> Built:
    """As MoCo's script writes it, with the head."""
    model = {detectron2_name(n): t.numpy() for n, t in one.items() if "num_batches" not in n}
    model["stem.fc.0.weight"] = np.zeros((2, 2), np.float32)
    return {"model": model, "__author__": "MOCO", "matching_heuristics": True}, {"head": 1, "bookkeeping": 2}, None


def detectron2_pth(one: Tensors, two: Tensors) -> Built:
    """As VISSL's script writes it: tensors, with ``torch.save``."""
    model = {detectron2_name(n): t for n, t in one.items() if "num_batches" not in n}
    return {"model": model, "matching_heuristics": True}, {"bookkeeping": 1}, None


def solo_learn(one: Tensors, two: Tensors) -> Built:
    state = under("backbone.", one) | under("momentum_backbone.", two) | linear("classifier.")
    state |= mlp("projector.") | mlp("momentum_projector.") | mlp("predictor.") | linear("momentum_classifier.")
    state |= {"queue": torch.zeros(2, 4, 8), "queue_ptr": torch.zeros(1, dtype=torch.long)}
    rules = {"head": 2 + 8 + 8 + 8 + 2, "key network": 318, "queue": 2}
    return lightning(state, method="byol", optimizer={"lr": 0.45}), COUNTERS | rules | LIGHTNING, "key network"


def solo_learn_of_old(one: Tensors, two: Tensors) -> Built:
    content = lightning(under("encoder.", one) | linear("classifier.") | mlp("projector."), method="simclr")
    return content, COUNTERS | {"head": 2 + 8} | LIGHTNING, None


def lightly(one: Tensors, two: Tensors) -> Built:
    state = under("backbone.", one) | mlp("projection_head.layers.") | under("key_backbone.", two)
    state |= mlp("key_projection_head.layers.") | linear("online_classifier.classification_head.")
    rules = {"head": 8 + 8 + 2, "second network": 318}
    return lightning(state, batch_size_per_device=256), COUNTERS | rules | LIGHTNING, "second network"


def lightly_sequential(one: Tensors, two: Tensors) -> Built:
    state = under("backbone.", sequential(one)) | mlp("projection_head.layers.")
    state |= under("backbone_momentum.", sequential(two)) | mlp("projection_head_momentum.layers.")
    return lightning(state), COUNTERS | {"head": 16, "second network": 318} | LIGHTNING, "second network"


def lightly_dino(one: Tensors, two: Tensors) -> Built:
    state = under("student_backbone.", sequential(two)) | mlp("student_head.layers.")
    state |= under("teacher_backbone.", sequential(one)) | mlp("teacher_head.layers.")
    state["criterion.center.center"] = torch.zeros(1, 1, 4)
    rules = {"head": 16, "student network": 318, "loss": 1}
    return lightning(state), COUNTERS | rules | LIGHTNING, "student network"


def vissl(one: Tensors, two: Tensors) -> Built:
    """A phase checkpoint of MoCo: the key network is part of the loss."""
    model = {"trunk": under("_feature_blocks.", one), "heads": mlp("0.clf.")}
    classy = {
        "train": True, "base_model": {"model": model, "meta": {"trunk": {}, "heads": []}}, "meters": [],
        "optimizer": {"optim": sgd(), "iteration": 5}, "phase_idx": 199, "losses": [np.float64(1.5)], "hooks": {},
    }  # fmt: skip
    loss = {"queue": torch.zeros(4, 8)} | under("moco_encoder.trunk._feature_blocks.", two)
    content = {
        "phase_idx": 199, "iteration": 5000, "loss": loss, "iteration_num": 10, "train_phase_idx": 199,
        "classy_state_dict": classy, "type": "consolidated",
    }  # fmt: skip
    rules = {"head": 8, "loss": 319, "training state": 7, "bookkeeping": 5}
    return content, COUNTERS | rules, "loss"


def openmmlab(one: Tensors, two: Tensors) -> Built:
    state = under("backbone.", one) | mlp("neck.") | linear("head.fc.")
    state |= under("encoder_k.module.0.", two) | mlp("encoder_k.module.1.") | {"queue": torch.zeros(4, 8)}
    state |= {"encoder_k.steps": torch.tensor(3), "data_preprocessor.mean": torch.zeros(3, 1, 1)}
    rules = {"head": 10, "key network": 318 + 8 + 1, "queue": 1, "preprocessing": 1, "bookkeeping": 2, "optimizer": 2}
    return mmengine(state), COUNTERS | rules, "key network"


def openselfsup(one: Tensors, two: Tensors) -> Built:
    """The backbone stands in the query encoder and, the very same, under a name of its own."""
    state = under("encoder_q.0.", one) | mlp("encoder_q.1.mlp.") | under("encoder_k.0.", two) | under("backbone.", one)
    content = {"meta": {"epoch": 200, "iter": 1}, "state_dict": state, "optimizer": sgd()}
    rules = {"the same network again": 326, "key network": 318, "bookkeeping": 1, "optimizer": 1}
    return content, COUNTERS | rules, "key network"


def openmmlab_extracted(one: Tensors, two: Tensors) -> Built:
    return {"state_dict": one, "author": "MMSelfSup"}, COUNTERS | {"bookkeeping": 1}, None


def timm(one: Tensors, two: Tensors) -> Built:
    content = {
        "epoch": 600, "arch": "resnet50", "state_dict": one | linear("fc."), "optimizer": sgd(), "version": 2,
        "args": argparse.Namespace(model="resnet50", lr=0.5), "amp_scaler": {"scale": 1.0}, "metric": 78.3,
    }  # fmt: skip
    return content, COUNTERS | {"head": 2, "bookkeeping": 5, "optimizer": 2}, None


def timm_ema(one: Tensors, two: Tensors) -> Built:
    content, rules, _ = timm(two, one)
    content["state_dict_ema"] = one | linear("fc.")
    return content, rules | {"trained network": 320}, "trained network"


#: builder -> (name of the layout, how the file is written)
BUILDERS: dict[Callable[[Tensors, Tensors], Built], tuple[str, str]] = {
    ours: ("clsa-pretrain", "pth"),
    moco: ("moco", "pth.tar"),
    moco_v3: ("moco-v3", "pth.tar"),
    simsiam: ("simsiam", "pth.tar"),
    swav: ("swav", "pth.tar"),
    swav_while_training: ("swav", "pth.tar"),
    deepcluster_v2: ("deepcluster-v2", "old pth.tar"),
    barlow_twins: ("barlow-twins", "pth"),
    vicreg: ("vicreg", "pth"),
    dino: ("dino", "pth"),
    pycontrast: ("pycontrast", "old pth"),
    pixpro: ("pixpro", "pth"),
    byol: ("byol", "pth"),
    byol_pytorch: ("byol-pytorch", "pt"),
    torchvision_weights: ("torchvision", "safetensors"),
    torchvision_sequential: ("torchvision-sequential", "pt"),
    torchvision_references: ("torchvision-references", "pth"),
    pytorch_examples: ("pytorch-examples", "pth.tar"),
    detectron2_pickle: ("detectron2", "pkl"),
    detectron2_pth: ("detectron2", "pth"),
    solo_learn: ("solo-learn", "ckpt"),
    solo_learn_of_old: ("solo-learn", "ckpt"),
    lightly: ("lightly", "ckpt"),
    lightly_sequential: ("lightly-sequential", "ckpt"),
    lightly_dino: ("lightly-dino", "ckpt"),
    vissl: ("vissl", "torch"),
    openmmlab: ("openmmlab", "pth"),
    openselfsup: ("openmmlab", "old pth"),
    openmmlab_extracted: ("openmmlab-extracted", "pth"),
    timm: ("timm", "pth.tar"),
    timm_ema: ("timm-ema", "pth.tar"),
}


def write(content: object, folder: Path, manner: str) -> Path:
    path = folder / f"checkpoint.{manner.removeprefix('old ')}"
    if manner == "pkl":
        path.write_bytes(pickle.dumps(content))
    elif manner == "safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=not manner.startswith("old "))
    return path


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_every_layout_is_converted(
    tmp_path: Path, one: Tensors, two: Tensors, build: Callable[[Tensors, Tensors], Built]
) -> None:
    """To every target; of the kinds of file that a target has, another for each layout in turn."""
    name, manner = BUILDERS[build]
    content, rules, other = build(one, two)
    path = write(content, tmp_path, manner)
    trunk = {key: tensor for key, tensor in one.items() if "num_batches" not in key}
    dropped = sum(rules.values())
    expected = [] if other is None else [rf"holds two networks .* differ: took the .*, dropped the {other}"]
    turn = list(BUILDERS).index(build)
    for target, entry in TARGETS.items():
        file = tmp_path / f"{target}{entry.suffixes[turn % len(entry.suffixes)]}"
        conversion = convert(path, file, target)
        manifest = conversion.manifest
        assert manifest["backbone_sha256"] == backbone_hash(trunk)
        assert (manifest["source"]["format"], manifest["target"]) == (name, target)
        assert {rule["rule"]: len(rule["keys"]) for rule in manifest["dropped"]} == rules
        assert manifest["counts"] == {"source": 265 + dropped, "used": 265, "dropped": dropped, "target": 265}
        assert set(manifest["parity"].values()) == {0.0}
        assert len(conversion.warnings) == len(expected)
        assert all(re.search(pattern, text) for pattern, text in zip(expected, conversion.warnings, strict=True))
        restored = trunk_of(read_file(file)[1], target)
        assert restored.keys() == trunk.keys()
        assert all(torch.equal(restored[key], trunk[key]) for key in trunk), "265 of 265"


def test_every_layout_is_tried_above_and_documented() -> None:
    assert {layout.name for layout in LAYOUTS} == {name for name, _ in BUILDERS.values()}
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS) >= 16
    text = (Path(__file__).parent.parent / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    assert [layout.name for layout in LAYOUTS if f"`{layout.name}`" not in text] == []


def test_no_warning_when_the_second_network_is_equal(one: Tensors) -> None:
    content, _, _ = moco(one, one)
    flat = flatten(content, "x")
    keys = sort_keys(flat, recognise_layout(flat, "x"), "x")
    assert keys.other.keys() == keys.trunk.keys()
    assert all(torch.equal(keys.other[name], keys.trunk[name]) for name in keys.trunk)


def test_a_layout_can_be_forced(tmp_path: Path, one: Tensors, two: Tensors) -> None:
    """timm's averaged network is taken where there is one, as timm does; ``--from timm`` takes the trained one."""
    path = write(timm_ema(one, two)[0], tmp_path, "pth")
    for layout, taken in ((None, one), ("timm", two), ("timm-ema", one)):
        convert(path, tmp_path / "out.pth", "torchvision", overwrite=True, layout=layout)
        assert torch.equal(read_backbone(tmp_path / "out.pth").state["conv1.weight"], taken["conv1.weight"])
    with pytest.raises(InputError, match=r"no ResNet of torchvision's kind"):
        convert(path, tmp_path / "other.pth", "torchvision", layout="moco")
    with pytest.raises(InputError, match=r"--from caffe: no such layout\. Choose one of clsa-pretrain, torchvision"):
        convert(path, tmp_path / "other.pth", "torchvision", layout="caffe")


def test_a_copy_that_is_none(one: Tensors, two: Tensors) -> None:
    content, _, _ = openselfsup(one, two)
    content["state_dict"]["encoder_q.0.conv1.weight"] = two["conv1.weight"]
    flat = flatten(content, "x.pth")
    with pytest.raises(InputError, match=r"x\.pth holds two versions of conv1\.weight, which openmmlab repeats"):
        sort_keys(flat, recognise_layout(flat, "x.pth"), "x.pth")


def test_of_two_layouts_at_once(one: Tensors, two: Tensors) -> None:
    content = moco(one, two)[0] | {"teacher": dino(one, two)[0]["teacher"]}
    with pytest.raises(InputError, match=r"laid out like moco and like dino: say which one with --from"):
        recognise_layout(flatten(content, "x"), "x")


def test_half_precision_is_widened_exactly(tmp_path: Path, one: Tensors) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        halves = {n: t.to(dtype) if t.is_floating_point() else t for n, t in one.items()}
        torch.save(halves, tmp_path / "half.pth")
        conversion = convert(tmp_path / "half.pth", tmp_path / "out.pth", "torchvision", overwrite=True)
        taken = read_backbone(tmp_path / "out.pth").state
        assert all(torch.equal(taken[n], halves[n].float()) for n in taken)
        assert set(conversion.manifest["parity"].values()) == {0.0}
        assert conversion.warnings == [
            "265 tensors are stored in half precision; they were widened to float32, which is exact"
        ]


def test_inspection_of_every_layout(tmp_path: Path, one: Tensors, two: Tensors) -> None:
    """One hash for the same weights, however they are laid out; what would be taken and dropped, without writing."""
    hashes = set()
    for build in (moco, dino, vissl, byol, detectron2_pickle, torchvision_weights):
        name, manner = BUILDERS[build]
        content, rules, _ = build(one, two)
        folder = tmp_path / name
        folder.mkdir()
        path = write(content, folder, manner)
        record = inspect(path)
        assert (record["format"], record["trouble"]) == (name, None)
        assert {rule: size["keys"] for rule, size in record["parts"].items()} == {"trunk": 265, **rules}
        assert record["architecture"] == {
            "name": "ResNet-50 of width_per_group 8", **asdict(Architecture(50, 8))
        }  # fmt: skip
        hashes.add(record["backbone_sha256"])
        assert list(folder.iterdir()) == [path]
    assert len(hashes) == 1


class Foreign(dict):
    """A class that nobody here has heard of."""


def test_options_of_foreign_types_are_shown_and_their_classes_never_made(tmp_path: Path, one: Tensors) -> None:
    content = dino(one, one)[0]
    torch.save(content, tmp_path / "dino.pth")
    record = inspect(tmp_path / "dino.pth")
    assert record["options"] == {"arch": "resnet50", "lr": 0.3, "local_crops_number": 6}
    assert record["epoch"] == 800
    _, read = read_file(tmp_path / "dino.pth")
    assert not isinstance(read["args"], argparse.Namespace)
    buffer = io.BytesIO()
    torch.save({"args": Foreign()}, buffer)
    (tmp_path / "foreign.pth").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"asks to import \S*Foreign while it is read\. It was refused"):
        read_file(tmp_path / "foreign.pth")
