"""From result files to ``report.md``, ``.html``, ``.json``, ``.csv``, ``.tex``, ``plots/`` and the terminal."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from fvcore.common.config import CfgNode

from clsa.configs.loading import find_config
from clsa.configs.run_files import atomic_write, git_commit, plain, versions, write_json

from .backbones import row_names
from .baseline import fall_back
from .claims import PAPER, read_claims
from .content import Content, build_content
from .data_stage import data_root
from .gather import Gathered, gather
from .ledger import FOLDER as LEDGER
from .ledger import read_ledger
from .plots.gallery import all_plots
from .plots.style import DPI, THEMES, Plot
from .saved_detections import SavedDetections, detections_file
from .stamp import fingerprint
from .tables import build_tables
from .write_csv import csv_text
from .write_html import html_text
from .write_latex import latex_text
from .write_markdown import markdown_text
from .write_terminal import terminal_text

REPORT_SCHEMA_VERSION = 4
FILES = ("report.md", "report.html", "report.json", "report.csv", "report.tex")


def make_report(cfg: CfgNode, output: Path) -> None:
    """The report of a run of ``clsa-reproduce``, with its config in ``report.json``. See :func:`write_report`."""
    gathered = gather(output, row_names(cfg))
    write_report(gathered, output, data_root(cfg, output), plain(cfg), baseline=cfg.BASELINE or None)


def write_report(
    gathered: Gathered,
    output: Path,
    world: Path | None,
    config: Mapping[str, Any],
    own_ledgers: Sequence[Path] = (),
    claims: str | Path = PAPER,
    baseline: str | None = None,
) -> None:
    """Write the report of ``gathered`` into ``output`` and print it. Damaged results are named and left out.

    A report that stands for the same files, config and package version is only printed.

    Args:
        world: folder of the data sets, for pictures of results whose own is gone; None: there is no other.
        config: what else decides the report, as ``report.json`` will keep it.
        own_ledgers, claims: YAML files, see :mod:`.ledger` and :mod:`.claims`.
        baseline: method of the deltas and of the verdicts; None: MoCo v2, and in tables without it random init.
    """
    judged_by = read_claims(claims)
    published = read_ledger(own=own_ledgers)
    tables = build_tables(gathered, published, baseline) if baseline else fall_back(build_tables(gathered, published))
    inputs = _inputs(gathered, world, [*sorted(LEDGER.glob("*.yaml")), *own_ledgers, find_config(str(claims))])
    report = _standing(output, inputs, config)
    if report is None:
        plots = all_plots(tables, gathered, world)  # before the content, which names what they leave out
        content = build_content(gathered, tables, published, judged_by)
        pictures = _draw(plots)
        for (name, theme), png in pictures.items():
            suffix = "" if theme == "light" else f"_{theme}"
            with atomic_write(output / "plots" / f"{name}{suffix}.png") as file:
                file.write(png)
        _write(output / "report.md", markdown_text(content, plots))
        _write(output / "report.html", html_text(content, plots, pictures))
        _write(output / "report.csv", csv_text(content))
        _write(output / "report.tex", latex_text(content))
        report = _as_json(content, plots, config, inputs)
        write_json(output / "report.json", report)
    else:
        gathered.left_out = report["left_out"]
        content = build_content(gathered, tables, published, judged_by)
    print(terminal_text(content, report["plots"]))
    print(f"\nreport: {', '.join(str(output / name) for name in FILES)}")


def _inputs(gathered: Gathered, world: Path | None, listed: Sequence[Path]) -> dict[str, str]:
    """Path (below the output folder where it lies there) -> SHA-256 of every file that the report was made from."""
    saved = SavedDetections(gathered, world)
    detectors = [m for m in gathered.measured if m.stage == "detection"]
    left = [file for m in detectors for file in (detections_file(m), saved.annotations_file(m)) if file]
    found = {}
    for file in dict.fromkeys([*gathered.files, *(file for file in left if file.is_file())]):
        inside = file.is_relative_to(gathered.output)
        found[(file.relative_to(gathered.output) if inside else file).as_posix()] = fingerprint(file)
    return found | {file.name: fingerprint(file) for file in listed}


def _standing(output: Path, inputs: dict[str, str], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """``report.json`` of a report that was made from the same, by the same version, and is whole; else None."""
    try:
        report = json.loads((output / "report.json").read_text(encoding="utf-8"))
        version = report["versions"]["clsa-transfer"]
        same = (report["inputs"], report["config"], version) == (inputs, config, versions()["clsa-transfer"])
        same = same and report["schema_version"] == REPORT_SCHEMA_VERSION
        files = [*FILES, *(plot["file"] for plot in report["plots"])]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if same and all((output / name).is_file() for name in files) else None


def _draw(plots: Sequence[Plot]) -> dict[tuple[str, str], bytes]:
    """(plot's name, theme's name) -> PNG bytes."""
    pictures = {}
    for plot in plots:
        for theme in THEMES:
            figure = plot.draw(theme)
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=DPI, format="png", facecolor=theme.ground)
            plt.close(figure)
            pictures[plot.name, theme.name] = buffer.getvalue()
    return pictures


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)


def _as_json(
    content: Content, plots: Sequence[Plot], config: Mapping[str, Any], inputs: Mapping[str, str]
) -> dict[str, Any]:
    """Every number with all its digits. A row's ``samples`` hold each trial's value, its ``values`` the means."""
    written = asdict(content)
    for table, as_written in zip(content.tables, written["tables"], strict=True):
        for row, fields in zip(table.rows, as_written["rows"], strict=True):
            fields["values"] = list(row.values)
            fields["std"] = [found and found.std for found in row.samples]
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        **written,
        "plots": [
            {
                "file": f"plots/{plot.name}.png",
                "title": plot.title,
                "caption": plot.caption,
                "section": plot.section,
            }
            for plot in plots
        ],
        "inputs": dict(inputs),
        "versions": versions(),
        "git_commit": git_commit(),
        "config": dict(config),
    }
