"""The keys of a detection run: detectron2's names and detectron2's default values.

A YAML written for detectron2 is read by both engines. This tree holds the keys that the torchvision engine honours,
and those whose only value is the one that it computes, so that another value is refused with a sentence
(:func:`refuse_unsupported`) instead of being ignored. Some defaults bite: ``FREEZE_AT`` 2, ``STRIDE_IN_1X1`` True,
``FORMAT`` BGR and ``PIXEL_STD`` 1 are right for Caffe2's weights and wrong for weights trained in PyTorch.
"""

from collections.abc import Sequence
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

#: Strides of the feature maps, in input pixels.
STRIDES = {
    "res2": 4,
    "res3": 8,
    "res4": 16,
    "res5": 32,
    "p2": 4,
    "p3": 8,
    "p4": 16,
    "p5": 32,
    "p6": 64,
}

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
    "MODEL.RESNETS.STEM_OUT_CHANNELS": (64,),
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


def get_cfg() -> CfgNode:
    """A fresh tree with detectron2's default values."""
    cfg = CfgNode()
    cfg.VERSION = 2  # of detectron2's config format
    cfg.SEED = -1  # negative: another seed in every run
    cfg.OUTPUT_DIR = "./output"
    cfg.CUDNN_BENCHMARK = False  # let cuDNN time its algorithms; pays when all images have one size
    cfg.VIS_PERIOD = 0
    cfg.INPUT = _input()
    cfg.DATASETS = CfgNode()
    cfg.DATASETS.TRAIN = ()  # names such as ("voc_2007_trainval", "voc_2012_trainval"), concatenated
    cfg.DATASETS.TEST = ()
    cfg.DATALOADER = CfgNode()
    cfg.DATALOADER.NUM_WORKERS = 4  # processes that decode images
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = True  # portrait and landscape images never share a batch
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampler"
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True  # leave images without objects out of training
    cfg.MODEL = _model()
    cfg.SOLVER = _solver()
    cfg.TEST = CfgNode()
    cfg.TEST.EVAL_PERIOD = 0  # iterations between evaluations during training; 0: only at the end
    cfg.TEST.DETECTIONS_PER_IMAGE = 100  # the best-scored ones are kept
    cfg.TEST.AUG = CfgNode()
    cfg.TEST.AUG.ENABLED = False
    cfg.TEST.PRECISE_BN = CfgNode()
    cfg.TEST.PRECISE_BN.ENABLED = False  # re-estimate the BN statistics on training images before evaluating
    cfg.TEST.PRECISE_BN.NUM_ITER = 200  # batches to estimate them from
    return cfg


def _input() -> CfgNode:
    node = CfgNode()
    node.MIN_SIZE_TRAIN = (800,)  # sizes of the shorter side, one is drawn for each image
    node.MIN_SIZE_TRAIN_SAMPLING = "choice"  # one of the listed sizes, or "range": between two
    node.MAX_SIZE_TRAIN = 1333  # limit of the longer side
    node.MIN_SIZE_TEST = 800  # 0: images are not resized
    node.MAX_SIZE_TEST = 1333
    node.RANDOM_FLIP = "horizontal"
    node.CROP = CfgNode()
    node.CROP.ENABLED = False
    node.FORMAT = "BGR"  # channel order that the model sees; weights trained in PyTorch want "RGB"
    node.MASK_FORMAT = "polygon"
    return node


