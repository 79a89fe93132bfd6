"""clsa.detection.load_weights: every tensor arrives or the run stops, whichever engine and file."""

from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.convert.backbone_file import Architecture, build_trunk, read_backbone, write_backbone
from clsa.detection.config import get_cfg
from clsa.detection.load_weights import (
    check_architecture,
    check_pixel_settings,
    load_backbone,
    trunk_tensors,
    verify_loaded,
)
from clsa.detection.rcnn import build_model

SUFFIXES = {"torchvision": ".pth", "detectron2": ".pkl"}


def config(base: str, depth: int, width: int = 64) -> CfgNode:
    channels = "64" if depth < 50 else "256"
    overrides = [
        "MODEL.RESNETS.DEPTH",
        str(depth),
        "MODEL.RESNETS.RES2_OUT_CHANNELS",
        channels,
        "MODEL.FPN.OUT_CHANNELS",
    ]
    overrides += ["16", "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.RESNETS.WIDTH_PER_GROUP", str(width)]
    return load_config(get_cfg(), f"detection/base_{base}.yaml", overrides)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Path]:
    """Backbones with random BN statistics, in both targets."""
    folder = tmp_path_factory.mktemp("backbones")
    written = {}
    for depth, width in ((18, 64), (50, 8)):
        torch.manual_seed(depth)
        state = build_trunk(depth, width).state_dict()
        state = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
        for name, tensor in state.items():
            if "running" in name:
                tensor.uniform_(0.5, 1.5)
        for target, suffix in SUFFIXES.items():
            path = folder / f"r{depth}{suffix}"
            write_backbone(path, state, target, {"source": {}})
            written[depth, target] = path
    return written


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("base", ["c4", "fpn"])
@pytest.mark.parametrize(("depth", "width", "count"), [(18, 64, 100), (50, 8, 265)])
def test_every_tensor_arrives(files, base: str, target: str, depth: int, width: int, count: int) -> None:
    cfg = config(base, depth, width)
    model = build_model(cfg)
    backbone = read_backbone(files[depth, target])
    with pytest.raises(InputError, match="the model does not hold the weights of"):
        verify_loaded(model, backbone)
    assert load_backbone(model, files[depth, target], cfg) == count
    assert verify_loaded(model, backbone) == count
    assert trunk_tensors(model).keys() == backbone.state.keys()


def test_one_value_that_differs_is_found(files) -> None:
    cfg = config("c4", 18)
    model = build_model(cfg)
    load_backbone(model, files[18, "torchvision"], cfg)
    with torch.no_grad():
        model.roi_heads.res5[1].bn2.running_var[3] += 1e-6
    with pytest.raises(InputError, match=r"1 tensors disagree: layer4.1.bn2.running_var has other values\."):
        verify_loaded(model, read_backbone(files[18, "torchvision"]))


def test_weights_of_another_architecture_say_what_to_set(files) -> None:
    cfg = config("fpn", 18)
    message = r"holds a ResNet-50 of width_per_group 8, the config wants another.*DEPTH 18.*Set MODEL\S+DEPTH 50"
    with pytest.raises(InputError, match=message):
        load_backbone(build_model(cfg), files[50, "torchvision"], cfg)


def test_the_rest_of_the_model_is_left_alone(files) -> None:
    cfg = config("c4", 18)
    model = build_model(cfg)
    trunk = {t.data_ptr() for t in trunk_tensors(model).values()}
    before = {n: t.clone() for n, t in model.state_dict().items() if t.data_ptr() not in trunk}
    assert "roi_heads.res5.norm.weight" in before
    load_backbone(model, files[18, "detectron2"], cfg)
    assert all(torch.equal(model.state_dict()[n], t) for n, t in before.items())


