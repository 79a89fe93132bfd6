"""The torchvision engine beside detectron2: the same config, weights, seed and data, and the largest differences.

    python benchmarks/engine_parity.py                    # 3 seeds; needs detectron2; exit status 1 if a bar is missed
    python benchmarks/engine_parity.py --seeds 0 --case "C4 VOC"
    python benchmarks/engine_parity.py --write-golden tests/detection_parity.json

Evaluation compares the images as the network sees them, features, proposals, boxes, scores, classes and masks, by the
largest absolute difference; training each loss, each parameter's gradient (norm of the difference over the norm) and
the running statistics after a step; before it the initial distribution of each parameter, its optimizer group and
the learning rate of each iteration. Data are the dataset dictionaries of VOC and COCO, what the mapper makes of them,
and the order and grouping of the images.

``--write-golden`` writes what detectron2 computes in float64, condensed, for the test that runs without it.
"""

import argparse
import json
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from parity_cases import CASES, case_config, write_data
from parity_engines import Detectron2Engine, Engine, Observation, TorchvisionEngine
from parity_observations import observe_data, observe_model
from tqdm import tqdm

#: Kind of observation -> how it is compared and the largest difference allowed.
BARS: dict[str, tuple[str, float]] = {
    "initial": ("sigma", 5.0),
    "optimizer": ("absolute", 0.0),
    "schedule": ("relative", 1e-12),
    "images": ("absolute", 1e-6),
    "features": ("absolute", 1e-6),
    "proposals": ("absolute", 1e-6),
    "boxes": ("absolute", 1e-6),
    "scores": ("absolute", 1e-6),
    "classes": ("absolute", 0.0),
    "masks": ("absolute", 0.0),
    "losses": ("relative", 1e-5),
    "gradients": ("relative", 1e-4),
    "statistics": ("absolute", 1e-6),
    "dataset dicts": ("absolute", 0.0),
    "mapper": ("absolute", 1e-6),
    "image order": ("absolute", 0.0),
}

#: Boxes of 128 pixels in float32 (its steps there are 7.6e-6), whose exponential differs by a step between CPUs.
GOLDEN_BARS = BARS | {
    "proposals": ("absolute", 3e-5),
    "boxes": ("absolute", 6e-5),
    "masks": ("absolute", 1e-8),  # means over pixels, of which one alone would move them by 1e-6
    "schedule": ("relative", 1e-8),
    "image order": ("absolute", 1e-6),
    "dataset dicts": ("absolute", 1e-6),  # over the bytes of the text, of which one moves them by more than 1e-3
    "initial": ("sigma", 5.0),
}
#: Arrays of more numbers are written out as two.
WRITTEN_WHOLE = 20
GOLDEN_SEED = 1


@dataclass(frozen=True)
class Row:
    """The largest difference of one kind, and where it is."""

    kind: str
    measure: str
    difference: float
    bar: float
    count: int  # of compared arrays
    where: str

    @property
    def passes(self) -> bool:
        return self.count > 0 and self.difference <= self.bar


def distance(measure: str, ours: np.ndarray, wanted: np.ndarray) -> float:
    """Infinite between arrays of different shapes, or where one has a number that is not finite."""
    if ours.shape != wanted.shape or not (np.isfinite(ours).all() and np.isfinite(wanted).all()):
        return np.inf
    if measure == "absolute":
        return float(np.abs(ours - wanted).max(initial=0.0))
    if measure == "relative":
        gap = float(np.linalg.norm(ours - wanted))
        return gap / max(float(np.linalg.norm(wanted)), 1e-12) if gap else 0.0
    return deviation(ours, wanted)


def deviation(ours: np.ndarray, wanted: np.ndarray) -> float:
    """How many standard errors two samples' moments lie apart: of mean, deviation and, from 1000 numbers on, the
    kurtosis (which tells a normal from a uniform distribution). Constants must be equal."""
    (size, mean, std, kurtosis), (size_2, mean_2, std_2, kurtosis_2) = ours, wanted
    if size != size_2 or (std == 0) != (std_2 == 0):
        return np.inf
    if std_2 == 0:
        return 0.0 if mean == mean_2 else np.inf
    error = std_2 * (2 / size) ** 0.5
    apart = [abs(mean - mean_2) / error, abs(std - std_2) / (error * ((kurtosis_2 - 1) / 4) ** 0.5)]
    if size >= 1000:
        apart.append(abs(kurtosis - kurtosis_2) / (48 / size) ** 0.5)
    return float(max(apart))