def _model() -> CfgNode:
    model = CfgNode()
    model.META_ARCHITECTURE = "GeneralizedRCNN"
    model.DEVICE = "cuda"  # or "cpu"
    model.WEIGHTS = ""  # backbone weights, or for evaluation a detector's checkpoint
    model.LOAD_PROPOSALS = False
    model.MASK_ON = False  # True: Mask R-CNN
    model.KEYPOINT_ON = False
    model.PIXEL_MEAN = [103.530, 116.280, 123.675]  # on 0..255, in the order of INPUT.FORMAT
    model.PIXEL_STD = [1.0, 1.0, 1.0]

    model.BACKBONE = CfgNode()
    model.BACKBONE.NAME = "build_resnet_backbone"  # C4; or "build_resnet_fpn_backbone"
    model.BACKBONE.FREEZE_AT = 2  # how many of stem, res2 .. res5 stay as loaded, with their norms frozen

    model.RESNETS = CfgNode()
    model.RESNETS.DEPTH = 50
    model.RESNETS.OUT_FEATURES = ["res4"]  # FPN: res2 .. res5
    model.RESNETS.NORM = "FrozenBN"
    model.RESNETS.NUM_GROUPS = 1
    model.RESNETS.WIDTH_PER_GROUP = 64  # channels of a bottleneck's 3x3 convolution in res2
    model.RESNETS.STRIDE_IN_1X1 = True  # False for weights trained in PyTorch: the 3x3 convolution strides
    model.RESNETS.RES5_DILATION = 1
    model.RESNETS.RES2_OUT_CHANNELS = 256  # 64 for depth 18 and 34
    model.RESNETS.STEM_OUT_CHANNELS = 64
    model.RESNETS.DEFORM_ON_PER_STAGE = [False, False, False, False]

    model.FPN = CfgNode()
    model.FPN.IN_FEATURES = []
    model.FPN.OUT_CHANNELS = 256
    model.FPN.NORM = ""
    model.FPN.FUSE_TYPE = "sum"

    model.PROPOSAL_GENERATOR = CfgNode()
    model.PROPOSAL_GENERATOR.NAME = "RPN"
    model.PROPOSAL_GENERATOR.MIN_SIZE = 0  # proposals must be wider and higher than this

    model.ANCHOR_GENERATOR = CfgNode()
    model.ANCHOR_GENERATOR.NAME = "DefaultAnchorGenerator"
    model.ANCHOR_GENERATOR.SIZES = [[32, 64, 128, 256, 512]]  # square roots of areas; one list, or one for each map
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]  # height / width; one list, or one for each map
    model.ANCHOR_GENERATOR.OFFSET = 0.0  # of the first anchor's centre, in strides

    model.RPN = CfgNode()
    model.RPN.HEAD_NAME = "StandardRPNHead"
    model.RPN.IN_FEATURES = ["res4"]  # FPN: p2 .. p6
    model.RPN.BOUNDARY_THRESH = -1
    model.RPN.IOU_THRESHOLDS = [0.3, 0.7]  # below: background; from here: object; between: ignored
    model.RPN.IOU_LABELS = [0, -1, 1]
    model.RPN.BATCH_SIZE_PER_IMAGE = 256  # anchors sampled for the loss
    model.RPN.POSITIVE_FRACTION = 0.5  # at most this part of them objects
    model.RPN.BBOX_REG_LOSS_TYPE = "smooth_l1"
    model.RPN.BBOX_REG_LOSS_WEIGHT = 1.0
    model.RPN.BBOX_REG_WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # scale of (dx, dy, dw, dh)
    model.RPN.SMOOTH_L1_BETA = 0.0  # 0: plain L1
    model.RPN.LOSS_WEIGHT = 1.0
    model.RPN.PRE_NMS_TOPK_TRAIN = 12000  # proposals of each map before suppression
    model.RPN.PRE_NMS_TOPK_TEST = 6000
    model.RPN.POST_NMS_TOPK_TRAIN = 2000  # proposals of each image after it
    model.RPN.POST_NMS_TOPK_TEST = 1000
    model.RPN.NMS_THRESH = 0.7
    model.RPN.CONV_DIMS = [-1]

    model.ROI_HEADS = CfgNode()
    model.ROI_HEADS.NAME = "Res5ROIHeads"  # C4; Res5ROIHeadsExtraNorm: with a norm after res5; FPN: StandardROIHeads
    model.ROI_HEADS.NUM_CLASSES = 80  # without the background
    model.ROI_HEADS.IN_FEATURES = ["res4"]  # FPN: p2 .. p5
    model.ROI_HEADS.IOU_THRESHOLDS = [0.5]  # from here a proposal is an object
    model.ROI_HEADS.IOU_LABELS = [0, 1]
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 512  # proposals sampled for the loss
    model.ROI_HEADS.POSITIVE_FRACTION = 0.25
    model.ROI_HEADS.SCORE_THRESH_TEST = 0.05  # detections must score above this
    model.ROI_HEADS.NMS_THRESH_TEST = 0.5
    model.ROI_HEADS.PROPOSAL_APPEND_GT = True  # the true boxes join the proposals in training

    model.ROI_BOX_HEAD = CfgNode()
    model.ROI_BOX_HEAD.NAME = ""  # FPN: FastRCNNConvFCHead
    model.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE = "smooth_l1"
    model.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT = 1.0
    model.ROI_BOX_HEAD.BBOX_REG_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
    model.ROI_BOX_HEAD.SMOOTH_L1_BETA = 0.0
    model.ROI_BOX_HEAD.POOLER_RESOLUTION = 14  # FPN protocols take 7
    model.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = 0  # samples of a bin along a side; 0: as many as the RoI has pixels
    model.ROI_BOX_HEAD.POOLER_TYPE = "ROIAlignV2"
    model.ROI_BOX_HEAD.NUM_FC = 0
    model.ROI_BOX_HEAD.FC_DIM = 1024
    model.ROI_BOX_HEAD.NUM_CONV = 0
    model.ROI_BOX_HEAD.CONV_DIM = 256
    model.ROI_BOX_HEAD.NORM = ""
    model.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = False
    model.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES = False
    model.ROI_BOX_HEAD.USE_FED_LOSS = False
    model.ROI_BOX_HEAD.USE_SIGMOID_CE = False

    model.ROI_MASK_HEAD = CfgNode()
    model.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    model.ROI_MASK_HEAD.POOLER_RESOLUTION = 14
    model.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO = 0
    model.ROI_MASK_HEAD.POOLER_TYPE = "ROIAlignV2"
    model.ROI_MASK_HEAD.NUM_CONV = 0
    model.ROI_MASK_HEAD.CONV_DIM = 256
    model.ROI_MASK_HEAD.NORM = ""
    model.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK = False
    return model


