"""The command ``clsa-data``."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clsa.datasets.cli import main


def test_a_world_that_stands_is_kept_and_its_sheet_drawn(
    mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["mini", "--root", str(mini_root), "--size", "tiny", "--sheet", str(sheet)]) == 0
    said = capsys.readouterr().out
    assert f"kept {mini_root.resolve()}: it already is the whole miniature world" in said
    assert f"drew {sheet}" in said
    page = np.asarray(Image.open(sheet))
    assert page.shape[1:] == (1920, 3)
    assert page.shape[0] > 1500
    assert (page == 255).all(axis=-1).mean() < 0.5, "mostly pictures, not paper"


def test_another_seed_is_an_error(mini_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mini", "--root", str(mini_root), "--size", "tiny", "--seed", "5"]) == 1
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "-1 is negative"),
        (["--workers", "0"], "0 is less than 1"),
        (["--seed", "one"], "invalid"),
        (["--size", "huge"], "invalid choice"),
    ],
)
def test_arguments_that_are_refused(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["mini", "--root", str(tmp_path / "mini"), "--size", "tiny", *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["mini", "--help"], ["check", "--help"]])
def test_help_has_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "clsa-data" in capsys.readouterr().out.split("example", 1)[1]
