"""One checkpoint into one backbone file: complete and proven, or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import sha256_of_file

from .architecture import Architecture, recognise_architecture
from .backbone_file import SUFFIXES, Target, check_suffix, manifest_path, read_manifest, write_backbone
from .proof import check_values, untrained_norms
from .safe_reading import read_file
from .sources import flatten, recognise_layout, sort_keys


@dataclass(frozen=True)
class Conversion:
    """What was converted. ``warnings``: sentences that the user must see."""

    architecture: Architecture
    manifest: dict[str, Any]
    warnings: list[str]


def convert(source: str | Path, destination: str | Path, target: Target, overwrite: bool = False) -> Conversion:
    """Convert a checkpoint into ``destination`` and its manifest ``<destination>.json``.

    Args:
        source: our checkpoint, MoCo's or CLSA's, a bare torchvision state dict, or a detectron2 ``.pkl``.
        destination: ``.pkl`` for detectron2, ``.pth`` or ``.safetensors`` for torchvision.
        overwrite: replace an existing destination.

    Raises:
        InputError: anything that keeps the result from being complete, proven and new. No file is written then.
    """
    source, destination = Path(source), Path(destination)
    check_suffix(destination, target)
    _check_free(source, destination, overwrite)
    _, content = read_file(source)
    flat = flatten(content, str(source))
    layout = recognise_layout(flat, str(source))
    keys = sort_keys(flat, layout, str(source))
    architecture = recognise_architecture({**keys.trunk, **keys.left}, str(source))
    check_values(keys.trunk, str(source))
    digest = sha256_of_file(source)
    earlier = read_manifest(source, digest) if layout.name in SUFFIXES else None  # SRC is a backbone file itself
    dropped = [{"rule": rule, "keys": names} for rule, names in keys.dropped.items()]
    manifest = write_backbone(
        destination,
        keys.trunk,
        target,
        {
            "source": {
                "file": str(source),
                "sha256": digest,
                "format": layout.name,
                **_origin(content, earlier),
            },
            "counts": {
                "source": len(flat),
                "used": len(keys.trunk),
                "dropped": sum(len(rule["keys"]) for rule in dropped),
            },
            "dropped": dropped,
        },
    )
    return Conversion(architecture, manifest, _warnings(keys.trunk))


def _check_free(source: Path, destination: Path, overwrite: bool) -> None:
    if destination.exists() and source.exists() and destination.samefile(source):
        raise InputError(f"SRC and DST are the same file, {source}; give DST another name")
    taken = next((path for path in (destination, manifest_path(destination)) if path.exists()), None)
    if taken is not None and not overwrite:
        raise InputError(f"{taken} exists. Give another name, or --overwrite to replace it.")


def _origin(content: Mapping[str, Any], manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of the training: from the checkpoint, or from the manifest of a file that was converted before."""
    known = manifest["source"] if manifest else content
    found = {key: known.get(key) for key in ("method", "iteration", "epoch")}
    return {key: value if isinstance(value, (str, int)) else None for key, value in found.items()}


def _warnings(trunk: Mapping[str, torch.Tensor]) -> list[str]:
    initial, norms = untrained_norms(trunk)
    if not initial:
        return []
    return [f"the weights look untrained: {initial} of {norms} batch norms hold mean 0 and variance 1, as they begin"]
