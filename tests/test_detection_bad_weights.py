"""Files that detectron2 loads without an error and yet not at all: verify_loaded finds each of them, C4 and FPN."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from clsa.configs.command import InputError
from clsa.configs.loading import PACKAGED
from clsa.convert.backbone_file import Backbone, build_trunk, detectron2_name, read_backbone, write_backbone
from clsa.detection.load_weights import verify_loaded

pytest.importorskip("detectron2", reason="detectron2 is not installed: its checkpointer cannot be tried")

WIDTH = 8  # a ResNet-50 of an eighth of the width: the names and the number of tensors are the real ones
KNOWN = {"__author__": "somebody", "matching_heuristics": True}

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def trunk() -> Tensors:
    torch.manual_seed(0)
    state = {n: t for n, t in build_trunk(50, WIDTH).state_dict().items() if "num_batches" not in n}
    for name, tensor in state.items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1:
            tensor.normal_()
    return state


@pytest.fixture(scope="module")
def good(tmp_path_factory, trunk: Tensors) -> Backbone:
    path = tmp_path_factory.mktemp("weights") / "good.pkl"
    write_backbone(path, trunk, "detectron2", {})
    return read_backbone(path)


@pytest.fixture(params=["c4", "fpn"])
def detector(request) -> nn.Module:
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    import clsa.detection.extra_norm_head  # noqa: F401  registers the head

    cfg = get_cfg()
    cfg.merge_from_file(str(PACKAGED / f"detection/base_{request.param}.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.RESNETS.WIDTH_PER_GROUP", WIDTH])
    return build_model(cfg)


def arrays(trunk: Tensors, rename: Callable[[str], str] = detectron2_name) -> dict:
    return {rename(name): tensor.numpy() for name, tensor in trunk.items()}


def torchvision_names(path: Path, trunk: Tensors) -> None:
    path.write_bytes(pickle.dumps({"model": arrays(trunk, str), **KNOWN}))


def no_matching_heuristics(path: Path, trunk: Tensors) -> None:
    path.write_bytes(pickle.dumps({"model": arrays(trunk), "__author__": "somebody"}))


def no_author(path: Path, trunk: Tensors) -> None:
    """Taken for Caffe2's, whose names are then translated once more."""
    path.write_bytes(pickle.dumps(arrays(trunk)))


def no_res5(path: Path, trunk: Tensors) -> None:
    rest = {name: tensor for name, tensor in trunk.items() if not name.startswith("layer4")}
    path.write_bytes(pickle.dumps({"model": arrays(rest), **KNOWN}))


def bare_tensors(path: Path, trunk: Tensors) -> None:
    """What ``torch.save`` of a renamed state dict gives: the names are right and nobody matches their endings."""
    torch.save({detectron2_name(name): tensor for name, tensor in trunk.items()}, path)


def one_value_off(path: Path, trunk: Tensors) -> None:
    changed = {**trunk, "layer4.2.bn3.running_mean": trunk["layer4.2.bn3.running_mean"] + 1e-6}
    path.write_bytes(pickle.dumps({"model": arrays(changed), **KNOWN}))


BAD = {
    # file -> (its writer, its suffix, trunk tensors of 265 that are not in the model)
    "torchvision's names": (torchvision_names, ".pkl", 264),
    "no matching_heuristics": (no_matching_heuristics, ".pkl", 265),
    "no author": (no_author, ".pkl", 106),
    "no res5": (no_res5, ".pkl", 50),
    "bare tensors": (bare_tensors, ".pth", 265),
    "one value off": (one_value_off, ".pkl", 1),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_found(tmp_path: Path, trunk: Tensors, good: Backbone, detector: nn.Module, name: str) -> None:
    from detectron2.checkpoint import DetectionCheckpointer

    write, suffix, missing = BAD[name]
    write(tmp_path / f"bad{suffix}", trunk)
    DetectionCheckpointer(detector).load(str(tmp_path / f"bad{suffix}"))  # no error: at most warnings
    with pytest.raises(
        InputError, match=rf"265 tensors of a ResNet-50\)\. {missing} tensors disagree: \S+ has other val"
    ):
        verify_loaded(detector, good)


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_the_good_one_passes(tmp_path: Path, trunk: Tensors, good: Backbone, detector: nn.Module, suffix: str) -> None:
    from detectron2.checkpoint import DetectionCheckpointer

    write_backbone(tmp_path / f"good{suffix}", trunk, "detectron2", {})
    DetectionCheckpointer(detector).load(str(tmp_path / f"good{suffix}"))
    assert verify_loaded(detector, good) == 265
