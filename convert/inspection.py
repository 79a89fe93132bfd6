"""What a checkpoint is, without converting it: a record for programs, and the same as text."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import sha256_of_file

from .architecture import first
from .backbone_file import backbone_hash
from .conversion import complete_trunk, warnings
from .safe_reading import read_file
from .sources import flatten, recognise_layout, sort_keys
from .training_record import options, progress

_SHOWN = 12  # options and groups of keys in the text; the record has all


def inspect(source: str | Path, layout: str | None = None) -> dict[str, Any]:
    """What ``source`` holds, what a conversion would take and drop, and what stands against one.

    Args:
        source: any file that ``safe_reading`` reads.
        layout: the name of its layout, where it is not to be recognised from the keys.

    Returns:
        ``file``, ``bytes``, ``sha256``, ``kind``; ``format``, ``documented``, ``network`` (which one is taken);
        ``architecture`` (``name``, ``depth``, the three widths); ``method``, ``arch``, ``epoch``, ``iteration`` and
        ``options`` as stored; ``parts`` (part -> ``keys``, ``tensors``, ``parameters``: the trunk, each rule's, and
        what is left over); ``dropped`` (rule -> keys); ``backbone_sha256``; ``warnings``; ``trouble``, a sentence, or
        None for a checkpoint that can be converted. What cannot be told is None or empty.

    Raises:
        InputError: the file cannot be read, or holds no dictionary.
    """
    source = Path(source)
    kind, content = read_file(source)
    flat = flatten(content, str(source))
    record: dict[str, Any] = {
        "file": str(source),
        "bytes": source.stat().st_size,
        "sha256": sha256_of_file(source),
        "kind": kind,
        "format": None,
        "documented": None,
        "network": None,
        "architecture": None,
        **progress(content),
        "options": options(content),
        "parts": _parts_by_prefix(flat),
        "dropped": {},
        "backbone_sha256": None,
        "warnings": [],
        "trouble": None,
    }
    try:
        recognised = recognise_layout(flat, str(source), layout)
        record |= {"format": recognised.name, "documented": recognised.documented, "network": recognised.taken}
        keys = sort_keys(flat, recognised, str(source))
        parts = {
            "trunk": keys.trunk,
            **{rule: {key: flat[key] for key in names} for rule, names in keys.dropped.items()},
        }
        record |= {"parts": _sizes({**parts, "left over": keys.left}), "dropped": keys.dropped}
        architecture, trunk = complete_trunk(keys, str(source))
        record["architecture"] = {
            "name": str(architecture),
            **asdict(architecture),
        }
        record |= {"backbone_sha256": backbone_hash(trunk), "warnings": warnings(keys, recognised)}
    except InputError as error:
        record["trouble"] = str(error)
    return record


def as_text(record: Mapping[str, Any]) -> str:
    """The record of :func:`inspect`, a line a fact."""
    progress_made = [
        f"{key} {record[key]}" for key in ("method", "arch", "epoch", "iteration") if record[key] is not None
    ]
    architecture = record["architecture"]
    lines = [
        f"file      {record['file']}: {record['bytes']:,} bytes, {record['kind']}",
        f"sha256    {record['sha256']}",
        f"format    {record['format'] or 'unknown'}{_in_brackets(record['documented'])}",
        f"network   {architecture['name'] if architecture else 'unknown'}{_in_brackets(record['network'])}",
    ]
    if progress_made:
        lines.append(f"training  {', '.join(progress_made)}")
    if options_stored := [f"{name} {value}" for name, value in record["options"].items()]:
        lines.append(f"options   {first(options_stored, _SHOWN)}")
    for part, size in record["parts"].items():
        lines.append(
            f"{'taken' if part == 'trunk' else 'dropped' if part in record['dropped'] else 'holds':9s} {part}: "
            f"{size['keys']:,} keys, {size['parameters']:,} numbers in {size['tensors']:,} tensors"
        )
    if record["backbone_sha256"]:
        lines.append(f"backbone  {record['backbone_sha256']} (sha256 of the weights alone, the same in every format)")
    lines.append(f"can be converted: {'yes' if record['trouble'] is None else 'no'}")
    return "\n".join(lines)


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""


def _parts_by_prefix(flat: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Parts of a file of unknown layout: its keys by what stands before the second dot."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        groups.setdefault(".".join(key.split(".")[:2]), {})[key] = value
    largest = Counter({group: len(entries) for group, entries in groups.items()}).most_common(_SHOWN)
    shown = {group: groups[group] for group, _ in largest}
    shown["all others"] = {key: flat[key] for group in groups if group not in shown for key in groups[group]}
    return _sizes(shown)


def _sizes(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    sizes = {}
    for part, entries in parts.items():
        tensors = [value for value in entries.values() if isinstance(value, torch.Tensor)]
        if entries:
            numbers = sum(tensor.numel() for tensor in tensors)
            sizes[part] = {"keys": len(entries), "tensors": len(tensors), "parameters": numbers}
    return sizes
