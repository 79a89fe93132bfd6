"""The data that tests of all folders share, one thread for each of pytest's processes, and the longest test first."""

import os
from pathlib import Path

# Before anything imports torch: pytest runs one process a core, and a second thread in each would only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

#: Files that take longest, in this order. A long file that starts last would leave the other core idle.
LONGEST_FIRST = ("test_reproduce_smoke_road.py", "test_pretrain_distributed.py", "test_pretrain_train.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def mini_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a tiny miniature world. Read it only; a test that damages data copies what it needs first."""
    from clsa.datasets.mini.world import render_world

    root = tmp_path_factory.mktemp("data") / "mini"
    render_world(root, "tiny", seed=0, workers=1)
    return root
