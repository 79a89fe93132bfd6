"""Converted files in detectron2 itself: its checkpointer loads all of them, its trunk computes the same features."""

from pathlib import Path

import pytest
import torch
from torch import nn

from clsa.convert.architecture import Architecture
from clsa.convert.backbone_file import build_trunk, detectron2_name, write_backbone
from clsa.convert.proof import torchvision_stages

pytest.importorskip("detectron2", reason="detectron2 is not installed: converted files cannot be loaded into it")


@pytest.fixture(scope="module", params=[".pkl", ".pth"])
def converted(request, tmp_path_factory) -> tuple[dict[str, torch.Tensor], Path]:
    """The tensors of a ResNet-50, as if trained, and the file that was made of them."""
    torch.manual_seed(0)
    network = build_trunk(50)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    state = {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}
    path = tmp_path_factory.mktemp("converted") / f"backbone{request.param}"
    write_backbone(path, state, "detectron2", {})
    return state, path


def build_detector(kind: str, norm: str) -> nn.Module:
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
    cfg.MODEL.RESNETS.NORM = norm
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    if kind == "FPN":
        levels = ["res2", "res3", "res4", "res5"]
        cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
        cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = levels
        cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
        cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
        cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
        cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
        cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
        cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 1
        cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 16
    return build_model(cfg).eval()


def place_in_detector(name: str, kind: str) -> str:
    """Where detectron2 keeps a trunk tensor: C4 has res5 in its box head."""
    if kind == "FPN":
        return f"backbone.bottom_up.{name}"
    return f"roi_heads.{name}" if name.startswith("res5.") else f"backbone.{name}"


@pytest.mark.parametrize(("kind", "norm"), [("C4", "BN"), ("FPN", "BN"), ("C4", "FrozenBN")])
def test_all_tensors_arrive_and_every_stage_agrees(converted, kind: str, norm: str) -> None:
    from detectron2.checkpoint import DetectionCheckpointer

    state, path = converted
    model = build_detector(kind, norm)
    DetectionCheckpointer(model).load(str(path))
    loaded = model.state_dict()
    places = {name: place_in_detector(detectron2_name(name), kind) for name in state}
    assert sum(torch.equal(loaded[place], state[name]) for name, place in places.items()) == 265 == len(state)

    images = torch.randn(1, 3, 96, 64)
    expected = torchvision_stages(state, Architecture(50), images)
    trunk = model.backbone.bottom_up if kind == "FPN" else model.backbone
    with torch.no_grad():
        features = {"stem": trunk.stem(images)}
        for name, stage in zip(trunk.stage_names, trunk.stages, strict=True):
            features[name] = stage(next(reversed(features.values())))
        if kind == "C4":
            features["res5"] = model.roi_heads.res5(features["res4"])
    for stage in expected:
        assert (features[stage] - expected[stage]).abs().max().item() == 0.0, stage
