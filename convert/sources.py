"""A checkpoint's keys, each put in its place: trunk, dropped by a named rule, or left over.

A checkpoint is first flattened: a dictionary of tensors inside it gives ``outer/inner`` keys
(``state_dict/module.encoder_q.conv1.weight``), everything else is one key (``optimizer``, ``epoch``). Every flat key
must then be a trunk tensor or fall under one of the layout's named rules; a key that does neither stops the conversion,
for it may be a part of the network that nobody has thought of.

Another layout is another entry in ``layouts/``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from clsa.configs.command import InputError

from .architecture import COUNTER, first
from .layouts.layout import TRAINING_STATE, Layout
from .layouts.methods import METHODS
from .layouts.plain import PLAIN
from .layouts.toolboxes import TOOLBOXES
from .numpy_pickle import as_tensor

LAYOUTS = (*PLAIN, *METHODS, *TOOLBOXES)

#: VISSL has its trunk four dictionaries deep.
DEEPEST = 6


@dataclass(frozen=True)
class SortedKeys:
    """Every key of a checkpoint in its place.

    Attributes:
        trunk: torchvision's name -> tensor.
        dropped: rule -> flat keys.
        left: flat key -> what it holds, for the keys that no rule covers.
        other: torchvision's name -> tensor of the second network, where the checkpoint holds one (its keys are among
            ``dropped``).
    """

    trunk: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)


def flatten(content: Any, origin: str) -> dict[str, Any]:
    """Flat key -> tensor or whatever else stands there; arrays become tensors.

    Raises:
        InputError: ``content`` is no dictionary; two entries whose flat keys are the same.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{origin} holds a {type(content).__name__}, need a dictionary with the tensors of a network")
    flat: dict[str, Any] = {}
    for key, value in _entries("", content, DEEPEST):
        if key in flat:
            raise InputError(f"{origin} holds {key} twice: which one is meant?")
        flat[key] = as_tensor(value)
    return flat


def _entries(outer: str, value: Mapping, depth: int) -> Iterable[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and _leads_to_tensors(inner, depth - 1):
            yield from _entries(f"{outer}{name}/", inner, depth - 1)
        else:
            yield f"{outer}{name}", inner


def _leads_to_tensors(value: Mapping, depth: int) -> bool:
    """Whether ``value`` is a state dict, all tensors under names, or some mapping under a name in it leads to one."""
    if not value or depth == 0 or not all(isinstance(name, str) for name in value):
        return False
    if all(isinstance(inner, (torch.Tensor, np.ndarray)) for inner in value.values()):
        return True
    return any(isinstance(inner, Mapping) and _leads_to_tensors(inner, depth - 1) for inner in value.values())


def recognise_layout(flat: Mapping[str, Any], origin: str, forced: str | None = None) -> Layout:
    """The one layout whose signature is among the keys, or the one that the user names.

    Raises:
        InputError: none or several, with the first keys; ``forced`` is no layout's name.
    """
    names = ", ".join(layout.name for layout in LAYOUTS)
    if forced is not None:
        if found := [layout for layout in LAYOUTS if layout.name == forced]:
            return found[0]
        raise InputError(f"--from {forced}: no such layout. Choose one of {names}.")
    found = [layout for layout in LAYOUTS if _is_laid_out(flat, layout)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{origin} is laid out like {' and like '.join(layout.name for layout in found)}: say which one with --from"
        )
    raise InputError(
        f"{origin} is of no layout that is known here. It holds {first(flat)}. Need the checkpoint of a ResNet in one "
        f"of: {names} (clsa-convert --help says where each is documented)."
    )


def _is_laid_out(flat: Mapping[str, Any], layout: Layout) -> bool:
    def some_key(pattern: str) -> bool:
        matches = re.compile(pattern).fullmatch
        return any(matches(key) for key in flat)

    return all(map(some_key, layout.signature)) and not any(map(some_key, layout.without))


def sort_keys(flat: Mapping[str, Any], layout: Layout, origin: str) -> SortedKeys:
    """Put every flat key in its place.

    Raises:
        InputError: two keys that claim the same trunk tensor; a second copy of the network that is none.
    """
    result = SortedKeys()
    copies: dict[str, Any] = {}
    rules = {**layout.drops, "batch counters": rf"{layout.prefix}.*\.{COUNTER}"}
    rules |= {rule: pattern for rule, pattern in TRAINING_STATE.items() if rule not in rules}
    for key, value in flat.items():
        name = _trunk_name(key, layout.prefix, layout, value)
        if name in result.trunk:
            raise InputError(f"{origin} holds {name} twice, once as {key}: which one is meant?")
        if name is not None:
            result.trunk[name] = value
            continue
        rule = next((rule for rule, pattern in rules.items() if re.fullmatch(pattern, key)), None)
        if rule is None:
            result.left[key] = value
            continue
        result.dropped.setdefault(rule, []).append(key)
        for prefix, found in ((layout.other, result.other), (layout.same, copies)):
            if prefix is not None and (name := _trunk_name(key, prefix, layout, value)) is not None:
                found[name] = value
    differing = [name for name, copy in copies.items() if not _equal(copy, result.trunk.get(name))]
    if differing:
        raise InputError(f"{origin} holds two versions of {first(differing)}, which {layout.name} repeats: damaged?")
    return result


def networks_differ(keys: SortedKeys) -> bool:
    """Whether the checkpoint holds a second network, and with other weights than the one that is taken."""
    return any(not _equal(tensor, keys.trunk.get(name)) for name, tensor in keys.other.items())


def _equal(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.equal(one, other)


def _trunk_name(key: str, prefix: str, layout: Layout, value: Any) -> str | None:
    match = re.match(prefix, key) if isinstance(value, torch.Tensor) else None
    if match is None:
        return None
    try:
        return layout.rename(key[match.end() :])
    except InputError:
        return None
