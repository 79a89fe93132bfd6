"""The torchvision engine against detectron2, with the same weights, inputs and seed: where detectron2 is installed.

What is compared, how, and to how many digits: ``benchmarks/engine_parity.py``, which prints it as a table.
"""

import sys
from pathlib import Path

import pytest

from clsa.configs.loading import flat_keys
from clsa.detection.config import get_cfg, value_of
from clsa.detection.evaluation_keys import add_evaluation_keys

pytest.importorskip("detectron2", reason="compares with detectron2, which is not installed")

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

from engine_parity import compare, observe_all
from parity_cases import CASES, VARIANTS
from parity_engines import Detectron2Engine, TorchvisionEngine


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", [*CASES, *VARIANTS])
def test_everything_equals_detectron2s(case: str, seed: int) -> None:
    ours, theirs = observe_all(TorchvisionEngine(), case, seed), observe_all(Detectron2Engine(), case, seed)
    rows = compare(ours, theirs)
    assert not [row for row in rows if not row.passes]
    counts = {row.kind: row.count for row in rows}
    assert counts["gradients"] > 30
    assert all(len(ours[f"{kind}/0"]) > 5 for kind in ("proposals", "boxes"))
    assert all(ours[name] > 0 for name in ("losses/loss_rpn_loc", "losses/loss_cls", "losses/loss_box_reg"))


def test_every_key_is_detectron2s_or_listed_as_ours_and_has_detectron2s_default() -> None:
    from detectron2.config import get_cfg as detectron2_cfg

    ours, theirs = get_cfg(), add_evaluation_keys(detectron2_cfg())
    for key in flat_keys(ours):
        assert value_of(ours, key) == value_of(theirs, key), key
        assert type(value_of(ours, key)) is type(value_of(theirs, key)), key
