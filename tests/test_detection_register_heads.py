"""``import clsa.detection``: cheap, and detectron2 knows the heads afterwards, in whichever order they are imported."""

import importlib.util
import subprocess
import sys

import pytest

needs_detectron2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed"
)

IN_A_SCRIPT_OF_ONES_OWN = """
{first}
{second}
from detectron2.config import get_cfg
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, build_roi_heads
from detectron2.layers import ShapeSpec
import detectron2.modeling

cfg = get_cfg()
cfg.MODEL.ROI_HEADS.NAME = "Res5ROIHeadsExtraNorm"
cfg.MODEL.RESNETS.NORM = "BN"
cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 8
heads = build_roi_heads(cfg, {{"res4": ShapeSpec(channels=32, stride=16)}})
assert heads.res5.norm.num_features == 64, heads
import clsa.detection.extra_norm_head as module
assert ROI_HEADS_REGISTRY.get("Res5ROIHeadsExtraNorm") is module.Res5ROIHeadsExtraNorm
assert type(detectron2.modeling.__loader__).__name__ == "SourceFileLoader"
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_detectron2
@pytest.mark.parametrize(
    "order",
    [
        ("import clsa.detection", "import detectron2.modeling"),
        ("import detectron2", "import clsa.detection"),
        ("from detectron2.engine import launch", "import clsa.detection"),
    ],
)
def test_a_script_finds_the_head(order: tuple[str, str]) -> None:
    run(IN_A_SCRIPT_OF_ONES_OWN.format(first=order[0], second=order[1]))


def test_the_import_alone_is_cheap() -> None:
    """Neither detectron2 nor PyTorch, and nothing that slows down the search for other modules for good."""
    run(
        "import sys; before = len(sys.meta_path); import clsa.detection\n"
        "assert not {'torch', 'detectron2', 'fvcore'} & set(sys.modules)\n"
        "assert len(sys.meta_path) == before + 1\n"
        "import clsa.detection.config, importlib; importlib.reload(clsa.detection)\n"
        "assert len(sys.meta_path) == before + 1, sys.meta_path\n"
    )
