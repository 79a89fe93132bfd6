"""The backbone weights that the stages hand each other: one file, read and written here and nowhere else.

- target ``"detectron2"``: ``.pkl``, ``{"model": {name: float32 array}, "__author__", "matching_heuristics": True}``,
  which detectron2's checkpointer loads into C4 and FPN models;
- target ``"torchvision"``: ``.pth`` or ``.safetensors``, a bare state dict in torchvision's names, without ``fc``.

Beside a file stands its manifest ``<file>.json``: where the weights come from, what was dropped, the parity figures.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import atomic_write, sha256_of_file, versions, write_json

from .architecture import COUNTER, build_trunk, first, recognise_architecture, trunk_shapes
from .names import detectron2_name, torchvision_name
from .numpy_pickle import dump_arrays
from .proof import check_values, forward_parity
from .safe_reading import KIND_OF_SUFFIX, Kind, read_bytes, read_file

__all__ = ["Backbone", "build_trunk", "detectron2_name", "read_backbone", "torchvision_name", "write_backbone"]

Target = Literal["detectron2", "torchvision"]

MANIFEST_VERSION = 1
AUTHOR = "clsa-convert"  # any but "Caffe2", or detectron2 would rename the tensors once more
SUFFIXES: dict[Target, tuple[str, ...]] = {"detectron2": (".pkl",), "torchvision": (".pth", ".safetensors")}


@dataclass(frozen=True)
class Backbone:
    """A backbone file in memory. ``state``: float32 tensors on the CPU in torchvision's names, the trunk alone."""

    path: Path
    sha256: str
    target: Target
    depth: int
    width_per_group: int
    state: dict[str, torch.Tensor]
    manifest: dict[str, Any] | None


def read_backbone(path: str | Path, target: Target | None = None) -> Backbone:
    """Read a backbone file, or a bare torchvision state dict, whose ``fc`` and BN counters are left aside.

    Args:
        path: ``.pkl`` in detectron2's names, ``.pth`` or ``.safetensors`` in torchvision's.
        target: whose names the file must have, where only one will do (detectron2 itself reads ``.pkl`` alone).

    Raises:
        InputError: not a weights file, unsafe, damaged (see ``safe_reading``); a checkpoint that has to be converted
            first, with the command that does it; the other target's file, likewise; tensors that are not exactly
            the trunk of a ResNet-18, 34, 50, 101 or 152; a manifest that belongs to other bytes.
    """
    path = Path(path)
    kind, content = read_file(path)
    found: Target = "detectron2" if kind == "pickle" else "torchvision"
    if target not in (None, found):
        raise InputError(
            f"{path} holds a backbone in {found}'s names, need {target}'s. "
            f"Convert it: clsa-convert {path} {path.with_suffix(SUFFIXES[target][0])} --to {target}"
        )
    state = _from_detectron2(content, path) if found == "detectron2" else _bare_trunk(content, path)
    architecture = recognise_architecture(state, str(path))
    check_values(state, str(path))
    digest = sha256_of_file(path)
    manifest = read_manifest(path, digest)
    return Backbone(path, digest, found, architecture.depth, architecture.width_per_group, state, manifest)


