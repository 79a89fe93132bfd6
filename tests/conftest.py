"""The data that tests of all folders share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mini_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a tiny miniature world. Read it only; a test that damages data copies what it needs first."""
    from clsa.datasets.mini.world import render_world

    root = tmp_path_factory.mktemp("data") / "mini"
    render_world(root, "tiny", seed=0, workers=1)
    return root
