"""``clsa-report``: the report of any result files, wherever they were made."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clsa.configs.command import InputError, command

from .claims import PAPER
from .gather import Gathered, RunFolder, gather_folders
from .methods import REFERENCE, UNTRAINED
from .report import write_report

EXAMPLES = """\
Every result.json below the folders is read: of clsa-detect (with --trials, too), clsa-classify, clsa-reproduce. The
method is the one that the weights' manifest names; NAME=DIR names it yourself. Results of one method that differ in
trial or seed alone become a mean and a standard deviation. Of several pretrainings, whose configs differ in SEED alone
or which you give one NAME, each counts once, as the mean of its trials. Two protocols, engines, data sets, metric
flavours or settings never share a column. What is damaged is named and left out.

Verdicts: Welch's 95 % interval of the difference of means, over trials or, of several pretrainings, over these. With
one on a side nothing stands out from noise. "Reproduced" is said of claims alone, on their protocol and full data.

examples:
  clsa-report runs/mini --output report
  clsa-report output/voc_moco output/voc_clsa --output report
  clsa-report moco_v2=output/a clsa_multi=output/b supervised=output/c --output report
  clsa-report runs/steps1500/seed* --output report
  clsa-report moco_v2=seed0/moco moco_v2=seed1/moco clsa_single=seed0/clsa clsa_single=seed1/clsa --output report
  clsa-report runs/mini --output report --ledger mine.yaml --baseline random_init

It writes report.md, report.html (one file, nothing loaded), report.json (all digits, each trial), report.csv (a line a
value), report.tex (booktabs) and plots/, and prints the report.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-report",
        description="Tables, verdicts and the paper's claims from result files; AP_S first, like with like.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR", help="folder with results below, or NAME=FOLDER")
    parser.add_argument("--output", required=True, metavar="DIR", help="where the report goes")
    parser.add_argument(
        "--ledger", action="append", default=[], metavar="FILE", help="published numbers of your own; can be repeated"
    )
    parser.add_argument("--claims", default=PAPER, metavar="FILE", help="claims to judge; default: %(default)s")
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        help=f"of deltas and verdicts; default: {REFERENCE}, in tables without it {UNTRAINED}",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    output = Path(arguments.output).absolute()
    gathered = gather_folders([run_folder(text) for text in arguments.runs], output)
    if not gathered.files:
        raise InputError(f"there is no result.json below {', '.join(arguments.runs)}")
    methods = gathered.methods
    if arguments.baseline and arguments.baseline not in methods:
        raise InputError(f"--baseline is {arguments.baseline!r}, the methods here are {', '.join(methods) or 'none'}")
    ledgers = [Path(file) for file in arguments.ledger]
    config = {"runs": list(arguments.runs), "baseline": arguments.baseline}
    write_report(gathered, output, _world(gathered), config, ledgers, arguments.claims, arguments.baseline)
    return 0


def run_folder(text: str) -> RunFolder:
    """``DIR`` or ``NAME=DIR``; a folder that is there is taken as it is, whatever its name."""
    name, equals, path = text.partition("=")
    if not equals or Path(text).is_dir():
        return RunFolder(Path(text).absolute())
    if not name:
        raise InputError(f"{text!r} has no name before =. Give DIR or NAME=DIR.")
    return RunFolder(Path(path).absolute(), name)


def _world(gathered: Gathered) -> Path | None:
    """Root of the images of the first COCO result."""
    for m in gathered.measured:
        root = m.result["dataset"].get("root")
        if m.stage == "detection" and m.result["metric_flavour"] == "COCO" and root:
            return Path(root)
    return None


if __name__ == "__main__":
    sys.exit(main())
