"""YAML into an fvcore ``CfgNode``: ``_BASE_`` allowed, unknown keys refused, the same idiom in all folders."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

PACKAGED = Path(__file__).parent


def find_config(name: str) -> Path:
    """The file itself, or the packaged one of that name: ``configs/reproduce/mini.yaml`` works from any folder."""
    path = Path(name)
    if path.is_file():
        return path
    for candidate in (PACKAGED / path, PACKAGED.parent / path, PACKAGED / Path(*path.parts[1:])):
        if path.parts and candidate.is_file():
            return candidate
    available = "\n  ".join(str(p.relative_to(PACKAGED.parent)) for p in sorted(PACKAGED.rglob("*.yaml")))
    raise InputError(f"config file {name!r} does not exist. Give a path, or one of the packaged ones:\n  {available}")


def load_config(
    defaults: CfgNode,
    config_file: str | None,
    overrides: Sequence[str] = (),
    is_ignored: Callable[[str, Any], bool] | None = None,
) -> CfgNode:
    """Merge a YAML file and ``KEY VALUE ...`` pairs into ``defaults``, in that order, and freeze the result.

    Args:
        is_ignored: given a key that ``defaults`` does not have, and its value, whether to leave it out.

    Raises:
        InputError: missing file, broken YAML, a key that ``defaults`` does not have (with the nearest one that
            it has), a value of another type, an odd number of overrides.
    """
    cfg = defaults.clone()
    known = set(flat_keys(cfg))
    if config_file:
        loaded, path = read_yaml(config_file), str(find_config(config_file))
        if is_ignored is not None:
            _leave_out(loaded, known, is_ignored)
        refuse_unknown(flat_keys(loaded), cfg, path)
        _whole_numbers_to_float(loaded, cfg)
        _merge(cfg.merge_from_other_cfg, loaded, path)
    if len(overrides) % 2:
        raise InputError(f"overrides come as KEY VALUE pairs, got {len(overrides)} words: {' '.join(overrides)}")
    pairs = list(zip(overrides[0::2], overrides[1::2], strict=True))
    if is_ignored is not None:
        pairs = [(key, text) for key, text in pairs if key in known or not is_ignored(key, text)]
    refuse_unknown([key for key, _ in pairs], cfg, "the command line")
    for key, text in pairs:
        _merge(cfg.merge_from_list, [key, _in_the_type_of(_value(cfg, key), text)], "the command line")
    cfg.freeze()
    return cfg


def read_yaml(config_file: str) -> CfgNode:
    """The content of a YAML file and its bases, whatever its keys are.

    Raises:
        InputError: missing or empty file, broken YAML.
    """
    path = find_config(config_file)
    if not path.read_text(encoding="utf-8").strip():
        raise InputError(f"config file {path} is empty")
    try:
        return CfgNode(CfgNode.load_yaml_with_base(str(path)))
    except (yaml.YAMLError, FileNotFoundError, AssertionError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a YAML config: {error}") from error


def flat_keys(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    """``A.B.C`` for every leaf of the tree."""
    for key, value in cfg.items():
        if isinstance(value, CfgNode) and value:
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def refuse_unknown(keys: Sequence[str] | Iterator[str], cfg: CfgNode, origin: str) -> None:
    """Raise an ``InputError`` for the first key of ``keys`` that ``cfg`` does not have, naming the nearest one."""
    known = set(flat_keys(cfg))
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"unknown config key {key!r} in {origin}.{hint}")


def _leave_out(node: CfgNode, known: set[str], is_ignored: Callable[[str, Any], bool], prefix: str = "") -> None:
    for key, value in list(node.items()):
        if isinstance(value, CfgNode) and value:
            _leave_out(value, known, is_ignored, f"{prefix}{key}.")
            if not value:
                del node[key]
        elif f"{prefix}{key}" not in known and is_ignored(f"{prefix}{key}", value):
            del node[key]


def _value(cfg: CfgNode, key: str):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def _in_the_type_of(default, text: str):
    """``text`` as yacs would decode it, but ``SOLVER.LR 1`` is 1.0, and the folder of ``OUTPUT_DIR 4`` a name."""
    value = CfgNode._decode_cfg_value(text)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    # merge_from_list decodes once more: hence the quotes
    return repr(text) if isinstance(default, str) and not isinstance(value, str) else text


def _whole_numbers_to_float(loaded: CfgNode, cfg: CfgNode) -> None:
    """``BETA: 2`` for a key whose default is 1.0 means 2.0; a ``CfgNode`` alone would refuse it."""
    for key, value in loaded.items():
        if isinstance(value, CfgNode):
            _whole_numbers_to_float(value, cfg[key])
        elif type(value) is int and isinstance(cfg[key], float):
            loaded[key] = float(value)


def _merge(merge, values, origin: str) -> None:
    try:
        merge(values)
    except (ValueError, KeyError, AssertionError) as error:
        raise InputError(f"{origin}: {error}") from error
