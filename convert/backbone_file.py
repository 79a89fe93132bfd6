"""The backbone weights that the stages hand each other: one file, read and written here and nowhere else.

What the files of each target hold is told in ``targets``. Beside a file stands its manifest ``<file>.json``: where the
weights come from, what was dropped, the parity figures.
"""

import json
import os
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import sha256_of_file, versions, write_json

from .architecture import Architecture, build_trunk, first, recognise_architecture, trunk_shapes
from .names import detectron2_name, torchvision_name
from .proof import check_values, features, forward_parity
from .safe_reading import read_file
from .targets import TARGETS, TargetName, check_buildable, check_suffix, target_of, trunk_of, write_tensors

__all__ = [
    "Architecture",
    "Backbone",
    "build_trunk",
    "detectron2_name",
    "read_backbone",
    "torchvision_name",
    "write_backbone",
]

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class Backbone:
    """A backbone file in memory. ``state``: float32 tensors on the CPU in torchvision's names, the trunk alone."""

    path: Path
    sha256: str
    target: TargetName
    architecture: Architecture
    state: dict[str, torch.Tensor]
    manifest: dict[str, Any] | None

    @property
    def depth(self) -> int:
        return self.architecture.depth

    @property
    def width_per_group(self) -> int:
        return self.architecture.width_per_group


def read_backbone(path: str | Path, target: TargetName | None = None) -> Backbone:
    """Read a backbone file, or a bare torchvision state dict, whose ``fc`` and BN counters are left aside.

    Args:
        path: a file of any target. A file for timm is told as one for torchvision, whose names it has.
        target: whose names the file must have, where only one will do.

    Raises:
        InputError: not a weights file, unsafe, damaged (see ``safe_reading``); a checkpoint that has to be converted
            first, with the command that does it; another target's file, likewise; tensors that are not exactly
            the trunk of a ResNet-18, 34, 50, 101 or 152; a manifest that belongs to other bytes.
    """
    path = Path(path)
    kind, content = read_file(path)
    found = target_of(content)
    if found is None or (kind == "pickle" and found != "detectron2"):
        raise InputError(_no_backbone(path, kind, content))
    if target not in (None, found):
        raise InputError(
            f"{path} holds a backbone in {found}'s names, need {target}'s. "
            f"Convert it: clsa-convert {path} {_beside(path, target)} --to {target}"
        )
    try:
        state = trunk_of(content, found)
    except InputError as error:
        converted = path.with_name(f"{path.stem}_backbone{path.suffix}")
        raise InputError(
            f"{path} holds more than a backbone: {error}. Convert it: clsa-convert {path} {converted} --to {found}"
        ) from error
    architecture = recognise_architecture(state, str(path))
    check_values(state, str(path))
    digest = sha256_of_file(path)
    manifest = read_manifest(path, digest)
    return Backbone(path, digest, found, architecture, state, manifest)


def write_backbone(
    path: str | Path,
    state: MutableMapping[str, torch.Tensor],
    target: TargetName,
    manifest: Mapping[str, Any],
    consume: bool = False,
) -> dict[str, Any]:
    """Prove, then write a backbone file and its manifest. What fails the proof leaves no file.

    The file is written in a temporary folder beside ``path``, read back, compared with ``state`` by the hash of its
    tensors and by a forward pass, and only then given its name.

    Args:
        path: suffix as the target has it; an existing file is replaced.
        state: the complete trunk, float32, in torchvision's names; no ``fc``, no ``num_batches_tracked``.
        manifest: what is known of the origin: ``source`` (``file``, ``sha256``, ``format``, ``method``,
            ``iteration``), ``counts``, ``dropped``. The rest is filled in.
        consume: empty ``state`` as soon as it is written, so that the memory need not hold the weights twice.

    Returns:
        The manifest as written to ``<path>.json``.

    Raises:
        InputError: a suffix that does not fit the target; tensors that are not exactly a ResNet's trunk; a ResNet that
            the target's own library cannot build; NaN,
            infinity, a variance that is not positive; a result that does not equal the source.
    """
    path = Path(path)
    check_suffix(path, target)
    origin = f"the backbone for {path}"
    architecture = recognise_architecture(state, origin)
    check_buildable(architecture, target)
    check_values(state, origin)
    plain = {name: _plain(state[name]) for name in trunk_shapes(architecture)}
    digest, expected = backbone_hash(plain), features(plain, architecture)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        write_tensors(temporary, plain, target)
        del plain
        if consume:
            state.clear()
        written = _read_back(temporary, target, digest, origin)
        parity = forward_parity(expected, features(written, architecture, target))
        sha256_of_written = sha256_of_file(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    complete = {
        "format_version": MANIFEST_VERSION,
        "target": target,
        "architecture": asdict(architecture),
        "detector": architecture.detector_keys,
        "source": dict(manifest.get("source", {})),
        "sha256": sha256_of_written,
        "backbone_sha256": digest,
        "counts": {**manifest.get("counts", {}), "target": len(written)},
        "dropped": manifest.get("dropped", []),
        "parity": parity,
        "versions": versions(),
    }
    write_json(manifest_path(path), complete)
    return complete


def backbone_hash(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the weights themselves: equal for equal weights, whatever file, format and order they are stored in.

    Args:
        state: tensors of a trunk in torchvision's names, float32 or narrower ones, which are widened one by one.
    """
    digest = sha256()
    for name in sorted(state):
        tensor = _plain(state[name].float())
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def manifest_path(path: str | Path) -> Path:
    """``backbone.pkl`` -> ``backbone.pkl.json``."""
    path = Path(path)
    return path.with_name(f"{path.name}.json")


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


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in row-major order, so that the same weights give the same bytes and, bit for bit, the same features.

    ``contiguous()`` alone leaves a 1x1 kernel that was trained in channels_last with strides of that format, from which
    PyTorch picks another convolution, with other rounding.
    """
    return tensor.detach().cpu().contiguous().flatten().view(tensor.shape)


def _read_back(path: Path, target: TargetName, digest: str, origin: str) -> dict[str, torch.Tensor]:
    """The tensors of a written file, in the target's names; an ``InputError`` unless their hash is ``digest``."""
    _, content = read_file(path)
    restored = trunk_of(content, target)
    if backbone_hash(restored) != digest:
        raise InputError(f"{origin} does not read back as it was written; nothing was written")
    return {TARGETS[target].rename(name): tensor for name, tensor in restored.items()}


def _beside(path: Path, target: TargetName) -> Path:
    """A name for ``path`` converted for ``target``."""
    beside = path.with_suffix(TARGETS[target].suffixes[0])
    return beside if beside != path else path.with_name(f"{path.stem}_{target}{path.suffix}")


def _no_backbone(path: Path, kind: str, content: Any) -> str:
    if kind == "pickle":
        return f'{path} is a pickle without the {{"model": {{name: array}}}} that detectron2 reads'
    held = first(content) if isinstance(content, Mapping) else type(content).__name__
    converted = path.with_name(f"{path.name.split('.')[0]}_backbone.pth")
    return (
        f"{path} is a checkpoint, not a backbone file: it holds {held}. Convert it first: "
        f"clsa-convert {path} {converted} --to torchvision"
    )