def write_backbone(
    path: str | Path, state: Mapping[str, torch.Tensor], target: Target, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Prove, then write a backbone file and its manifest. What fails the proof leaves no file.

    The bytes are made, read back, compared tensor by tensor and by a forward pass with ``state``, and only then given
    their name.

    Args:
        path: suffix as the target has it; an existing file is replaced.
        state: the complete trunk, float32, in torchvision's names; no ``fc``, no ``num_batches_tracked``.
        manifest: what is known of the origin: ``source`` (``file``, ``sha256``, ``format``, ``method``,
            ``iteration``), ``counts``, ``dropped``. The rest is filled in.

    Returns:
        The manifest as written to ``<path>.json``.

    Raises:
        InputError: a suffix that does not fit the target; tensors that are not exactly a ResNet's trunk; NaN,
            infinity, a variance that is not positive; a result that does not equal the source.
    """
    path = Path(path)
    check_suffix(path, target)
    origin = f"the backbone for {path}"
    architecture = recognise_architecture(state, origin)
    check_values(state, origin)
    state = {name: _plain(state[name]) for name in trunk_shapes(architecture)}
    content = _serialise(state, target, path.suffix)
    written = _read_back(content, path)
    renamed = {name: detectron2_name(name) if target == "detectron2" else name for name in state}
    if written.keys() != set(renamed.values()) or not all(
        torch.equal(written[new], state[old]) for old, new in renamed.items()
    ):
        raise InputError(f"{origin} does not read back as it was written; nothing was written")
    parity = forward_parity(state, architecture, written, target)
    complete = {
        "format_version": MANIFEST_VERSION,
        "target": target,
        "architecture": {"depth": architecture.depth, "width_per_group": architecture.width_per_group},
        "source": dict(manifest.get("source", {})),
        "sha256": sha256(content).hexdigest(),
        "counts": {**manifest.get("counts", {}), "target": len(written)},
        "dropped": manifest.get("dropped", []),
        "parity": parity,
        "versions": versions(),
    }
    with atomic_write(path) as file:
        file.write(content)
    write_json(manifest_path(path), complete)
    return complete


def manifest_path(path: str | Path) -> Path:
    """``backbone.pkl`` -> ``backbone.pkl.json``."""
    path = Path(path)
    return path.with_name(f"{path.name}.json")


def check_suffix(path: str | Path, target: Target) -> None:
    """Raise an ``InputError`` when the file name does not end as ``target``'s files do: readers go by the suffix."""
    if target not in SUFFIXES:
        raise InputError(f"unknown target {target!r}; choose one of {', '.join(SUFFIXES)}")
    if Path(path).suffix not in SUFFIXES[target]:
        raise InputError(f"{path}: a file for {target} must end in {' or '.join(SUFFIXES[target])}")


def _from_detectron2(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The trunk in torchvision's names from the content of a detectron2 ``.pkl``."""
    model = content.get("model") if isinstance(content, dict) else None
    if not model or not _maps_names_to(np.ndarray, model):
        raise InputError(f'{path} is a pickle without the {{"model": {{name: array}}}} that detectron2 reads')
    try:
        return {torchvision_name(name): torch.from_numpy(array) for name, array in model.items()}
    except InputError as error:
        raise InputError(
            f"{path} holds more than a backbone: {error}. "
            f"Convert it: clsa-convert {path} {path.with_name(f'{path.stem}_backbone.pkl')} --to detectron2"
        ) from error


def _bare_trunk(content: Any, path: Path) -> dict[str, torch.Tensor]:
    bare = _maps_names_to(torch.Tensor, content)
    prefixed = bare and "conv1.weight" not in content and any(name.endswith(".conv1.weight") for name in content)
    if not bare or prefixed:
        held = first(content) if isinstance(content, dict) else type(content).__name__
        converted = path.with_name(f"{path.name.split('.')[0]}_backbone.pth")
        raise InputError(
            f"{path} is a checkpoint, not a backbone file: it holds {held}. Convert it first: "
            f"clsa-convert {path} {converted} --to torchvision"
        )
    return {name: tensor for name, tensor in content.items() if not re.fullmatch(rf"fc\..*|.*\.{COUNTER}", name)}


def _maps_names_to(kind: type, content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(k, str) and isinstance(v, kind) for k, v in content.items())


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in row-major order, so that the same weights give the same bytes and, bit for bit, the same features.

    ``contiguous()`` alone leaves a 1x1 kernel that was trained in channels_last with strides of that format, from which
    PyTorch picks another convolution, with other rounding.
    """
    return tensor.detach().cpu().contiguous().flatten().view(tensor.shape)


def _serialise(state: Mapping[str, torch.Tensor], target: Target, suffix: str) -> bytes:
    if target == "detectron2":
        arrays = {detectron2_name(name): tensor.numpy() for name, tensor in state.items()}
        return dump_arrays({"model": arrays, "__author__": AUTHOR, "matching_heuristics": True})
    if suffix == ".safetensors":
        return safetensors.torch.save(dict(state), metadata={"format": "pt"})
    buffer = io.BytesIO()
    # clones: a tensor that views a larger storage would be saved with all of it
    torch.save({name: tensor.clone() for name, tensor in state.items()}, buffer)
    return buffer.getvalue()


def _read_back(content: bytes, path: Path) -> dict[str, torch.Tensor]:
    kind: Kind = KIND_OF_SUFFIX[path.suffix]
    value = read_bytes(content, kind, str(path))
    if kind != "pickle":
        return value
    return {name: torch.from_numpy(array) for name, array in value["model"].items()}


def read_manifest(path: Path, digest: str) -> dict[str, Any] | None:
    """The manifest beside a file with SHA-256 ``digest``, None if there is none; it must describe these very bytes."""
    beside = manifest_path(path)
    if not beside.exists():
        return None
    try:
        manifest = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{beside} cannot be read: {error}. Convert the weights again, or remove it.") from error
    if not isinstance(manifest, dict) or manifest.get("sha256") != digest:
        raise InputError(f"{beside} describes other bytes than {path} holds. Convert again, or remove it.")
    return manifest
