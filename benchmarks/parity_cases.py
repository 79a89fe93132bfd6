"""What the two detection engines are compared on: small detectors, their weights, images, objects and data sets.

Everything comes from a seed through NumPy's generator and uniform numbers alone, which are the same bits on every
machine and in every version, so that values written out by one run can be compared with on another.

``engine_parity.py`` and tests/test_detection_parity.py share this module and its two neighbours of like name.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image

from clsa.configs.loading import load_config
from clsa.datasets.categories import COCO_CATEGORIES, VOC_CLASSES
from clsa.detection.config import get_cfg

C4 = {"MODEL.ANCHOR_GENERATOR.SIZES": "[[8, 16, 32, 64]]", "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": "6"}
FPN = {
    "MODEL.FPN.OUT_CHANNELS": "32",
    "MODEL.ANCHOR_GENERATOR.SIZES": "[[16], [32], [64], [128], [256]]",
    "MODEL.ROI_BOX_HEAD.FC_DIM": "64",
    "MODEL.ROI_BOX_HEAD.CONV_DIM": "32",
}
MASKS = {"MODEL.MASK_ON": "True", "MODEL.ROI_MASK_HEAD.CONV_DIM": "16", "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": "7"}

#: Name -> base config and what is changed: the protocols' detectors, an eighth as wide, with fewer regions.
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "C4 VOC": ("base_c4", C4 | {"MODEL.ROI_HEADS.NUM_CLASSES": "20", "MODEL.MASK_ON": "False"}),
    "C4 COCO mask": ("base_c4", C4 | MASKS | {"MODEL.ROI_HEADS.NUM_CLASSES": "80"}),
    "FPN mask": ("base_fpn", FPN | MASKS | {"MODEL.ROI_HEADS.NUM_CLASSES": "80"}),
    "FPN 4conv1fc mask": (
        "base_fpn",
        FPN
        | MASKS
        | {
            "MODEL.ROI_HEADS.NUM_CLASSES": "80",
            "MODEL.ROI_BOX_HEAD.NUM_CONV": "4",
            "MODEL.ROI_BOX_HEAD.NUM_FC": "1",
            "MODEL.ROI_BOX_HEAD.NORM": "SyncBN",
            "MODEL.ROI_MASK_HEAD.NORM": "SyncBN",
        },
    ),
}

#: What no protocol has and a config may: for the tests.
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    "C4 frozen, plain head": (
        "base_c4",
        CASES["C4 VOC"][1]
        | {
            "MODEL.RESNETS.NORM": "FrozenBN",
            "MODEL.BACKBONE.FREEZE_AT": "2",
            "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
            "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT": "False",
            "MODEL.ROI_HEADS.IOU_THRESHOLDS": "[0.3]",  # so that some proposals are objects, without the true boxes
        },
    ),
    "FPN ResNet-18, smooth L1, weights other than 1": (
        "base_fpn",
        FPN
        | {
            "MODEL.MASK_ON": "False",
            "MODEL.ROI_HEADS.NUM_CLASSES": "7",
            "MODEL.BACKBONE.FREEZE_AT": "3",
            "MODEL.RESNETS.DEPTH": "18",
            "MODEL.RESNETS.RES2_OUT_CHANNELS": "64",
            "MODEL.RESNETS.WIDTH_PER_GROUP": "64",
            "MODEL.FPN.NORM": "naiveSyncBN",
            "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA": "0.5",
            "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT": "2.0",
            "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": "2",
            "MODEL.RPN.SMOOTH_L1_BETA": "0.1",
            "MODEL.RPN.LOSS_WEIGHT": "0.5",
            "MODEL.RPN.BBOX_REG_LOSS_WEIGHT": "3.0",
            "SOLVER.WEIGHT_DECAY_NORM": "0.0001",
            "SOLVER.WARMUP_METHOD": "constant",
        },
    ),
}

SHARED = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "''",
    "MODEL.RESNETS.WIDTH_PER_GROUP": "8",
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": "300",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "60",
    "MODEL.RPN.PRE_NMS_TOPK_TEST": "200",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "30",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "24",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": "0.02",
    "TEST.DETECTIONS_PER_IMAGE": "20",
    "INPUT.MIN_SIZE_TRAIN": "(40, 48, 64)",
    "INPUT.MAX_SIZE_TRAIN": "90",
}


def case_config(name: str) -> CfgNode:
    """The config of a case or variant, not frozen."""
    base, changes = (CASES | VARIANTS)[name]
    words = [word for pair in (SHARED | changes).items() for word in pair]
    cfg = load_config(get_cfg(), f"detection/{base}.yaml", words)
    cfg.defrost()
    return cfg


def tensor_value(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    """Float64 value of one of our model's tensors: everything differs, so that nothing agrees by being zero or one."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if name.endswith("running_var"):
        low, high = 0.5, 1.5
    elif name.endswith(("bias", "running_mean")):
        low, high = -0.2, 0.2
    elif len(shape) == 1:  # a norm's weight
        low, high = 0.4, 0.8
    else:
        gain = 0.5 if name.endswith(("bbox_pred.weight", "logits.weight")) else 2**0.5
        high = gain * (3 / np.prod(shape[1:])) ** 0.5  # a standard deviation of gain / sqrt(inputs)
        low = -high
    return torch.from_numpy(rng.random(tuple(shape)) * (high - low) + low)


