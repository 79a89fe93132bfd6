"""The C4 head with a norm behind res5, in detectron2."""

import pytest
import torch

from clsa.configs.command import InputError
from clsa.configs.loading import load_config

pytest.importorskip("detectron2", reason="detectron2 is not installed")

from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, build_roi_heads
from detectron2.structures import Boxes

import clsa.detection.extra_norm_head  # noqa: F401  (registers the head)

TINY = ["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "4", "MODEL.DEVICE", "cpu"]


def build(*overrides, name="Res5ROIHeadsExtraNorm"):
    opts = [*TINY, "MODEL.ROI_HEADS.NAME", name, *overrides]
    cfg = load_config(get_cfg(), "configs/detection/voc_r50_c4_24k.yaml", opts)
    torch.manual_seed(0)
    return build_roi_heads(cfg, {"res4": ShapeSpec(channels=1024, stride=16)})


def test_the_name_is_in_the_registry():
    assert "Res5ROIHeadsExtraNorm" in ROI_HEADS_REGISTRY


def test_tensors_beside_detectron2s_own_bear_the_names_of_mocos_detectors():
    extra = set(build().state_dict()) - set(build(name="Res5ROIHeads").state_dict())
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert extra == {f"res5.norm.{name}" for name in names}


@pytest.mark.parametrize(
    ("norm", "layer"), [("SyncBN", "SyncBatchNorm"), ("naiveSyncBN", "NaiveSyncBatchNorm"), ("BN", "BatchNorm2d")]
)
def test_the_norm_is_of_the_kind_of_the_backbones_and_has_res5s_channels(norm, layer):
    added = build("MODEL.RESNETS.NORM", norm).res5.norm
    assert type(added).__name__ == layer
    assert added.num_features == 2048


def test_region_features_are_res5s_features_normalised_per_channel():
    heads = build("MODEL.RESNETS.NORM", "BN")
    with torch.no_grad():
        heads.res5.norm.weight.uniform_(0.5, 2)
        heads.res5.norm.bias.uniform_(-1, 1)
    features = [torch.rand(1, 1024, 6, 6)]
    boxes = [Boxes(torch.tensor([[0.0, 0.0, 60.0, 60.0], [10.0, 20.0, 90.0, 80.0], [5.0, 5.0, 40.0, 90.0]]))]
    with torch.no_grad():
        got = heads._shared_roi_transform(features, boxes)
        plain = torch.nn.Sequential(*(heads.res5[i] for i in range(3)))(heads.pooler(features, boxes)).double()
    mean = plain.mean(dim=(0, 2, 3), keepdim=True)
    variance = (plain - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    scale, shift = (t.detach().double().view(1, -1, 1, 1) for t in (heads.res5.norm.weight, heads.res5.norm.bias))
    expected = (plain - mean) / (variance + 1e-5).sqrt() * scale + shift
    assert got.shape == (3, 2048, 2, 2)
    torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=1e-3)


def test_no_norm_to_add_is_refused():
    with pytest.raises(InputError, match=r"MODEL\.RESNETS\.NORM is \"\".*set NORM to SyncBN"):
        build("MODEL.RESNETS.NORM", "")
