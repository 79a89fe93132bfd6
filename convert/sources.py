"""The layouts of checkpoints that can be converted: how each is recognised, which keys are the trunk, what is dropped.

A checkpoint is first flattened: a dictionary of tensors inside it gives ``outer/inner`` keys
(``state_dict/module.encoder_q.conv1.weight``), everything else is one key (``optimizer``, ``epoch``). Every flat key
must then be a trunk tensor or fall under one of the layout's named rules; a key that does neither stops the conversion,
for it may be a part of the network that nobody has thought of.

Another layout is another entry of :data:`LAYOUTS`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clsa.configs.command import InputError

from .architecture import COUNTER, first
from .names import detectron2_name, torchvision_name


@dataclass(frozen=True)
class Layout:
    """One way of laying out a checkpoint.

    Attributes:
        name: as the manifest names it.
        documented: where the layout can be read in public.
        signature: the checkpoint is of this layout if this matches the whole of one of its flat keys.
        prefix: what stands before the name of a trunk tensor.
        rename: the rest of the key -> torchvision's name; an ``InputError`` for what is not a trunk tensor.
        drops: name of a rule -> which flat keys it drops (whole matches), in the order in which they are tried.
    """

    name: str
    documented: str
    signature: str
    prefix: str
    rename: Callable[[str], str]
    drops: Mapping[str, str]


@dataclass(frozen=True)
class SortedKeys:
    """Every key of a checkpoint in its place.

    Attributes:
        trunk: torchvision's name -> tensor.
        dropped: rule -> flat keys.
        left: flat key -> what it holds, for the keys that no rule covers.
    """

    trunk: dict[str, Any]
    dropped: dict[str, list[str]]
    left: dict[str, Any]


def _same_name(name: str) -> str:
    detectron2_name(name)  # raises for what is not a trunk tensor
    return name


_COUNTERS = rf".*\.{COUNTER}"
_MOCO = r"state_dict/(?:module\.)?"  # module. is DistributedDataParallel's

LAYOUTS = (
    Layout(
        name="clsa-pretrain",
        documented="this repository, pretrain/",
        signature=r"query/backbone\.conv1\.weight",
        prefix=r"query/backbone\.",
        rename=_same_name,
        drops={
            "head": r"query/head\..*",
            "batch counters": rf"query/{_COUNTERS}",
            "key network": r"key(/.*)?",
            "queue": r"queue.*",
            "optimizer": r"(optimizer|scaler|scheduler)(/.*)?",
            "training state": r"(?!query/).*",  # positions, random states, config: no weights by our own definition
        },
    ),
    Layout(
        name="moco",
        documented="facebookresearch/moco main_moco.py and moco/builder.py (v1, v2); "
        "maple-research-lab/CLSA training/main_worker.py and model/CLSA.py",
        signature=rf"{_MOCO}encoder_q\..*",
        prefix=rf"{_MOCO}encoder_q\.",
        rename=_same_name,
        drops={
            "head": rf"{_MOCO}encoder_q\.fc\..*",
            "batch counters": rf"{_MOCO}encoder_q{_COUNTERS}",
            "key network": rf"{_MOCO}encoder_k\..*",
            "queue": rf"{_MOCO}queue(_ptr)?",
            "optimizer": r"optimizer(/.*)?",
            "bookkeeping": r"epoch|arch|best_acc1?",
        },
    ),
    Layout(
        name="torchvision",
        documented="pytorch/vision torchvision/models/resnet.py",
        signature=r"conv1\.weight",
        prefix=r"",
        rename=_same_name,
        drops={"head": r"fc\..*", "batch counters": _COUNTERS},
    ),
    Layout(
        name="detectron2",
        documented="facebookresearch/detectron2 checkpoint/detection_checkpoint.py; "
        "facebookresearch/moco detection/convert-pretrain-to-detectron2.py",
        signature=r"model/stem\.conv1\.weight",
        prefix=r"model/",
        rename=torchvision_name,
        drops={
            "head": r"model/stem\.fc\..*",  # MoCo's script leaves it in
            "batch counters": rf"model/{_COUNTERS}",
            "bookkeeping": r"__author__|matching_heuristics",
        },
    ),
)


def flatten(content: Any, origin: str) -> dict[str, Any]:
    """Flat key -> tensor or whatever else stands there; arrays become tensors.

    Raises:
        InputError: ``content`` is no dictionary.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{origin} holds a {type(content).__name__}, need a dictionary with the tensors of a network")
    flat: dict[str, Any] = {}
    for outer, value in content.items():
        entries = _tensors_of(value) if isinstance(value, Mapping) else None
        if entries is None:
            flat[str(outer)] = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        else:
            flat.update({f"{outer}/{inner}": tensor for inner, tensor in entries.items()})
    return flat


def _tensors_of(value: Mapping) -> dict[str, torch.Tensor] | None:
    entries = {key: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for key, v in value.items()}
    return entries if entries and all(isinstance(v, torch.Tensor) for v in entries.values()) else None


def recognise_layout(flat: Mapping[str, Any], origin: str) -> Layout:
    """The one layout whose signature is among the keys; an ``InputError`` with the first keys if there is none."""
    found = [layout for layout in LAYOUTS if any(re.fullmatch(layout.signature, key) for key in flat)]
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"{layout.name} ({layout.documented})" for layout in LAYOUTS)
    what = "of no layout that is known here" if not found else f"ambiguous: {' and '.join(l.name for l in found)}"
    raise InputError(f"{origin} is {what}. It holds {first(flat)}. Need the checkpoint of a ResNet in one of: {known}.")


def sort_keys(flat: Mapping[str, Any], layout: Layout, origin: str) -> SortedKeys:
    """Put every flat key in its place: trunk, dropped by a named rule, or left over.

    Raises:
        InputError: two keys that claim the same trunk tensor.
    """
    result = SortedKeys({}, {}, {})
    for key, value in flat.items():
        name = _trunk_name(key, layout) if isinstance(value, torch.Tensor) else None
        if name in result.trunk:
            raise InputError(f"{origin} holds {name} twice, once as {key}: which one is meant?")
        if name is not None:
            result.trunk[name] = value
            continue
        rule = next((rule for rule, pattern in layout.drops.items() if re.fullmatch(pattern, key)), None)
        if rule is None:
            result.left[key] = value
        else:
            result.dropped.setdefault(rule, []).append(key)
    return result


def _trunk_name(key: str, layout: Layout) -> str | None:
    prefix = re.match(layout.prefix, key)
    if prefix is None:
        return None
    try:
        return layout.rename(key[prefix.end() :])
    except InputError:
        return None