def _solver() -> CfgNode:
    node = CfgNode()
    node.LR_SCHEDULER_NAME = "WarmupMultiStepLR"
    node.MAX_ITER = 40000
    node.BASE_LR = 0.001
    node.MOMENTUM = 0.9
    node.NESTEROV = False
    node.WEIGHT_DECAY = 0.0001
    node.WEIGHT_DECAY_NORM = 0.0  # of the norm layers' parameters
    node.WEIGHT_DECAY_BIAS = None  # None: WEIGHT_DECAY
    node.BIAS_LR_FACTOR = 1.0
    node.GAMMA = 0.1  # the lr is multiplied by it at each of STEPS
    node.STEPS = (30000,)
    node.WARMUP_FACTOR = 0.001  # lr at iteration 0, as part of BASE_LR
    node.WARMUP_ITERS = 1000
    node.WARMUP_METHOD = "linear"
    node.RESCALE_INTERVAL = False
    node.CHECKPOINT_PERIOD = 5000
    node.IMS_PER_BATCH = 16  # images of one iteration, over all processes
    node.REFERENCE_WORLD_SIZE = 0
    node.CLIP_GRADIENTS = CfgNode()
    node.CLIP_GRADIENTS.ENABLED = False
    node.AMP = CfgNode()
    node.AMP.ENABLED = False  # mixed precision in training
    return node


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
        depth = f"with MODEL.RESNETS.DEPTH {cfg.MODEL.RESNETS.DEPTH}"
        _require(cfg, "MODEL.RESNETS.RES2_OUT_CHANNELS", (64,), depth)
        _require(cfg, "MODEL.RESNETS.WIDTH_PER_GROUP", (64,), depth)
    else:
        _require(cfg, "MODEL.RESNETS.RES2_OUT_CHANNELS", (256,), f"with MODEL.RESNETS.DEPTH {cfg.MODEL.RESNETS.DEPTH}")
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


def value_of(cfg: CfgNode, key: str) -> Any:
    """The value at ``"A.B.C"``."""
    node = cfg
    for part in key.split("."):
        node = node[part]
    return node


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
