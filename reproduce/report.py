"""The last stage: from result files to ``report.md``, ``report.html``, ``report.json``, ``plots/`` and the terminal."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
from fvcore.common.config import CfgNode

from clsa.configs.run_files import atomic_write, git_commit, plain, versions, write_json

from .content import Content, build_content
from .detection_sheet import DETECTIONS, detection_plot
from .gather import Gathered, gather
from .ledger import FOLDER as LEDGER
from .ledger import read_ledger
from .plan import world_root
from .plots import DPI, THEMES, Plot, all_plots
from .stamp import fingerprint
from .tables import build_tables
from .write_html import html_text
from .write_markdown import markdown_text
from .write_terminal import terminal_text

REPORT_SCHEMA_VERSION = 1
FILES = ("report.md", "report.html", "report.json")


def make_report(cfg: CfgNode, output: Path) -> None:
    """Write the report of the runs below ``output`` and print its tables. Damaged results are named and left out.

    A report that stands for the same files, config and package version is only printed.
    """
    gathered = gather(output, [*cfg.CLASSIFY.BASELINES, *cfg.METHODS])
    tables = build_tables(gathered)
    sheet = detection_plot(gathered, world_root(cfg, output))
    content = build_content(cfg, gathered, tables, read_ledger())
    inputs = _inputs(gathered, sheet)
    if not _stands(output, inputs, cfg):
        plots = all_plots(tables, gathered) + ([sheet] if sheet else [])
        pictures = _draw(plots)
        for (name, theme), png in pictures.items():
            suffix = "" if theme == "light" else f"_{theme}"
            with atomic_write(output / "plots" / f"{name}{suffix}.png") as file:
                file.write(png)
        _write(output / "report.md", markdown_text(content, plots))
        _write(output / "report.html", html_text(content, plots, pictures))
        write_json(output / "report.json", _as_json(content, plots, cfg, inputs))
    print(terminal_text(content))
    print(f"\nreport: {', '.join(str(output / name) for name in FILES)}")


def _inputs(gathered: Gathered, sheet: Plot | None) -> dict[str, str]:
    """Path below the output folder -> SHA-256 of every file that the report was made from."""
    files = list(gathered.files)
    if sheet:
        files += [m.folder / DETECTIONS for m in gathered.measured if (m.folder / DETECTIONS).is_file()]
    found = {file.relative_to(gathered.output).as_posix(): fingerprint(file) for file in files}
    return found | {file.name: fingerprint(file) for file in sorted(LEDGER.glob("*.yaml"))}


def _stands(output: Path, inputs: dict[str, str], cfg: CfgNode) -> bool:
    try:
        report = json.loads((output / "report.json").read_text(encoding="utf-8"))
        version = report["versions"]["clsa-transfer"]
        same = (report["inputs"], report["config"], version) == (inputs, plain(cfg), versions()["clsa-transfer"])
        files = [*FILES, *(plot["file"] for plot in report["plots"])]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return same and all((output / name).is_file() for name in files)


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


def _as_json(content: Content, plots: Sequence[Plot], cfg: CfgNode, inputs: dict[str, str]) -> dict:
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        **asdict(content),
        "plots": [{"file": f"plots/{plot.name}.png", "title": plot.title, "caption": plot.caption} for plot in plots],
        "inputs": inputs,
        "versions": versions(),
        "git_commit": git_commit(),
        "config": plain(cfg),
    }
