"""Checkpoints: written whole or not at all, read without running code, resumed only into the run that wrote them.

``OUTPUT_DIR/checkpoint_NNNNNNN.pth`` after N steps, and ``OUTPUT_DIR/last_checkpoint``, a text file with the name of
the newest. Content (plain containers and tensors, ``torch.load(weights_only=True)``)::

    format, version    "clsa-pretrain", 1
    method             METHOD of the config
    query              state dict of the query network: backbone.* in torchvision's names, head.*
    key, queue         state dicts of the key network and of the queue; absent for random_init
    optimizer, scaler  state dicts; absent for random_init
    rng                of each process, in rank order: {"cpu": state, "cuda": state or None}
    iteration          steps done
    epoch, epoch_step  epochs done, and steps done in the one under way
    images             how many images the data folder held
    order_sha256       SHA-256 of their names in their order (see ``sources``); absent for random_init
    processes          how many processes trained
    config             the whole config, as plain dicts
"""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import flat_keys
from clsa.configs.run_files import atomic_write, plain

from .config import get_cfg, value

FORMAT = "clsa-pretrain"
VERSION = 1

#: These may differ when a run is resumed: they do not change what the state means. Each change is logged.
MAY_CHANGE = frozenset(
    {
        "OUTPUT_DIR",
        "DATA.TRAIN",
        "DATA.ROOT",
        "DATA.WORKERS",
        "DATA.SKIP_BAD",
        "DATA.DECODER",
        "DATA.AUGMENT_ON",
        "MODEL.CHANNELS_LAST",
        "MONITOR.PERIOD",
        "MONITOR.DATA",
        "MONITOR.CLASSES",
        "MONITOR.IMAGES_PER_CLASS",
        "MONITOR.NEIGHBOURS",
        "MONITOR.SIZE",
        "SOLVER.ACCUMULATE",
        "SOLVER.COMPILE",
        "SOLVER.LR",
        "SOLVER.PRECISION",
        "SOLVER.LOG_PERIOD",
        "SOLVER.CHECKPOINT_PERIOD",
        "SOLVER.CHECKPOINT_KEEP",
        "SOLVER.STOP_AFTER",
    }
)


def save_checkpoint(output_dir: str | os.PathLike, content: dict[str, Any], keep: int = 0) -> Path:
    """Write ``content`` as the checkpoint of its iteration, name it in ``last_checkpoint``, drop all but ``keep``.

    Killed at any moment, this leaves a ``last_checkpoint`` that names a whole file. ``keep`` 0 keeps all.
    """
    output_dir = Path(output_dir)
    path = output_dir / f"checkpoint_{content['iteration']:07d}.pth"
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "version": VERSION, **content}, file)
    with atomic_write(output_dir / "last_checkpoint", "w") as file:
        file.write(path.name)
    if keep:
        # Later ones can only be left from before a step back to an earlier checkpoint: they are no reason to drop this.
        upto_this = [p for p in list_checkpoints(output_dir) if _iteration(p) <= content["iteration"]]
        for old in upto_this[:-keep]:
            old.unlink()
    return path


def list_checkpoints(output_dir: str | os.PathLike) -> list[Path]:
    """All checkpoints of the folder, in the order of their iterations."""
    named_alike = Path(output_dir).glob("checkpoint_*.pth")
    return sorted((p for p in named_alike if re.fullmatch(r"checkpoint_\d{7,}", p.stem)), key=_iteration)


def last_checkpoint(output_dir: str | os.PathLike) -> Path | None:
    """The checkpoint that ``output_dir/last_checkpoint`` names; None where there is no such file.

    Raises:
        InputError: it names a file that does not exist.
    """
    pointer = Path(output_dir) / "last_checkpoint"
    if not pointer.is_file():
        return None
    path = pointer.parent / pointer.read_text(encoding="utf-8").strip()
    if not path.is_file():
        raise InputError(f"{pointer} names {path.name}, which is not in that folder. {_other_checkpoint(path)}")
    return path


def where_to_start(output_dir: str | os.PathLike, resume: bool) -> Path | None:
    """The checkpoint to go on from; None to start anew.

    Raises:
        InputError: without ``resume``, the folder holds checkpoints already.
    """
    if resume:
        return last_checkpoint(output_dir)
    existing = list_checkpoints(output_dir)
    if existing:
        raise InputError(
            f"{output_dir} already holds checkpoints, the newest is {existing[-1].name}. "
            "Give --resume to go on with that run, or another OUTPUT_DIR to start anew."
        )
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        InputError: the file is cut off, no checkpoint, or not one of ``clsa-pretrain``.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise InputError(
            f"checkpoint {path} cannot be read: it is cut off, damaged, or no checkpoint ({first_line}). "
            f"{_other_checkpoint(path)}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path} is not a checkpoint of clsa-pretrain: its format is {found!r}, not {FORMAT!r}.")
    if content.get("version") != VERSION:
        raise InputError(f"{path} has checkpoint version {content.get('version')}, this program reads {VERSION}.")
    return content


def check_same_run(
    path: Path, content: dict[str, Any], cfg: CfgNode, images: int, processes: int, order_sha256: str = ""
) -> list[str]:
    """Refuse to resume another run's checkpoint. Returns the admissible differences, to be logged.

    Raises:
        InputError: a setting that decides what the state means differs, or the number of images, or their order; all
            are listed.
    """
    saved, now = content["config"], plain(cfg)
    refused, admissible = [], []
    for key in sorted({*flat_keys(CfgNode(saved)), *flat_keys(cfg)}):
        # A key that is newer than the checkpoint: that run did what is now its default.
        before, after = _lookup(saved, key, _lookup(plain(get_cfg()), key)), _lookup(now, key)
        if before != after:
            (admissible if key in MAY_CHANGE else refused).append(f"{key} was {before!r}, now {after!r}")
    if content["images"] != images:
        refused.append(f"the data folder had {content['images']} images, now {images} ({value(cfg, 'DATA.TRAIN')})")
    elif order_sha256 and order_sha256 != content.get("order_sha256", order_sha256):
        refused.append(
            f"the images of {value(cfg, 'DATA.TRAIN')} have other names or another order than that run's, so an epoch "
            "could show some twice and others never"
        )
    if refused:
        raise InputError(
            f"{path} was written by another run: {'; '.join(refused)}. "
            "Resume with the settings of that run, or start anew in another OUTPUT_DIR."
        )
    if content["processes"] != processes:
        admissible.append(
            f"{content['processes']} process(es) before, {processes} now: BN normalises over other batches, so this is "
            "not the run that would not have been stopped"
        )
    if order_sha256 and "order_sha256" not in content:
        admissible.append("an older checkpoint, without the order of the images: whether it is the same is not known")
    return admissible


def _iteration(path: Path) -> int:
    return int(path.stem.removeprefix("checkpoint_"))


def _lookup(tree: Any, key: str, default: Any = None) -> Any:
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return default
        tree = tree[part]
    return tree


def _other_checkpoint(path: Path) -> str:
    others = [p.name for p in list_checkpoints(path.parent) if p != path]
    if others:
        return f"Write the name of another one, such as {others[-1]}, into {path.parent / 'last_checkpoint'}."
    return "There is no other in that folder: start anew in another OUTPUT_DIR."