def model_inputs(cfg: CfgNode, seed: int) -> list[dict[str, Any]]:
    """Two images of noise, the second without an object when the seed is 2; what our models take."""
    rng = np.random.default_rng(seed)
    inputs = []
    for index, (height, width) in enumerate([(96, 128), (112, 80)]):
        count = 0 if index == 1 and seed == 2 else 4
        corner = 50 * rng.random((count, 2))
        boxes = np.concatenate([corner, corner + 8 + 22 * rng.random((count, 2))], axis=1)
        polygons = [
            [np.tile(b[:2], 5) + np.tile(b[2:] - b[:2], 5) * rng.random(10) for _ in range(1 + i % 2)]
            for i, b in enumerate(boxes)
        ]
        inputs.append(
            {
                "image": torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)),
                "height": 2 * height - 7,
                "width": width // 2,
                "image_id": str(index),
                "gt_boxes": torch.from_numpy(boxes.astype(np.float32)),
                "gt_classes": torch.from_numpy(rng.integers(0, cfg.MODEL.ROI_HEADS.NUM_CLASSES, count)),
                "gt_polygons": polygons,
            }
        )
    return inputs


def write_data(root: Path, seed: int) -> None:
    """``VOC2007`` (trainval) and ``coco`` (val2017) of three images, with difficult objects, crowds, two-part polygons,
    boxes that leave their image. The files are named .jpg and hold PNG, whose pixels no decoder rounds."""
    rng = np.random.default_rng(seed)
    voc, coco = root / "VOC2007", root / "coco"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (voc / folder).mkdir(parents=True)
    for folder in ("annotations", "val2017"):
        (coco / folder).mkdir(parents=True)
    ids, images, annotations = [], [], []
    for index in range(3):
        width, height = (int(n) for n in rng.integers(60, 130, 2))
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        ids.append(f"{index + 1:06d}")
        image.save(voc / "JPEGImages" / f"{ids[-1]}.jpg", format="png")
        image.save(coco / "val2017" / f"{ids[-1]}.jpg", format="png")
        images.append({"id": 90 - index, "file_name": f"{ids[-1]}.jpg", "height": height, "width": width})
        objects = ""
        for number in range(4):
            x, y, w, h = (round(float(v), 2) for v in rng.random(4) * [50, 50, 60, 60] + [1, 1, 3, 3])
            corners = f"<xmin>{int(x)}</xmin><ymin>{int(y)}</ymin><xmax>{int(x + w)}</xmax><ymax>{int(y + h)}</ymax>"
            name = VOC_CLASSES[int(rng.integers(20))]
            objects += (
                f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{number % 2}"
                f"</difficult><bndbox>{corners}</bndbox></object>"
            )
            parts = [[x, y, x + w, y, x + w, y + h], [x, y, x, y + h, x + w / 2, y + h]][: 1 + number % 2]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 90 - index,
                    "category_id": COCO_CATEGORIES[int(rng.integers(80))]["id"],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(number == 3),
                    "segmentation": {"size": [height, width], "counts": [9, height * width - 9]}
                    if number == 3
                    else parts,
                }
            )
        (voc / "Annotations" / f"{ids[-1]}.xml").write_text(
            f"<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}"
            "</annotation>"
        )
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("\n".join(ids) + "\n")
    content = {"images": images, "annotations": annotations, "categories": [dict(c) for c in COCO_CATEGORIES]}
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