def compare(ours: Observation, wanted: Observation, bars: dict[str, tuple[str, float]] = BARS) -> list[Row]:
    """One row for each kind that either has; an array that only one has is infinitely far away."""
    rows = []
    for kind, (measure, bar) in bars.items():
        names = sorted(name for name in ours.keys() | wanted.keys() if name.startswith(f"{kind}/"))
        gaps = [
            (distance(measure, ours[name], wanted[name]) if name in ours and name in wanted else np.inf, name)
            for name in names
        ]
        if gaps:
            largest, where = max(gaps)
            rows.append(Row(kind, measure, largest, bar, len(gaps), where))
    return rows


def condense(observation: Observation) -> Observation:
    """Long arrays as two numbers: the root mean square, and the product with a fixed sequence, which sees the order."""
    return {name: x if x.size <= WRITTEN_WHOLE else _two_numbers(x) for name, x in observation.items()}


def _two_numbers(x: np.ndarray) -> np.ndarray:
    flat = x.astype(np.float64).ravel()
    against = np.cos(np.arange(flat.size) * 0.7)
    return np.array([np.sqrt(np.mean(flat**2)), np.dot(flat, against) / flat.size**0.5])


def observe_all(engine: Engine, case: str, seed: int, dtype: torch.dtype = torch.float32) -> Observation:
    """Model and data of one case, from one seed."""
    cfg = case_config(case)
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), seed)
        data = observe_data(engine, cfg, Path(folder), seed)
    return observe_model(engine, cfg, seed, dtype) | data


def print_table(case: str, seeds: list[int], tables: list[list[Row]]) -> None:
    print(f"\n{case}")
    print(f"{'':16s}{'measure':>10s}{'bar':>9s}{'arrays':>8s}" + "".join(f"{f'seed {s}':>11s}" for s in seeds))
    for rows in zip(*tables, strict=True):
        first = rows[0]
        verdict = "pass" if all(row.passes for row in rows) else "FAIL: " + max(rows, key=lambda r: r.difference).where
        differences = "".join(f"{row.difference:11.1e}" for row in rows)
        print(f"{first.kind:16s}{first.measure:>10s}{first.bar:9.0e}{first.count:8d}{differences}  {verdict}")


def write_golden(path: Path) -> None:
    """detectron2's float64 values of every case, condensed, as JSON."""
    import detectron2

    golden = {
        "command": f"python benchmarks/engine_parity.py --write-golden {path.as_posix()}",
        "versions": {"detectron2": detectron2.__version__, "torch": torch.__version__},
        "seed": GOLDEN_SEED,
    }
    engine = Detectron2Engine()
    golden["cases"] = {
        case: {
            name: [list(x.shape), [float(f"{v:.10g}") if v % 1 else int(v) for v in x.ravel().tolist()]]
            for name, x in condense(observe_all(engine, case, GOLDEN_SEED, torch.float64)).items()
        }
        for case in tqdm(CASES, unit="case")
    }
    lines = json.dumps(golden, indent=0).replace("\n]", "]").replace("[\n", "[").replace(",\n", ", ")
    path.write_text(lines.replace('], "', '],\n"') + "\n", encoding="utf-8")


def read_golden(path: Path) -> tuple[int, dict[str, Observation]]:
    """Seed and, for each case, what :func:`write_golden` has written."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    return golden["seed"], {
        case: {name: np.array(values, dtype=float).reshape(shape) for name, (shape, values) in observation.items()}
        for case, observation in golden["cases"].items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--case", action="append", choices=tuple(CASES), help="default: all")
    parser.add_argument("--write-golden", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    try:
        theirs = Detectron2Engine()
    except ImportError as error:
        sys.exit(
            f"detectron2 cannot be imported ({error}): install it as docs/detectron2.md says; without it, "
            "tests/test_detection_parity_golden.py compares with values that were written out from it."
        )
    logging.getLogger("detectron2").setLevel(logging.ERROR)  # it explains COCO's category ids for every file
    if args.write_golden:
        write_golden(args.write_golden)
        return 0
    ours, passes = TorchvisionEngine(), True
    for case in args.case or CASES:
        tables = [compare(observe_all(ours, case, seed), observe_all(theirs, case, seed)) for seed in args.seeds]
        print_table(case, args.seeds, tables)
        passes &= all(row.passes for rows in tables for row in rows)
    print("\nall within their bars" if passes else "\nat least one bar is missed")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
