"""The last stage: from result files to ``report.md``, ``report.html``, ``report.json``, ``plots/`` and the terminal."""

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
from fvcore.common.config import CfgNode

from clsa.configs.run_files import atomic_write, git_commit, plain, versions, write_json

from .content import Content, build_content
from .detection_sheet import detection_plot
from .gather import gather
from .ledger import read_ledger
from .plan import world_root
from .plots import DPI, THEMES, Plot, all_plots
from .tables import build_tables
from .write_html import html_text
from .write_markdown import markdown_text
from .write_terminal import terminal_text

REPORT_SCHEMA_VERSION = 1
FILES = ("report.md", "report.html", "report.json")


def make_report(cfg: CfgNode, output: Path) -> None:
    """Write the report of the runs below ``output`` and print its tables. Damaged results are named and left out."""
    gathered = gather(output, [*cfg.CLASSIFY.BASELINES, *cfg.METHODS])
    tables = build_tables(gathered)
    plots = all_plots(tables, gathered)
    sheet = detection_plot(gathered, world_root(cfg, output))
    plots += [sheet] if sheet else []
    content = build_content(cfg, gathered, tables, read_ledger())
    pictures = _draw(plots)
    for (name, theme), png in pictures.items():
        suffix = "" if theme == "light" else f"_{theme}"
        with atomic_write(output / "plots" / f"{name}{suffix}.png") as file:
            file.write(png)
    _write(output / "report.md", markdown_text(content, plots))
    _write(output / "report.html", html_text(content, plots, pictures))
    write_json(output / "report.json", _as_json(content, plots, cfg))
    print(terminal_text(content))
    print(f"\nreport: {', '.join(str(output / name) for name in FILES)}")


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


def _as_json(content: Content, plots: Sequence[Plot], cfg: CfgNode) -> dict:
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        **asdict(content),
        "plots": [{"file": f"plots/{plot.name}.png", "title": plot.title, "caption": plot.caption} for plot in plots],
        "versions": versions(),
        "git_commit": git_commit(),
        "config": plain(cfg),
    }
