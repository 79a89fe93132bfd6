"""The checkpoint that a run goes on from or evaluates: the same in every process, and of the same training.

Several machines see one checkpoint only if OUTPUT_DIR is on a disk that they share. Where one resumes and another
begins anew, they wait for each other for ever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.processes import Process

from .detector_checkpoint import last_checkpoint, where_to_start
from .resume_check import config_beside, require_same_config, require_same_training


@dataclass(frozen=True)
class StartPoint:
    """A checkpoint: its file, and what is in it (see ``detector_checkpoint.py``)."""

    path: Path
    content: dict[str, Any]

    def is_in(self, output_dir: str) -> bool:
        """Whether it lies in that very folder."""
        return self.path.resolve().parent == Path(output_dir).resolve()


def find_start(
    cfg: CfgNode, resume: bool, eval_only: bool, read: Callable[[Path], dict[str, Any]]
) -> StartPoint | None:
    """The checkpoint to go on from, or with ``eval_only`` to evaluate; None where training starts anew.

    Args:
        read: the engine's ``read_checkpoint``.

    Raises:
        InputError: OUTPUT_DIR holds another run and ``resume`` is not given; there is nothing to evaluate; a checkpoint
            that cannot be read, or was trained with another config.
    """
    if not eval_only:
        path = where_to_start(cfg.OUTPUT_DIR, resume)
        if path is None:
            return None
        content = read(path)
        config = content["config"]
        require_same_config(cfg, config_beside(cfg.OUTPUT_DIR) if config is None else config)
        return StartPoint(path, content)
    path = last_checkpoint(cfg.OUTPUT_DIR) if resume else None
    if path is None and not cfg.MODEL.WEIGHTS:
        raise InputError(
            "--eval-only needs a detector: give MODEL.WEIGHTS OUTPUT_DIR/model_final.pth of a finished run, or "
            "--resume with its OUTPUT_DIR."
        )
    path = path or Path(cfg.MODEL.WEIGHTS)
    content = read(path)
    if content["config"] is not None:
        require_same_training(cfg, content["config"], path)
    return StartPoint(path, content)


def agree(process: Process, output_dir: str, find: Callable[[], StartPoint | None]) -> StartPoint | None:
    """What ``find`` finds, if it is the same in every process.

    Raises:
        InputError: in all of them, if it is not, or if ``find`` raised one in any.
    """
    if process.world_size == 1:
        return find()
    start, trouble = None, None
    try:
        start = find()
    except InputError as error:
        trouble = str(error)
    found = "no checkpoint" if start is None else f"{start.path.name} of iteration {start.content['iteration']}"
    everywhere = process.gather((found, trouble))
    verdict = process.broadcast(None if everywhere is None else _verdict(everywhere, output_dir))
    if verdict:
        raise InputError(verdict)
    return start


def _verdict(everywhere: Sequence[tuple[str, str | None]], output_dir: str) -> str | None:
    """What is wrong with what the processes found, or met, in rank order."""
    for _, trouble in everywhere:
        if trouble:
            return trouble
    first = everywhere[0][0]
    for rank, (found, _) in enumerate(everywhere):
        if found != first:
            return (
                f"OUTPUT_DIR {output_dir}: process 0 finds {first}, process {rank} {found}. It must be on a disk that "
                "all machines share."
            )
    return None
