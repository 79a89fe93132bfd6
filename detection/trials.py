"""``--trials N``: the same run with SEED 0 .. N-1, and what they have in common and what not.

One run of a detector says little where two differ by a few tenths: on VOC07+12 the standard deviation of AP50 / AP /
AP75 over trials is about 0.2 / 0.2 / 0.4, and published tables there are means of five (He et al., Momentum Contrast).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.configs.run_files import write_json

from .series import Run, run_one, series_config
from .series_summary import printed, spreads, text_table

SCHEMA_VERSION = 1


def run_trials(args: argparse.Namespace, run_once: Callable[[argparse.Namespace], None]) -> list[dict[str, Any]]:
    """Run, or with ``--resume`` finish, the trials in ``OUTPUT_DIR/trial_0`` and on; the results in their order.

    Writes ``OUTPUT_DIR/trials.json`` and prints the table. Each ``trial_k/result.json`` bears ``"trial": k`` and
    ``"seed": k``.

    Raises:
        InputError: not a positive number, a seed of one's own, or a trial failed: the later ones are not run.
    """
    if args.trials < 1:
        raise InputError(f"--trials is {args.trials}: at least 1 is needed.")
    if "SEED" in args.opts[0::2]:
        raise InputError(f"--trials {args.trials} runs SEED 0 to {args.trials - 1}: leave SEED out.")
    folder = Path(series_config(args, "--trials").OUTPUT_DIR)
    runs = [Run(f"trial {k}", folder / f"trial_{k}", {"SEED": str(k)}, k) for k in range(args.trials)]
    results = [run_one(run, args, run_once) for run in runs]
    write_json(folder / "trials.json", trials_record(results))
    print(f"\n{trials_table(results)}\n{folder / 'trials.json'}", flush=True)
    return results


def trials_record(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``mean`` and ``std`` (n - 1; null for one trial) of each value, and each trial's own, all in percent."""
    found = spreads(results)
    first = results[0]
    return {
        "schema_version": SCHEMA_VERSION,
        **{key: first[key] for key in ("protocol", "metric_flavour", "engine")},
        "dataset": first["dataset"]["name"],
        "weights": first["weights"],
        "count": len(results),
        "mean": {name: value.mean for name, value in found.items()},
        "std": {name: value.std for name, value in found.items()},
        "trials": [
            {
                **{key: result[key] for key in ("trial", "seed", "values", "wall_seconds")},
                "result": f"trial_{result['trial']}/result.json",
            }
            for result in results
        ],
    }


def trials_table(results: Sequence[dict[str, Any]]) -> str:
    """A line for each value: every trial's, the mean, the standard deviation."""
    header = ["", *(f"trial {result['trial']}" for result in results), "mean", "std"]
    rows = [
        [name, *(printed(result["values"].get(name)) for result in results), printed(value.mean), printed(value.std)]
        for name, value in spreads(results).items()
    ]
    title = f"{results[0]['protocol']} ({results[0]['metric_flavour']}), {results[0]['dataset']['name']}, percent"
    return f"{title}\n{text_table(header, rows)}"
