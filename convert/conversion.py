"""One checkpoint into one backbone file: complete and proven, or refused."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import sha256_of_file

from .architecture import Architecture, recognise_architecture
from .backbone_file import manifest_path, read_manifest, write_backbone
from .layouts.layout import Layout
from .proof import check_values, untrained_norms
from .safe_reading import read_file
from .sources import SortedKeys, flatten, networks_differ, recognise_layout, sort_keys
from .targets import TARGETS, TargetName, check_suffix
from .training_record import progress

#: Narrower than float32, and exact in it.
HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Conversion:
    """What was converted. ``warnings``: sentences that the user must see."""

    architecture: Architecture
    manifest: dict[str, Any]
    warnings: list[str]


def convert(
    source: str | Path,
    destination: str | Path,
    target: TargetName,
    overwrite: bool = False,
    layout: str | None = None,
) -> Conversion:
    """Convert a checkpoint into ``destination`` and its manifest ``<destination>.json``.

    Args:
        source: a checkpoint in one of ``sources.LAYOUTS``, or the file of any target.
        destination: its suffix as ``targets`` has it.
        overwrite: replace an existing destination.
        layout: the name of the source's layout, where it is not to be recognised from the keys.

    Raises:
        InputError: anything that keeps the result from being complete, proven and new. No file is written then.
    """
    source, destination = Path(source), Path(destination)
    check_suffix(destination, target)
    _check_free(source, destination, overwrite)
    with tempfile.TemporaryDirectory(prefix="clsa-convert-") as scratch:
        architecture, trunk, origin, told = _read(source, layout, Path(scratch) / "float32")
        manifest = write_backbone(destination, trunk, target, origin, consume=True)
    return Conversion(architecture, manifest, told)


def _read(
    source: Path, forced: str | None, scratch: Path
) -> tuple[Architecture, dict[str, torch.Tensor], dict[str, Any], list[str]]:
    """A checkpoint's trunk, nothing else of which stays in memory; what the manifest says of its origin; warnings."""
    _, content = read_file(source)
    flat = flatten(content, str(source))
    layout = recognise_layout(flat, str(source), forced)
    keys = sort_keys(flat, layout, str(source))
    architecture, trunk = complete_trunk(keys, str(source))
    digest = sha256_of_file(source)
    earlier = read_manifest(source, digest) if layout.name in TARGETS else None  # SRC is a backbone file itself
    dropped = [{"rule": rule, "keys": names} for rule, names in keys.dropped.items()]
    origin = {
        "source": {
            "file": str(source),
            "sha256": digest,
            "format": layout.name,
            "network": layout.taken,
            **progress(content, earlier),
        },
        "counts": {
            "source": len(flat),
            "used": len(trunk),
            "dropped": sum(len(rule["keys"]) for rule in dropped),
        },
        "dropped": dropped,
    }
    return architecture, _widened(trunk, scratch), origin, warnings(keys, layout)


def _widened(trunk: dict[str, torch.Tensor], scratch: Path) -> dict[str, torch.Tensor]:
    """Half precision in float32, mapped from the file ``scratch``: memory need hold one widened tensor at a time."""
    halves = [name for name, tensor in trunk.items() if tensor.dtype in HALVES]
    with scratch.open("wb") as file:
        for name in halves:
            file.write(trunk[name].float().contiguous().numpy().data)
    position, widened = 0, dict(trunk)
    for name in halves:
        shape = tuple(trunk[name].shape)
        array = np.memmap(scratch, np.float32, mode="c", offset=position, shape=shape or (1,))
        widened[name] = torch.from_numpy(np.asarray(array)).view(shape)
        position += 4 * trunk[name].numel()
    return widened


def complete_trunk(keys: SortedKeys, origin: str) -> tuple[Architecture, dict[str, torch.Tensor]]:
    """The architecture and the tensors, float32 or narrower, of a trunk that is complete and sound.

    Raises:
        InputError: a tensor that is missing, too many, of another shape or type, not finite; a key without a place.
    """
    architecture = recognise_architecture({**keys.trunk, **keys.left}, origin)
    check_values(keys.trunk, origin, also=HALVES)
    return architecture, keys.trunk


def warnings(keys: SortedKeys, layout: Layout) -> list[str]:
    """What the user must know of the weights that were taken, a sentence each."""
    found = []
    initial, norms = untrained_norms(keys.trunk)
    if initial:
        found.append(
            f"the weights look untrained: {initial} of {norms} batch norms hold mean 0 and variance 1, as they begin"
        )
    if networks_differ(keys):
        rule = next(rule for rule, names in keys.dropped.items() if any(re.match(layout.other, n) for n in names))
        found.append(
            f"the checkpoint holds two networks and their weights differ: took the {layout.taken}, dropped the {rule}"
        )
    if halves := sum(tensor.dtype in HALVES for tensor in keys.trunk.values()):
        found.append(f"{halves} tensors are stored in half precision; they were widened to float32, which is exact")
    return found


def _check_free(source: Path, destination: Path, overwrite: bool) -> None:
    if destination.exists() and source.exists() and destination.samefile(source):
        raise InputError(f"SRC and DST are the same file, {source}; give DST another name")
    taken = next((path for path in (destination, manifest_path(destination)) if path.exists()), None)
    if taken is not None and not overwrite:
        raise InputError(f"{taken} exists. Give another name, or --overwrite to replace it.")
