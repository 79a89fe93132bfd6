"""Which config values the torchvision engine computes: any other is refused by name, never ignored."""

from collections.abc import Sequence

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .config import value_of

NORMS = ("BN", "SyncBN", "naiveSyncBN", "FrozenBN")

#: key -> the values that the torchvision engine implements.
IMPLEMENTED: dict[str, tuple] = {
    "VERSION": (2,),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    "INPUT.RANDOM_FLIP": ("horizontal", "none"),
    "INPUT.CROP.ENABLED": (False,),
    "INPUT.FORMAT": ("BGR", "RGB"),
    "INPUT.MASK_FORMAT": ("polygon",),
    "DATALOADER.SAMPLER_TRAIN": ("TrainingSampler",),
    "MODEL.DEVICE": ("cpu", "cuda"),  # among GPUs CUDA_VISIBLE_DEVICES chooses
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN",),
    "MODEL.LOAD_PROPOSALS": (False,),
    "MODEL.KEYPOINT_ON": (False,),
    "MODEL.BACKBONE.NAME": ("build_resnet_backbone", "build_resnet_fpn_backbone"),
    "MODEL.BACKBONE.FREEZE_AT": (0, 1, 2, 3, 4, 5),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": NORMS,
    "MODEL.RESNETS.NUM_GROUPS": (1,),
    "MODEL.RESNETS.STRIDE_IN_1X1": (False,),
    "MODEL.RESNETS.RES5_DILATION": (1,),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ((False, False, False, False),),
    "MODEL.FPN.NORM": ("", *NORMS),
    "MODEL.FPN.FUSE_TYPE": ("sum",),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": (0,),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
    "MODEL.RPN.BOUNDARY_THRESH": (-1,),
    "MODEL.RPN.IOU_LABELS": ((0, -1, 1),),
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": ("smooth_l1",),
    "MODEL.RPN.CONV_DIMS": ((-1,),),
    "MODEL.ROI_HEADS.NAME": ("Res5ROIHeads", "Res5ROIHeadsExtraNorm", "StandardROIHeads"),
    "MODEL.ROI_HEADS.IOU_LABELS": ((0, 1),),
    "MODEL.ROI_BOX_HEAD.NAME": ("", "FastRCNNConvFCHead"),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": ("smooth_l1",),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2",),
    "MODEL.ROI_BOX_HEAD.NORM": ("", *NORMS),
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": (False,),
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": (False,),
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": (False,),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
    "MODEL.ROI_MASK_HEAD.NAME": ("MaskRCNNConvUpsampleHead",),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignV2",),
    "MODEL.ROI_MASK_HEAD.NORM": ("", *NORMS),
    "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": (False,),
    "SOLVER.LR_SCHEDULER_NAME": ("WarmupMultiStepLR",),
    "SOLVER.WARMUP_METHOD": ("linear", "constant"),
    "SOLVER.RESCALE_INTERVAL": (False,),
    "SOLVER.REFERENCE_WORLD_SIZE": (0,),
    "SOLVER.BIAS_LR_FACTOR": (1.0,),
    "SOLVER.WEIGHT_DECAY_BIAS": (None,),
    "SOLVER.CLIP_GRADIENTS.ENABLED": (False,),
    "TEST.AUG.ENABLED": (False,),
    "VIS_PERIOD": (0,),
}

