"""Backbone weights into a detector, and the proof that every one of them arrived.

detectron2's checkpointer only warns about weights that find no place: a file with the wrong names trains a detector
from random initialisation, without an error and at a loss of 20 AP. So each trunk tensor of the built model, of either
engine, is compared with the file.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import nn

from clsa.configs.command import InputError
from clsa.convert.backbone_file import Backbone, read_backbone, torchvision_name

from .config import value_of

STAGES = ("stem", "res2", "res3", "res4", "res5")

#: What torchvision's and all self-supervised PyTorch recipes normalise with, on 0..255, in the order R, G, B.
PIXEL_MEAN = (123.675, 116.280, 103.530)
PIXEL_STD = (58.395, 57.120, 57.375)


def check_pixel_settings(cfg: CfgNode) -> None:
    """Refuse a config that would feed PyTorch-trained weights with other pixels than they were trained on.

    Each of these four settings, when wrong, lowers AP without any error.

    Raises:
        InputError: naming the key and the value to set.
    """
    if cfg.INPUT.FORMAT != "RGB":
        raise InputError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}, but the weights were trained on RGB: set it to RGB")
    for key, wanted in (("PIXEL_MEAN", PIXEL_MEAN), ("PIXEL_STD", PIXEL_STD)):
        got = cfg.MODEL[key]
        if len(got) != 3 or any(abs(a - b) > 0.01 for a, b in zip(got, wanted, strict=True)):
            raise InputError(
                f"MODEL.{key} is {list(got)}, but the weights were trained with {list(wanted)} (on 0..255, RGB): "
                f'set MODEL.{key} "{list(wanted)}"'
            )
    if cfg.MODEL.RESNETS.STRIDE_IN_1X1:
        raise InputError(
            "MODEL.RESNETS.STRIDE_IN_1X1 is True, which is for Caffe2's weights; PyTorch-trained ones stride in the "
            "3x3 convolution: set it to False"
        )


def check_architecture(cfg: CfgNode, backbone: Backbone) -> None:
    """Refuse a config whose trunk has another depth or other widths than the weights.

    Raises:
        InputError: naming the keys and the values to set.
    """
    wanted = {key: value_of(cfg, key) for key in backbone.architecture.detector_keys}
    if wanted != backbone.architecture.detector_keys:
        keys = " ".join(f"{key} {value}" for key, value in backbone.architecture.detector_keys.items())
        raise InputError(
            f"{backbone.path} holds a {backbone.architecture}, the config wants another: it has "
            f"{', '.join(f'{key} {value}' for key, value in wanted.items())}. Set {keys}"
        )


def load_backbone(model: nn.Module, path: str | Path, cfg: CfgNode) -> int:
    """Read a backbone file and copy it into the trunk of a model of the torchvision engine, all of it or nothing.

    Returns:
        The number of tensors, see :func:`verify_loaded`.

    Raises:
        InputError: the config's pixels are not the weights' (see :func:`check_pixel_settings`), the file cannot be used
            (see ``read_backbone``), or it is the trunk of another architecture.
    """
    check_pixel_settings(cfg)
    backbone = read_backbone(path)
    check_architecture(cfg, backbone)
    places = trunk_tensors(model)
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(backbone.state[name])
    return verify_loaded(model, backbone)


def verify_loaded(model: nn.Module, backbone: Backbone) -> int:
    """Compare every trunk tensor of a built model, of either engine, with the file, bit for bit.

    Returns:
        The number of tensors, all of them equal: 265 for a ResNet-50.

    Raises:
        InputError: saying which tensors have no place, which places have no tensor, which values differ.
    """
    places = trunk_tensors(model)
    problems = _name_problems(places, backbone)
    problems += [
        f"{name} has other values"
        for name, place in places.items()
        if name in backbone.state
        and place.shape == backbone.state[name].shape
        and not torch.equal(place.cpu(), backbone.state[name])
    ]
    if problems:
        raise InputError(
            f"the model does not hold the weights of {backbone.path} "
            f"({len(backbone.state)} tensors of a ResNet-{backbone.depth}). {_summary(problems)}"
        )
    return len(places)


def trunk_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and BN statistics of a detector's ResNet trunk, by torchvision's names; the model's own storage.

    Works on both engines and on models wrapped for distributed training: stem, res2 .. res5 are found by their names,
    wherever they hang (a C4 detector keeps res5 in its ROI heads). The extra norm after res5 is not of the trunk.
    """
    found: dict[str, torch.Tensor] = {}
    for module in model.modules():
        for stage, child in module.named_children():
            if stage in STAGES:
                found.update(_stage_tensors(stage, child))
    return found


def _stage_tensors(stage: str, module: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    for name, tensor in module.state_dict().items():
        if name.startswith("norm.") or name.endswith("num_batches_tracked"):
            continue
        if "norm" in name or "shortcut" in name:
            yield torchvision_name(f"{stage}.{name}"), tensor
        else:
            yield (name if stage == "stem" else f"layer{int(stage[3:]) - 1}.{name}"), tensor


def _name_problems(places: dict[str, torch.Tensor], backbone: Backbone) -> list[str]:
    problems = [f"{name} of the file has no place in the model" for name in backbone.state if name not in places]
    for name, place in places.items():
        if name not in backbone.state:
            problems.append(f"{name} of the model is not in the file")
        elif place.shape != backbone.state[name].shape:
            problems.append(
                f"{name} is {tuple(backbone.state[name].shape)} in the file, {tuple(place.shape)} in the model"
            )
    return problems


def _summary(problems: list[str]) -> str:
    more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f"{len(problems)} tensors disagree: {'; '.join(problems[:5])}{more}."
