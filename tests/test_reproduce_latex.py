"""The tables for a paper: what they say, what TeX makes of odd text, and that nothing reaches beyond the text."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.run_files import write_result
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.latex_escape import escape
from clsa.reproduce.ledger import read_ledger
from clsa.reproduce.tables import build_tables
from clsa.reproduce.write_latex import latex_text

PDFLATEX = shutil.which("pdflatex")
SIZES = {f"{kind}/{name}": 20.0 for kind in ("bbox", "segm") for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
FOUR = {"mAP envelope": 84.3, "mAP step": 84.0, "mAP 11-point": 82.1, "per-image AP": 91.0}
LOW_SHOT = {f"{choice}, k={k}": 50.0 for choice in ("cross_validated", "oracle_c") for k in (1, 2, 4, 8, 16, 32, 64)}

#: A class, a size and a paper that many use; its text is 345 points wide.
DOCUMENT = r"""\documentclass[10pt,letterpaper]{article}
\usepackage{booktabs}
\usepackage{array}
\begin{document}
\input{report.tex}
\end{document}
"""


def put(folder: Path, method: str, values: dict, trial: int = 0, **changes) -> None:
    """A result.json; by default of a detector under COCO's C4 2x, measured in full."""
    detection = {"stage": "detection", "protocol": "coco-r50-c4-2x", "metric_flavour": "COCO", "engine": "detectron2"}
    result = {**detection, "name": "coco_2017_val", "images": 5000, "world": None, **changes}
    dataset = {"name": result.pop("name"), "fingerprint": {"images": result.pop("images")}}
    source = {"format": "clsa-pretrain", "method": method, "epoch": 200}
    write_result(
        folder / str(trial),
        values=values,
        per_class={},
        weights={"file": "w.pkl", "sha256": method, "architecture": {"depth": 50}, "source": source},
        dataset={**dataset, "miniature": result.pop("world")},
        seed=trial,
        trial=trial,
        wall_seconds=1.0,
        config=CfgNode(),
        **result,
    )


@pytest.fixture
def latex(tmp_path: Path) -> str:
    """COCO and VOC beside the ledger, a probe of four flavours, one of many columns, and a miniature run."""
    put(tmp_path / "a", "moco_v2", SIZES)
    for k in range(3):
        put(tmp_path / "b", "clsa_multi", {key: value + 1 + k / 10 for key, value in SIZES.items()}, k)
    voc = {"protocol": "voc-r50-c4-24k", "metric_flavour": "VOC 11-point, IoU .50:.95", "name": "voc_2007_test"}
    put(tmp_path / "c", "moco_v2", {"bbox/AP": 57.0, "bbox/AP50": 82.4, "bbox/AP75": 63.6}, **voc, images=4952)
    probe = {"stage": "classification", "metric_flavour": "class mAP, envelope", "engine": "torch", "images": 9963}
    probe |= {"name": "VOC2007 trainval -> test"}
    put(tmp_path / "d", "moco_v2", FOUR, protocol="voc07-svm-fair26", **probe)
    put(
        tmp_path / "d" / "long",
        "moco_v2_200ep_lr0.03_bs256_cos_aug_plus_seed1",
        FOUR,
        protocol="voc07-svm-fair26",
        **probe,
    )
    put(tmp_path / "e", "moco_v2", LOW_SHOT, protocol="voc07-lowshot-fair26", **probe)
    lr = {"key": "SOLVER.BASE_LR", "value": 0.1, "protocol_value": 0.02, "why": "..."}
    details = {"protocol_check": {"nearest": "coco-r50-fpn-1x-moco-2fc", "differences": [lr]}}
    mini = {"protocol": "mini-coco-fpn-r18", "engine": "torchvision", "images": 300}
    for method in ("random_init", "moco_v2", "clsa_single"):
        put(tmp_path / "mini", method, SIZES, world={"size": "tiny", "seed": 0}, details=details, **mini)
    gathered = gather_folders([RunFolder(tmp_path / part) for part in "abcde"], tmp_path)
    tables = build_tables(gathered, read_ledger())
    tables += build_tables(gather_folders([RunFolder(tmp_path / "mini")], tmp_path), read_ledger())
    return latex_text(SimpleNamespace(tables=tables))


def test_numbers_stand_alone_and_what_belongs_to_them_below(latex) -> None:
    table = latex.split(r"\begin{table}")[2]
    assert r"\caption{COCO detection. Protocol coco-r50-c4-2x, engine detectron2, coco\_2017\_val, COCO, perc" in table
    assert r"MoCo v2 & 1 & 20.0 & 20.0 & 20.0 & 20.0 & 20.0 & 20.0 \\" in table
    assert r"CLSA-Multi & 3 & \textbf{21.1} & " in table
    assert r"\quad\scriptsize standard deviation &  & \scriptsize 0.10 & " in table
    assert r"\quad\scriptsize minus MoCo v2 &  & \scriptsize +1.1 & " in table
    assert r"\multicolumn{8}{@{}l@{}}{\emph{Published, not measured here}} \\" in table
    assert r"InfoMin, 200 epochs\textsuperscript{a} &  & 41.3 &  &  &  &  &  \\" in table
    assert r"\textsuperscript{a}\,verified: pycontrast/\allowbreak{}detection/\allowbreak{}README.md" in table


def test_the_head_says_what_it_needs_and_every_table_is_whole(latex) -> None:
    head = latex.split(r"\begin{table}")[0]
    assert r"\usepackage{booktabs}" in head
    assert r"\usepackage{array}" in head
    assert all(line.startswith("%") for line in head.splitlines() if line)
    for name in ("table", "tabular", "minipage"):
        assert latex.count(rf"\begin{{{name}}}") == latex.count(rf"\end{{{name}}}") > 0
    for block in re.findall(
        r"\\begin\{tabular\}\{@\{\}>\{.*?\}p\{\d+pt\}(r+)@\{\}\}(.*?)\\end\{tabular\}", latex, re.S
    ):
        rows = [line for line in block[1].splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(block[0])}
    assert re.search(r"Not as published: batch and lr\.\}", latex)
    assert latex.isascii()


def test_no_text_is_a_command() -> None:
    assert escape("50 % of a_b & AP_S, 32²") == r"50 \% of a\_b \& AP$_S$, 32$^2$"
    assert escape("VOC2007 trainval -> test, a < b | c > d") == (
        r"VOC2007 trainval $\rightarrow$ test, a $<$ b $|$ c $>$ d"
    )
    assert escape(r"\input{x} ~^ #1 $y$") == (
        r"\textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{} \#1 \$y\$"
    )
    assert escape("[1] *") == "{[}1] {*}"
    assert escape("--json, 3–5, x\ny") == r"-{}-json, 3--5, x y"
    assert escape("Müller ﬁts ☃ 漢") == "Müller fits {[}U+2603] {[}U+6F22]"


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")
def test_nothing_reaches_beyond_the_text(latex, tmp_path) -> None:
    odd = " ".join(chr(k) for k in range(32, 127)) + " ²±×·−–—…→≤≥≈≠“”‘’αβλμτé\u0142☃"
    (tmp_path / "report.tex").write_text(latex + f"\n\\raggedright {escape(odd)} {escape('->')}\n\n[x]\n")
    assert "Overfull" not in compiled(tmp_path)
    (tmp_path / "report.tex").write_text(r"\noindent\rule{360pt}{1pt}")
    assert re.search(r"Overfull \\hbox \(15.0", compiled(tmp_path))  # so it would be seen


def compiled(folder: Path) -> str:
    (folder / "paper.tex").write_text(DOCUMENT)
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    log = (folder / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log
