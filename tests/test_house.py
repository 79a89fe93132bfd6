"""The rules of the house that a machine can check: who imports whom, under which names, and what stays lazy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = ("pretrain", "convert", "detection", "classification")
FOLDERS = (*STAGES, "datasets", "reproduce", "configs")
SHARED = {"clsa.configs", "clsa.datasets"}


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def absolute_imports(path: Path) -> set[str]:
    """Every absolutely imported module of a file, ``from a import b`` counted as ``a.b``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_are_the_interface(folder: str) -> None:
    """No stage imports another; whoever reads backbone weights does it with clsa.convert.backbone_file."""
    allowed = SHARED | {f"clsa.{folder}"}
    if folder == "configs":
        allowed = {"clsa.configs"}
    elif folder == "datasets":
        allowed = {"clsa.configs", "clsa.datasets"}
    for path in python_files(folder):
        for name in absolute_imports(path):
            if name.startswith("clsa.") and not name.startswith("clsa.convert.backbone_file"):
                assert ".".join(name.split(".")[:2]) in allowed, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_is_imported_by_its_bare_name(folder: str) -> None:
    for path in python_files(folder):
        bare = {name for name in absolute_imports(path) if name.split(".")[0] in FOLDERS}
        assert not bare, f"{path.relative_to(ROOT)} imports {bare}: write clsa.<folder>"


@pytest.mark.parametrize(("package", "home"), [("detectron2", "detection"), ("sklearn", "classification")])
def test_heavy_packages_stay_in_their_folder(package: str, home: str) -> None:
    for folder in FOLDERS:
        if folder != home:
            for path in python_files(folder):
                users = [name for name in absolute_imports(path) if name.split(".")[0] == package]
                assert not users, f"{path.relative_to(ROOT)} imports {package}, which belongs to {home}/"


def test_one_name_per_module_and_nothing_heavy_on_import() -> None:
    """After importing everything: no folder's bare name is in sys.modules, nor is detectron2 or scikit-learn."""
    modules = sorted(
        "clsa." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in FOLDERS
        for path in python_files(folder)
    )
    lazy = [
        f"clsa.detection.{name}"
        for name in ("extra_norm_head", "detectron2_run", "detectron2_trainer", "detectron2_evaluators")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {[m for m in modules if m not in lazy]!r}: importlib.import_module(name)\n"
        f"bare = [name for name in {(*FOLDERS, 'detectron2', 'sklearn')!r} if name in sys.modules]\n"
        "assert not bare, bare\n"
        "print(len(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert run.returncode == 0, run.stderr


def test_type_checkers_see_the_folders() -> None:
    for folder in FOLDERS:
        assert (ROOT / "typings" / "clsa" / folder).resolve() == (ROOT / folder).resolve()
