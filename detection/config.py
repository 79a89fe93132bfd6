"""The keys of a detection run: detectron2's names and detectron2's default values.

A YAML written for detectron2 is read by both engines. This tree holds the keys that the torchvision engine honours,
and those whose only value is the one that it computes, so that another value is refused with a sentence
(``implemented.py``) instead of being ignored; detectron2's other keys are left out by name (``foreign_keys.py``). Some
defaults bite: ``FREEZE_AT`` 2, ``STRIDE_IN_1X1`` True, ``FORMAT`` BGR and ``PIXEL_STD`` 1 are right for Caffe2's
weights and wrong for weights trained in PyTorch.
"""

from typing import Any

from fvcore.common.config import CfgNode

from .evaluation_keys import add_evaluation_keys

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
    cfg.TEST.DETECTIONS_PER_IMAGE = 100  # the best-scored ones are kept; -1: all
    cfg.TEST.AUG = CfgNode()
    cfg.TEST.AUG.ENABLED = False
    cfg.TEST.PRECISE_BN = CfgNode()
    cfg.TEST.PRECISE_BN.ENABLED = False  # re-estimate the BN statistics on training images before evaluating
    cfg.TEST.PRECISE_BN.NUM_ITER = 200  # batches to estimate them from
    return add_evaluation_keys(cfg)


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


def value_of(cfg: CfgNode, key: str) -> Any:
    """The value at ``"A.B.C"``."""
    node = cfg
    for part in key.split("."):
        node = node[part]
    return node
