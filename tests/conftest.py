"""The data that tests of all folders share, one thread for each of pytest's processes, and the longest test first."""

import copy
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def nine_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class folder of 9 images, 64 x 48: epochs of two steps of 4. Read it only."""
    import numpy as np
    from PIL import Image

    root, chance = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    (root / "n01").mkdir()
    for number in range(9):
        coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(root / "n01" / f"{number}.JPEG")
    return root


@pytest.fixture(scope="session")
def places() -> Callable[[Any], Iterator[tuple]]:
    """``places(content)``: every place in a nest of dicts and lists, as the keys that lead there."""

    def inside(content: Any, above: tuple = ()) -> Iterator[tuple]:
        keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
        for key in keys:
            yield (*above, key)
            yield from inside(content[key], (*above, key))

    return inside


@pytest.fixture(scope="session")
def changed() -> Callable[[Any, tuple, Any], Any]:
    """``changed(content, place, value)``: a copy with another value in one place; with ``...`` nothing is there."""

    def change(content: Any, place: tuple, value: Any) -> Any:
        content = copy.deepcopy(content)
        holder = content
        for key in place[:-1]:
            holder = holder[key]
        if value is ...:
            del holder[place[-1]]
        else:
            holder[place[-1]] = value
        return content

    return change


@pytest.fixture
def coco_evaluator():
    """``build(name, path, names, first_id)``: detectron2's COCO evaluator of the annotations ``path``, for boxes."""

    def build(name, path, names, first_id):
        from detectron2.data import MetadataCatalog
        from detectron2.evaluation import COCOEvaluator

        metadata = MetadataCatalog.get(name)
        metadata.json_file = str(path)
        metadata.thing_classes = list(names)
        metadata.thing_dataset_id_to_contiguous_id = {first_id + k: k for k in range(len(names))}
        evaluator = COCOEvaluator(name, tasks=("bbox",))
        evaluator.reset()
        return evaluator

    return build


@pytest.fixture
def require_equal():
    """``check(ours, theirs, task, prefix)``: our figures are detectron2's to 1e-9, in all and per class."""

    def check(ours, theirs, task="bbox", prefix="bbox"):
        for metric in ("AP", "AP50", "AP75", "APs", "APm", "APl"):
            same(ours["values"][f"{prefix}/{metric}"], theirs[task][metric])
        for name, value in ours["per_class"][f"{prefix}/AP"].items():
            same(value, theirs[task][f"AP-{name}"])

    def same(value, expected):
        assert (value is None and math.isnan(expected)) or value == pytest.approx(expected, abs=1e-9)

    return check