#: What must additionally hold for each of the two backbones.
IMPLEMENTED_FOR_BACKBONE: dict[str, dict[str, tuple]] = {
    "build_resnet_backbone": {
        "MODEL.RESNETS.OUT_FEATURES": (("res4",),),
        "MODEL.RPN.IN_FEATURES": (("res4",),),
        "MODEL.ROI_HEADS.IN_FEATURES": (("res4",),),
        "MODEL.ROI_HEADS.NAME": ("Res5ROIHeads", "Res5ROIHeadsExtraNorm"),
    },
    "build_resnet_fpn_backbone": {
        "MODEL.RESNETS.OUT_FEATURES": (("res2", "res3", "res4", "res5"),),
        "MODEL.FPN.IN_FEATURES": (("res2", "res3", "res4", "res5"),),
        "MODEL.RPN.IN_FEATURES": (("p2", "p3", "p4", "p5", "p6"),),
        "MODEL.ROI_HEADS.IN_FEATURES": (("p2", "p3", "p4", "p5"),),
        "MODEL.ROI_HEADS.NAME": ("StandardROIHeads",),
        "MODEL.ROI_BOX_HEAD.NAME": ("FastRCNNConvFCHead",),
    },
}


def refuse_unsupported(cfg: CfgNode) -> None:
    """Raise for the first value that the torchvision engine does not implement.

    Raises:
        InputError: naming the key, its value and the values that work.
    """
    for key, values in IMPLEMENTED.items():
        _require(cfg, key, values)
    backbone = cfg.MODEL.BACKBONE.NAME
    for key, values in IMPLEMENTED_FOR_BACKBONE[backbone].items():
        _require(cfg, key, values, f"with MODEL.BACKBONE.NAME {backbone}")
    if cfg.MODEL.RESNETS.DEPTH in (18, 34):
        for key in ("STEM_OUT_CHANNELS", "RES2_OUT_CHANNELS", "WIDTH_PER_GROUP"):
            _require(cfg, f"MODEL.RESNETS.{key}", (64,), f"with MODEL.RESNETS.DEPTH {cfg.MODEL.RESNETS.DEPTH}")
    else:  # once to five times as wide as published: SwAV's resnet50w2, w4, w5
        widths = (256, 512, 768, 1024, 1280)
        _require(cfg, "MODEL.RESNETS.RES2_OUT_CHANNELS", widths, f"with MODEL.RESNETS.DEPTH {cfg.MODEL.RESNETS.DEPTH}")
    head = cfg.MODEL.ROI_BOX_HEAD
    if backbone == "build_resnet_fpn_backbone" and head.NUM_CONV + head.NUM_FC == 0:
        raise InputError(
            "MODEL.ROI_BOX_HEAD.NUM_CONV and NUM_FC are both 0, a box head without layers: "
            "set NUM_FC 2 (moco-2fc), or NUM_CONV 4 and NUM_FC 1 (infomin-4conv1fc)"
        )
    _require_length(cfg, "MODEL.PIXEL_MEAN", (3,))
    _require_length(cfg, "MODEL.PIXEL_STD", (3,))
    _require_length(cfg, "MODEL.RPN.IOU_THRESHOLDS", (2,))
    _require_length(cfg, "MODEL.ROI_HEADS.IOU_THRESHOLDS", (1,))
    maps = len(cfg.MODEL.RPN.IN_FEATURES)
    for key in ("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"):
        _require_length(cfg, key, (1, maps))
        if len({len(row) for row in value_of(cfg, key)}) > 1:
            raise InputError(f"{key} is {value_of(cfg, key)}: its lists must be of one length, the RPN head is shared")


def _require(cfg: CfgNode, key: str, values: Sequence, where: str = "") -> None:
    value = value_of(cfg, key)
    comparable = tuple(value) if isinstance(value, list) else value
    if comparable not in values:
        allowed = " or ".join(repr(list(v) if isinstance(v, tuple) else v) for v in values)
        raise InputError(
            f"{key} is {value!r}, which the torchvision engine does not implement{where and ' ' + where}: "
            f"set it to {allowed}, or run with --engine detectron2"
        )


def _require_length(cfg: CfgNode, key: str, lengths: Sequence[int]) -> None:
    value = value_of(cfg, key)
    if len(value) not in lengths:
        wanted = " or ".join(str(n) for n in sorted(set(lengths)))
        raise InputError(f"{key} is {value!r}: it needs {wanted} entries, got {len(value)}")
