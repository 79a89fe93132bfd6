"""``--sweep KEY V1,V2,...``: the same run with each value of one key, all of them reported, not only the best.

A transfer result at the protocol's learning rate can say as much about the rate as about the backbone; a sweep shows
which. What it chooses, it chooses on the evaluated split.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.configs.run_files import write_json

from .auto_scale import as_overrides, auto_scale
from .auto_scale import table as scaling_table
from .engine_defaults import engine_defaults
from .foreign_keys import load_detector_config
from .plot_sweep import write_plot
from .series import Run, RunFailed, run_one, series_config
from .series_summary import spreads, text_table
from .trials import run_trials

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Swept:
    """The results of one value: one for each trial, none where the run failed, as one with too high a rate may."""

    value: str
    folder: Path
    results: list[dict[str, Any]]
    failure: str | None = None


def run_sweep(args: argparse.Namespace, run_once: Callable[[argparse.Namespace], None]) -> int:
    """Run, or with ``--resume`` finish, ``OUTPUT_DIR/<key>_<value>`` for each value; with ``--trials`` so often each.

    Writes ``OUTPUT_DIR/sweep.json`` and ``sweep.png``, and prints the table. All values run with the same seed.

    Returns:
        The exit code: 1 if a value failed (the others are run and reported all the same).

    Raises:
        InputError: a key or value that cannot be, before anything runs; every value failed.
    """
    key, values = args.sweep[0], split_values(args.sweep[1])
    if key in ("OUTPUT_DIR", "SEED") or key in args.opts[0::2]:
        reason = "has a value of its own, too" if key in args.opts[0::2] else "is no such key; --trials N varies SEED"
        raise InputError(f"--sweep {key}: {key} {reason}. Give one or the other.")
    if len(set(values)) < len(values) or len(values) < 2:
        raise InputError(f"--sweep {key} {args.sweep[1]}: at least two different values are needed, with commas.")
    cfg = series_config(args, "--sweep")
    folder = Path(cfg.OUTPUT_DIR)
    seed = {} if args.trials or cfg.SEED >= 0 else {"SEED": "0"}
    runs = [
        Run(
            f"{key} {value}",
            folder / folder_name(key, value),
            {**scaled_schedule(args, key, value), key: value, **seed},
        )
        for value in values
    ]
    for run in runs:  # so that the last value's misspelling does not show after the first one's hours
        series_config(run.arguments(args), "--sweep")
    swept = [_run_value(run, value, args, run_once) for run, value in zip(runs, values, strict=True)]
    write_json(folder / "sweep.json", sweep_record(key, swept))
    if not any(entry.results for entry in swept):
        raise InputError(f"--sweep {key}: every value failed; the messages are above.")
    write_plot(folder / "sweep.png", key, {entry.value: entry.results for entry in swept})
    print(f"\n{sweep_table(key, swept)}\n{folder / 'sweep.json'}\n{folder / 'sweep.png'}", flush=True)
    return int(any(entry.failure for entry in swept))


def scaled_schedule(args: argparse.Namespace, key: str, value: str) -> dict[str, str]:
    """What ``--auto-scale``, if it is given, sets for one value, taken as given; printed as for a single run."""
    if not args.auto_scale:
        return {}
    defaults, overrides = engine_defaults(args.engine), [*args.opts, key, value]
    file_batch = load_detector_config(defaults, args.config_file).SOLVER.IMS_PER_BATCH
    if key == "SOLVER.IMS_PER_BATCH" and value == str(file_batch):
        return {}  # the schedule as it is written
    scaled = auto_scale(defaults, args.config_file, overrides)
    print(f"{key} {value}\n{scaling_table(scaled)}", flush=True)
    words = as_overrides(scaled)
    return dict(zip(words[0::2], words[1::2], strict=True))


def _run_value(run: Run, value: str, args: argparse.Namespace, run_once: Callable[[argparse.Namespace], None]) -> Swept:
    try:
        if args.trials:
            own = run.arguments(args)
            own.trials = args.trials
            return Swept(value, run.folder, run_trials(own, run_once))
        return Swept(value, run.folder, [run_one(run, args, run_once)])
    except RunFailed as error:
        print(error, file=sys.stderr, flush=True)
        return Swept(value, run.folder, [], str(error))


def split_values(text: str) -> list[str]:
    """``"0.02,0.05"`` into its values; commas within brackets belong to a value: ``"(9,10),(18,20)"`` are two."""
    return [value.strip() for value in re.findall(r"(?:\([^)]*\)|\[[^]]*\]|[^,])+", text) if value.strip()]


def folder_name(key: str, value: str) -> str:
    """``base_lr_0.02`` of ``SOLVER.BASE_LR`` and ``0.02``."""
    words = re.sub(r"[^\w.+-]+", "_", value).strip("_")
    return f"{key.rpartition('.')[2].lower()}_{words}"


def sweep_record(key: str, swept: Sequence[Swept]) -> dict[str, Any]:
    """Every value with the folder, the values (mean and standard deviation over trials) or the failure."""
    entries = []
    for entry in swept:
        found = spreads(entry.results) if entry.results else {}
        entries.append(
            {
                "value": entry.value,
                "folder": entry.folder.name,
                "failure": entry.failure,
                "seeds": [result["seed"] for result in entry.results],
                "mean": {name: value.mean for name, value in found.items()},
                "std": {name: value.std for name, value in found.items()},
            }
        )
    first = next((result for entry in swept for result in entry.results), None)
    common = {name: first[name] for name in ("metric_flavour", "engine", "weights")} if first else {}
    return {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        **common,
        "dataset": first["dataset"]["name"] if first else None,
        "runs": entries,
    }


def sweep_table(key: str, swept: Sequence[Swept]) -> str:
    """A line for each metric, a column for each value."""
    first = next(result for entry in swept for result in entry.results)
    columns = [spreads(entry.results) if entry.results else {} for entry in swept]
    rows = [[name, *(str(column.get(name, "failed")) for column in columns)] for name in first["values"]]
    dataset = first["dataset"]["name"]
    title = f"{key} ({first['metric_flavour']}), percent on {dataset}: whoever chooses by it has chosen on {dataset}"
    return f"{title}\n{text_table(['', *(entry.value for entry in swept)], rows)}"
