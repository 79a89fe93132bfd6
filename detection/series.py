"""Several runs of one command, one after another: each in a folder and in a process of its own.

So each is what it would be if it were started by hand, with either engine and any ``--num-gpus``, it frees its memory,
and it is resumed by itself.
"""

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError, command
from clsa.configs.run_files import read_result

from .config import get_cfg
from .foreign_keys import load_detector_config


@dataclass(frozen=True)
class Run:
    """One run of a series. ``settings``: the config keys that make it differ from its siblings."""

    name: str
    folder: Path
    settings: dict[str, str]
    trial: int = 0

    def arguments(self, args: argparse.Namespace) -> argparse.Namespace:
        """The command line of this run alone."""
        own = {**self.settings, "OUTPUT_DIR": str(self.folder)}
        opts = [*args.opts, *(word for pair in own.items() for word in pair)]
        return argparse.Namespace(**{**vars(args), "opts": opts, "trial": self.trial, "trials": None, "sweep": None})


def series_config(args: argparse.Namespace, option: str) -> CfgNode:
    """The config that the runs of a series share.

    Raises:
        InputError: a series cannot be run from this command line (see the messages), the config is not valid, or
            without ``--resume`` the folder of a run holds one already.
    """
    if args.eval_only:
        raise InputError(f"{option} trains; --eval-only does not. Leave one of them out.")
    if args.trial:
        raise InputError(f"--trial {args.trial} is the number of one run: leave it out with {option}.")
    if "RANK" in os.environ or args.num_machines > 1:
        raise InputError(
            f"{option} starts the processes of each run anew, which torchrun and several machines do not allow. Use "
            "--num-gpus on one machine, or start each run by itself: SEED k OUTPUT_DIR output/trial_k, with --trial k."
        )
    cfg = _config_of(args)
    if not args.resume:
        _refuse_used_folders(Path(cfg.OUTPUT_DIR))
    return cfg


def run_one(run: Run, args: argparse.Namespace, run_once: Callable[[argparse.Namespace], None]) -> dict[str, Any]:
    """The result of ``run``: what is already there if ``--resume`` is given and it is finished, else a new one.

    Args:
        run_once: runs an engine as a command line says; a function of a module, for another process calls it.

    Raises:
        RunFailed: its process ended with an error, which it has printed.
        InputError: the finished run that is there is of another config or engine.
    """
    own = run.arguments(args)
    if args.resume and is_finished(run, own):
        print(f"{run.name}: {run.folder}/result.json stands, skipped", flush=True)
        return read_result(run.folder / "result.json")
    print(f"{run.name}: {run.folder}", flush=True)
    code = _in_own_process(run_once, own)
    if code:
        raise RunFailed(
            f"{run.name} in {run.folder} failed with exit code {code}; its message is above. The same command with "
            "--resume skips what is finished and goes on from there."
        )
    return read_result(run.folder / "result.json")


class RunFailed(InputError):
    """A run of a series ended with an error."""


def is_finished(run: Run, args: argparse.Namespace) -> bool:
    """Whether the folder holds the result of this very run, trained to the end.

    Raises:
        InputError: it holds that of another config (with the differences) or of the other engine.
    """
    from .resume_check import require_same_config  # with it comes PyTorch, which only the runs need

    path = run.folder / "result.json"
    if not path.is_file():
        return False
    result, cfg = read_result(path), _config_of(args)
    if result["engine"] != args.engine:
        raise InputError(
            f"--resume: {path} is of the engine {result['engine']}, asked is {args.engine}. Take another OUTPUT_DIR."
        )
    if args.engine == "detectron2" and cfg.SOLVER.REFERENCE_WORLD_SIZE:  # the result holds what was made of the config
        from detectron2.engine import DefaultTrainer

        cfg = DefaultTrainer.auto_scale_workers(cfg, max(1, args.num_gpus))
    before = result["config"]  # not config.yaml beside it, which may be of a run that came later and did not end
    weights = {"WEIGHTS": result["weights"]["file"] or ""}  # of the config of an evaluation they are the detector
    require_same_config(cfg, {**before, "MODEL": {**before["MODEL"], **weights}})
    iterations = result["details"].get("iterations", before["SOLVER"]["MAX_ITER"])
    return iterations == before["SOLVER"]["MAX_ITER"] == cfg.SOLVER.MAX_ITER


def _refuse_used_folders(folder: Path) -> None:
    """Before the first run: a later one's folder must not stop the series after hours."""
    from .detector_checkpoint import where_to_start

    for used in (folder, *sorted(folder.glob("trial_*"))):
        where_to_start(used, resume=False)


def _config_of(args: argparse.Namespace) -> CfgNode:
    if args.engine == "torchvision":
        return load_detector_config(get_cfg(), args.config_file, args.opts)
    from .detectron2_engine import require_detectron2, resolve_config

    require_detectron2()
    return resolve_config(args)


def _in_own_process(function: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    process = multiprocessing.get_context("spawn").Process(target=_call, args=(function, args))
    with _ending_on_sigterm():
        process.start()
        try:
            process.join()
        finally:
            if process.is_alive():
                process.terminate()
                process.join()
    return process.exitcode


def _call(function: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    sys.exit(command(lambda argv: function(args))())


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """A cluster's scheduler ends the series with SIGTERM: let the run that is at work end with it."""

    def stop(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