def test_frozen_stages_are_loaded_too(files) -> None:
    cfg = config("c4", 18).clone()
    cfg.defrost()
    cfg.MODEL.BACKBONE.FREEZE_AT = 3
    assert load_backbone(build_model(cfg), files[18, "torchvision"], cfg) == 100


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("INPUT.FORMAT", "BGR", "INPUT.FORMAT is BGR, .*set it to RGB"),
        (
            "MODEL.PIXEL_MEAN",
            "[103.53, 116.28, 123.675]",
            r"MODEL.PIXEL_MEAN is .*set MODEL.PIXEL_MEAN \"\[123.675, 116",
        ),
        ("MODEL.PIXEL_MEAN", "[0.485, 0.456, 0.406]", "MODEL.PIXEL_MEAN is .*on 0..255"),
        ("MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]", "MODEL.PIXEL_STD is .*58.395, 57.12, 57.375"),
        ("MODEL.RESNETS.STRIDE_IN_1X1", "True", "MODEL.RESNETS.STRIDE_IN_1X1 is True.*set it to False"),
    ],
)
def test_pixels_other_than_the_weights_were_trained_on(files, key: str, value: str, message: str) -> None:
    check_pixel_settings(config("c4", 18))
    cfg = load_config(get_cfg(), "detection/base_c4.yaml", [key, value])
    with pytest.raises(InputError, match=message):
        check_pixel_settings(cfg)


@pytest.mark.parametrize("base", ["c4", "fpn"])
def test_a_trunk_that_is_wider_throughout(base: str, tmp_path: Path) -> None:
    """Stem and stages as in SwAV's resnet50w2, with narrow bottlenecks: both engines, the same features."""
    architecture = Architecture(50, width_per_group=8, stem_channels=128, base_channels=128)
    torch.manual_seed(0)
    state = {n: t for n, t in build_trunk(50, 8, 128, 128).state_dict().items() if not n.endswith("batches_tracked")}
    write_backbone(tmp_path / "wide.pkl", state, "detectron2", {})
    with pytest.raises(InputError, match=r"Set .*STEM_OUT_CHANNELS 128 \S+RES2_OUT_CHANNELS 512 \S+PER_GROUP 8"):
        check_architecture(config(base, 50, 8), read_backbone(tmp_path / "wide.pkl"))
    keys = [str(word) for pair in architecture.detector_keys.items() for word in pair]
    cfg = load_config(get_cfg(), f"detection/base_{base}.yaml", [*keys, "MODEL.DEVICE", "cpu"])
    ours = build_model(cfg).eval()
    assert load_backbone(ours, tmp_path / "wide.pkl", cfg) == 265
    pytest.importorskip("detectron2", reason="builds detectron2's model, which is not installed")
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg as detectron2_cfg
    from detectron2.modeling import build_model as detectron2_model

    import clsa.detection.extra_norm_head  # noqa: F401  registers the head
    from clsa.configs.loading import PACKAGED

    cfg = detectron2_cfg()
    cfg.merge_from_file(str(PACKAGED / f"detection/base_{base}.yaml"))
    cfg.merge_from_list([*keys, "MODEL.DEVICE", "cpu"])
    theirs = detectron2_model(cfg).eval()
    DetectionCheckpointer(theirs).load(str(tmp_path / "wide.pkl"))
    assert verify_loaded(theirs, read_backbone(tmp_path / "wide.pkl")) == 265
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, two = ours.backbone(images), theirs.backbone(images)
    if base == "c4":  # a pyramid has random weights of its own
        assert (one["res4"] - two["res4"]).abs().max().item() == 0.0


@pytest.mark.parametrize("base", ["c4", "fpn"])
def test_detectron2_models_are_verified_by_the_same_function(files, base: str, tmp_path: Path) -> None:
    pytest.importorskip("detectron2", reason="builds detectron2's model, which is not installed")
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg as detectron2_cfg
    from detectron2.modeling import build_model as detectron2_model

    import clsa.detection.extra_norm_head  # noqa: F401  registers the head
    from clsa.configs.loading import PACKAGED

    cfg = detectron2_cfg()
    cfg.merge_from_file(str(PACKAGED / f"detection/base_{base}.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.RESNETS.WIDTH_PER_GROUP", "8"])
    model = detectron2_model(cfg)
    backbone = read_backbone(files[50, "detectron2"])
    with pytest.raises(InputError, match="265 tensors of a ResNet-50"):
        verify_loaded(model, backbone)
    DetectionCheckpointer(model).load(str(files[50, "detectron2"]))
    assert verify_loaded(model, backbone) == 265
