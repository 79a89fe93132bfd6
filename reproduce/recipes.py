"""Which pretrainings are of one recipe: they differ in nothing but the seed, as far as results and configs tell."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .measured import Measured
from .stamp import read_stamp

#: Of a pretraining's config: where things lie, and what is only written down. Neither moves a weight.
NEUTRAL = (
    "OUTPUT_DIR",
    "DATA.ROOT",
    "DATA.WORKERS",
    "SOLVER.CHECKPOINT_KEEP",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.LOG_PERIOD",
)


@dataclass(frozen=True)
class Recipe:
    """``settings``: all but the seed, as text; ``seed``: of the pretraining."""

    settings: str
    seed: Any


def recipe_of(measured: Measured) -> Recipe | None:
    """Of the weights that were evaluated; None where no config of their pretraining is at hand.

    The config is looked for in the folder ``pretrain`` of the result's own run of clsa-reproduce, which moves with it,
    then where the weights' manifest says that the checkpoint lies.
    """
    weights = measured.result["weights"]
    source = weights.get("source") or {}
    config = next(filter(None, (_read(path, source.get("method")) for path in _places(measured))), None)
    if config is None:
        return None
    flat = {key: value for key, value in _flat(config) if key not in NEUTRAL}
    if "DATA.TRAIN" in flat:  # the same folder elsewhere: imagenet/train
        flat["DATA.TRAIN"] = Path(str(flat["DATA.TRAIN"])).parts[-2:]
    seed = flat.pop("SEED", None)
    trained = [source.get(key) for key in ("format", "network", "epoch", "iteration")]
    return Recipe(json.dumps([trained, flat], sort_keys=True, default=str), seed)


def of_one_recipe(measured: Sequence[Measured]) -> dict[str, str]:
    """Pretraining -> settings that it shares with others, for those that are to be taken together; one method's.

    Pretrainings of equal settings and equal seed, whose evaluations have equal seeds too, are no draws of chance but
    the same one by another version or machine: they are left apart.
    """
    seeds: dict[str, set[int]] = {}
    first: dict[str, Measured] = {}
    for m in measured:
        if m.pretraining:
            seeds.setdefault(m.pretraining, set()).add(m.result["seed"])
            first.setdefault(m.pretraining, m)
    groups: dict[str, dict[str, tuple]] = {}
    for pretraining, m in first.items():
        if (recipe := recipe_of(m)) is not None:
            drawn = (json.dumps(recipe.seed, default=str), *sorted(seeds[pretraining]))
            groups.setdefault(recipe.settings, {})[pretraining] = drawn
    together = {settings: group for settings, group in groups.items() if len(set(group.values())) == len(group) > 1}
    return {pretraining: settings for settings, group in together.items() for pretraining in group}


def _places(measured: Measured) -> list[Path]:
    folders = [folder / "pretrain" for folder in measured.folder.parents[:3]]
    folders = [folder for folder in folders if read_stamp(folder)]
    weights = measured.result["weights"]
    for file in ((weights.get("source") or {}).get("file"), weights.get("file")):
        folders += [Path(file).parent] if file else []
    return [folder / "config.yaml" for folder in folders]


def _read(path: Path, method: str | None) -> dict[str, Any] | None:
    """The config, if it is one of a pretraining with ``method``."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    is_one = isinstance(config, dict) and isinstance(config.get("METHOD"), str)
    return config if is_one and method in (None, config["METHOD"]) else None


def _flat(config: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in config.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [(f"{before}{key}", value)]
    return found
