"""The torchvision engine against values that detectron2 computed, in ``detection_parity.json``: runs everywhere.

Both computed in float64, whose rounding is a millionth of the bars, so that another CPU or another version of PyTorch
takes the same proposals and the same detections. Regenerate the file, where detectron2 is installed, by

    python benchmarks/engine_parity.py --write-golden tests/detection_parity.json
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

from engine_parity import GOLDEN_BARS, compare, condense, deviation, distance, observe_all, read_golden
from parity_cases import CASES
from parity_engines import TorchvisionEngine

SEED, GOLDEN = read_golden(Path(__file__).parent / "detection_parity.json")


@pytest.mark.parametrize("case", CASES)
def test_everything_equals_what_detectron2_computed(case: str) -> None:
    ours = condense(observe_all(TorchvisionEngine(), case, SEED, torch.float64))
    rows = compare(ours, GOLDEN[case], GOLDEN_BARS)
    assert not [row for row in rows if not row.passes]
    masks = {"masks"} if "mask" in case else set()
    assert {row.kind for row in rows} == set(GOLDEN_BARS) - {"masks"} | masks


def test_a_difference_of_any_kind_is_seen() -> None:
    """Each kind of value, moved by a little more than its bar, misses it; so does one that is absent."""
    golden = GOLDEN["FPN mask"]
    for kind, (measure, bar) in GOLDEN_BARS.items():
        name = next(n for n in golden if n.startswith(f"{kind}/") and golden[n].any())
        step = {"absolute": max(bar, 1e-9), "relative": bar * np.abs(golden[name]).max(), "sigma": 1.0}[measure]
        changed = golden | {name: golden[name] + 2 * step}
        assert [row.kind for row in compare(changed, golden, GOLDEN_BARS) if not row.passes] == [kind], name
        changed.pop(name)
        assert [row.kind for row in compare(changed, golden, GOLDEN_BARS) if not row.passes] == [kind], name


def test_distances_written_out() -> None:
    a, b = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert distance("absolute", b, a) == 0.5
    assert distance("relative", b, a) == pytest.approx(0.1)
    assert distance("relative", a[:1], a) == distance("absolute", a * np.nan, a) == np.inf
    assert distance("relative", a * 0, a * 0) == 0


def test_a_normal_distribution_is_told_from_a_uniform_one_of_equal_spread() -> None:
    from parity_observations import moments

    rng = np.random.default_rng(0)
    normal, again = rng.normal(0, 0.01, 5000), rng.normal(0, 0.01, 5000)
    assert deviation(moments(normal), moments(again)) < 4
    assert deviation(moments(rng.uniform(-(3**0.5), 3**0.5, 5000) / 100), moments(normal)) > 10
    assert deviation(moments(2 * again), moments(normal)) > 10
    assert deviation(moments(np.zeros(3)), moments(np.zeros(3))) == 0
    assert deviation(moments(np.ones(3)), moments(np.zeros(3))) == np.inf
