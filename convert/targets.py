"""Whose names and file format a backbone can be written in, and how such a file is told from others.

===========  =====================  ============================================================================
target       suffix                 content
===========  =====================  ============================================================================
detectron2   .pkl, .pth             ``{"model": {name: array or tensor}, "__author__", "matching_heuristics": True}``
torchvision  .pth, .safetensors     a bare state dict in torchvision's names, without ``fc``
timm         .pth, .safetensors     the same: timm's ResNets have torchvision's names
openmmlab    .pth                   ``{"meta", "state_dict": {"backbone." + torchvision's name: tensor}}``
===========  =====================  ============================================================================

``.pkl`` holds NumPy arrays, all others tensors. No target takes the counters ``num_batches_tracked``: every one of
these libraries fills them in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch

from clsa.configs.command import InputError

from .architecture import COUNTER, STANDARD_WIDTH, Architecture
from .names import detectron2_name, torchvision_name
from .numpy_pickle import as_tensor, dump_arrays

TargetName = Literal["detectron2", "torchvision", "timm", "openmmlab"]

AUTHOR = "clsa-convert"  # any but "Caffe2", or detectron2 would rename the tensors once more
_BACKBONE = "backbone."


@dataclass(frozen=True)
class Target:
    """One way of writing a backbone.

    Attributes:
        suffixes: of its files; the first is the usual one.
        rename: torchvision's name -> the target's.
        restore: the target's name -> torchvision's; an ``InputError`` for what is no trunk tensor.
        envelope: the renamed tensors -> what the file holds.
        builds: whether the library that reads the file has the ResNet that it is for.
    """

    suffixes: tuple[str, ...]
    rename: Callable[[str], str]
    restore: Callable[[str], str]
    envelope: Callable[[dict[str, Any]], dict[str, Any]]
    builds: Callable[[Architecture], bool]


def _unprefixed(name: str) -> str:
    if not name.startswith(_BACKBONE):
        raise InputError(f"{name!r} is not a tensor of the backbone")
    return name.removeprefix(_BACKBONE)


def _begins_with_64(network: Architecture) -> bool:
    """torchvision and timm: the bottlenecks' width is free, all else follows from a stem of 64 channels."""
    return network.stem_channels == network.base_channels == STANDARD_WIDTH


TARGETS: dict[TargetName, Target] = {
    "detectron2": Target(
        suffixes=(".pkl", ".pth"),
        rename=detectron2_name,
        restore=torchvision_name,
        envelope=lambda tensors: {"model": tensors, "__author__": AUTHOR, "matching_heuristics": True},
        builds=lambda _: True,  # STEM_OUT_CHANNELS, RES2_OUT_CHANNELS and WIDTH_PER_GROUP are free
    ),
    "torchvision": Target((".pth", ".safetensors"), str, str, dict, _begins_with_64),
    "timm": Target((".pth", ".safetensors"), str, str, dict, _begins_with_64),
    "openmmlab": Target(
        suffixes=(".pth",),
        rename=lambda name: f"{_BACKBONE}{name}",
        restore=_unprefixed,
        envelope=lambda tensors: {"meta": {"author": AUTHOR}, "state_dict": tensors},
        builds=lambda network: network.res2_channels % network.width_per_group == 0,  # mmpretrain: their ratio, whole
    ),
}


def check_suffix(path: str | Path, target: str) -> None:
    """Raise an ``InputError`` when the file name does not end as ``target``'s files do: readers go by the suffix."""
    if target not in TARGETS:
        raise InputError(f"unknown target {target!r}; choose one of {', '.join(TARGETS)}")
    suffixes = TARGETS[target].suffixes
    if Path(path).suffix not in suffixes:
        raise InputError(f"{path}: a file for {target} must end in {' or '.join(suffixes)}")


def check_buildable(architecture: Architecture, target: TargetName) -> None:
    """Raise an ``InputError`` when no network of the target's own library could load the file."""
    if not TARGETS[target].builds(architecture):
        others = " or ".join(name for name, entry in TARGETS.items() if entry.builds(architecture))
        raise InputError(
            f"{target} builds no {architecture}: nothing of it could load the file. Convert it --to {others}."
        )


def write_tensors(path: Path, state: Mapping[str, torch.Tensor], target: TargetName) -> None:
    """Write ``state`` (torchvision's names, row-major tensors on the CPU) into a new file as ``target`` has it."""
    renamed = {TARGETS[target].rename(name): tensor for name, tensor in state.items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(renamed, path, metadata={"format": "pt"})
        return
    with path.open("wb") as file:
        if path.suffix == ".pkl":
            arrays = {name: tensor.numpy() for name, tensor in renamed.items()}
            dump_arrays(TARGETS[target].envelope(arrays), file)
        else:
            torch.save(TARGETS[target].envelope({name: _alone(tensor) for name, tensor in renamed.items()}), file)


def target_of(content: Any) -> TargetName | None:
    """Which target's file ``content`` is, by its shape alone; None for a checkpoint that has to be converted first.

    A file for timm is torchvision's: the two cannot be told apart and need not be.
    """
    if not isinstance(content, Mapping):
        return None
    model = content.get("model")
    if _maps_names_to_tensors(model) and ("stem.conv1.weight" in model or "__author__" in content):
        return "detectron2"
    state = content.get("state_dict")
    if _maps_names_to_tensors(state) and all(name.startswith(_BACKBONE) for name in state):
        return "openmmlab"
    is_bare = "conv1.weight" in content or not any(str(name).endswith(".conv1.weight") for name in content)
    return "torchvision" if is_bare and _maps_names_to_tensors(content) else None


def trunk_of(content: Mapping[str, Any], target: TargetName) -> dict[str, torch.Tensor]:
    """The tensors in ``target``'s file by torchvision's names, without ``fc`` and counters where they may be there.

    Raises:
        InputError: the file holds more than a backbone; the first such name.
    """
    if target == "detectron2":
        return {torchvision_name(name): as_tensor(value) for name, value in content["model"].items()}
    state = content["state_dict"] if target == "openmmlab" else content
    named = {TARGETS[target].restore(name): as_tensor(value) for name, value in state.items()}
    return {
        name: tensor for name, tensor in named.items() if not (name.startswith("fc.") or name.endswith(f".{COUNTER}"))
    }


def _maps_names_to_tensors(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, (torch.Tensor, np.ndarray)) for k, v in value.items())
    )


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """A clone of what views a larger storage, which ``torch.save`` would write as a whole."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size() else tensor.clone()
