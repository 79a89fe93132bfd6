"""clsa.detection.rcnn: whole detectors, C4 and FPN, small enough for a CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.detection.config import get_cfg
from clsa.detection.rcnn import RCNN, build_model

SMALL = (
    *("MODEL.RPN.PRE_NMS_TOPK_TRAIN", "60", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "20"),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", "60", "MODEL.RPN.POST_NMS_TOPK_TEST", "10"),
    *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "4", "MODEL.ROI_HEADS.NUM_CLASSES", "5"),
    *("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "4", "MODEL.ROI_BOX_HEAD.FC_DIM", "32"),
    *(
        "MODEL.FPN.OUT_CHANNELS",
        "16",
        "MODEL.ROI_MASK_HEAD.CONV_DIM",
        "8",
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION",
        "4",
    ),
)
RESNET18 = ("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64")
NARROW50 = ("MODEL.RESNETS.WIDTH_PER_GROUP", "8")


def config(base: str, *overrides: str) -> CfgNode:
    return load_config(get_cfg(), f"detection/base_{base}.yaml", [*SMALL, *overrides])


def inputs(count: int = 2, objects: int = 2, size: int = 64) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    images = []
    for i in range(count):
        corner = rng.uniform(0, 30, (objects, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 30, (objects, 2))], axis=1).astype(np.float32)
        images.append(
            {
                "image": torch.from_numpy(rng.integers(0, 256, (3, size, size - 10 * i), dtype=np.uint8)),
                "height": 2 * size,
                "width": 2 * (size - 10 * i),
                "image_id": str(i),
                "gt_boxes": torch.from_numpy(boxes),
                "gt_classes": torch.from_numpy(rng.integers(0, 5, objects)),
                "gt_polygons": [[b[[0, 1, 2, 1, 2, 3, 0, 3]].astype(np.float64)] for b in boxes],
            }
        )
    return images


def model(cfg: CfgNode) -> RCNN:
    torch.manual_seed(0)
    return build_model(cfg)


@pytest.mark.parametrize("mask", ["False", "True"])
@pytest.mark.parametrize("trunk", [RESNET18, NARROW50], ids=["ResNet-18", "ResNet-50"])
@pytest.mark.parametrize("base", ["c4", "fpn"])
def test_trains_and_detects(base: str, trunk: tuple[str, ...], mask: str) -> None:
    rcnn = model(config(base, *trunk, "MODEL.MASK_ON", mask))
    losses = rcnn(inputs())
    expected = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"} | (
        {"loss_mask"} if mask == "True" else set()
    )
    assert losses.keys() == expected
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    # what has no gradient would stop distributed training
    assert all(p.grad is not None and p.grad.isfinite().all() for p in rcnn.parameters())

    with torch.no_grad():
        found = rcnn.eval()(inputs())
    assert len(found) == 2
    for detections, image in zip(found, inputs(), strict=True):
        number = len(detections["scores"])
        assert number > 0
        assert detections["boxes"].shape == (number, 4)
        assert (detections["boxes"] >= 0).all()
        assert (detections["boxes"] <= torch.tensor([image["width"], image["height"]] * 2)).all()
        assert (detections["scores"].diff() <= 0).all()
        assert detections["classes"].max() < 5
        if mask == "True":
            assert detections["masks"].shape == (number, image["height"], image["width"])
            assert detections["masks"].dtype == torch.bool


@pytest.mark.parametrize("base", ["c4", "fpn"])
def test_images_without_objects_train(base: str) -> None:
    rcnn = model(config(base, *RESNET18, "MODEL.MASK_ON", "True", "MODEL.ROI_MASK_HEAD.NORM", "BN"))
    losses = rcnn(inputs(objects=0))
    sum(losses.values()).backward()
    assert {name for name, loss in losses.items() if loss == 0} == {"loss_rpn_loc", "loss_box_reg", "loss_mask"}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in rcnn.parameters())


@pytest.mark.parametrize("base", ["c4", "fpn"])
def test_learns_one_image_by_heart(base: str) -> None:
    rcnn = model(config(base, *RESNET18, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8"))
    optimizer = torch.optim.SGD(rcnn.parameters(), lr=0.02, momentum=0.9)
    data = inputs(count=2)
    history = []
    for _ in range(12):
        loss = sum(rcnn(data).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-3:]) / 3 < 0.7 * history[0], history


def test_the_same_seed_gives_the_same_losses() -> None:
    rcnn = model(config("c4", *RESNET18))
    runs = []
    for _ in range(2):
        torch.manual_seed(1)
        runs.append({name: loss.item() for name, loss in rcnn(inputs()).items()})
    assert runs[0] == runs[1]


def test_pixels_are_normalised_and_padded_with_zeros() -> None:
    rcnn = model(config("fpn", *RESNET18))
    image = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1).expand(3, 30, 40)
    batch, sizes = rcnn.batch_images([image, image[:, :20]])
    assert batch.shape == (2, 3, 32, 64)
    assert sizes == [(30, 40), (20, 40)]
    expected = (torch.tensor([124.0, 116, 104]) - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
        [58.395, 57.12, 57.375]
    )
    torch.testing.assert_close(batch[0, :, 29, 39], expected)
    assert not batch[0, :, 30:].any()
    assert not batch[1, :, 20:].any()
    assert not batch[:, :, :, 40:].any()


def test_c4_pads_to_the_largest_image_only() -> None:
    batch, _ = model(config("c4", *RESNET18)).batch_images([torch.zeros(3, 30, 41), torch.zeros(3, 33, 7)])
    assert batch.shape == (2, 3, 33, 41)


def test_padding_does_not_change_what_a_c4_model_finds_alone() -> None:
    """In eval mode an image's own size decides where its proposals end."""
    rcnn = model(config("c4", *RESNET18)).eval()
    with torch.no_grad():
        together = rcnn(inputs())
    assert (together[1]["boxes"][:, 2] <= inputs()[1]["width"]).all()


def test_frozen_stages_have_no_gradient() -> None:
    rcnn = model(config("c4", *RESNET18, "MODEL.BACKBONE.FREEZE_AT", "2"))
    fixed = {name for name, p in rcnn.named_parameters() if not p.requires_grad}
    assert fixed == {name for name, _ in rcnn.named_parameters() if name.startswith(("backbone.stem", "backbone.res2"))}
    before = {n: t.clone() for n, t in rcnn.state_dict().items() if n.startswith(("backbone.stem", "backbone.res2"))}
    assert "backbone.stem.bn1.running_mean" in before
    rcnn(inputs())
    assert all(torch.equal(rcnn.state_dict()[n], t) for n, t in before.items())  # nor new statistics


def test_the_extra_norm_follows_res5_in_c4_alone() -> None:
    names = model(config("c4", *RESNET18)).state_dict()
    assert names["roi_heads.res5.norm.weight"].shape == (512,)
    plain = model(config("c4", *RESNET18, "MODEL.ROI_HEADS.NAME", "Res5ROIHeads")).state_dict()
    assert names.keys() - plain.keys() == {n for n in names if n.startswith("roi_heads.res5.norm.")}


def test_mixed_precision_trains() -> None:
    rcnn = model(config("fpn", *RESNET18, "MODEL.MASK_ON", "True"))
    with torch.autocast("cpu", torch.bfloat16):
        losses = rcnn(inputs())
    sum(losses.values()).backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def test_what_is_not_implemented_is_refused() -> None:
    with pytest.raises(InputError, match=r"MODEL\.RESNETS\.RES5_DILATION is 2"):
        build_model(config("c4", "MODEL.RESNETS.RES5_DILATION", "2"))
