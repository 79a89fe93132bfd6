"""Defaults of ``clsa-reproduce``: which methods walk the road, over which stage configs, and on what world."""

from fvcore.common.config import CfgNode

_C = CfgNode()

# Names of the methods to compare, in the order of the tables. Each fills the place {method} of PRETRAIN.CONFIG_FILE;
# a name of your own works as soon as that file exists.
_C.METHODS = ["random_init", "moco_v2", "clsa_single"]
# Seed of every stage of every method: pretraining, fine-tuning, probes.
_C.SEED = 0
# Stages that may run at the same time. The cores are shared out evenly (OMP_NUM_THREADS of each stage).
_C.JOBS = 1
# GPUs for pretraining and detection, 0 = CPU.
_C.NUM_GPUS = 0

_C.DATA = CfgNode()
# Folder of the miniature world; empty = OUTPUT/data/world.
_C.DATA.ROOT = ""
# "tiny", "small" or "large": see `clsa-data mini --help`.
_C.DATA.SIZE = "small"
_C.DATA.SEED = 0
# What the stage takes on the hardware that the YAML's head names, shown beside the elapsed time; 0 = not known.
_C.DATA.EXPECTED_SECONDS = 0

_C.PRETRAIN = CfgNode()
# Config of clsa-pretrain, with {method} where the method's name goes.
_C.PRETRAIN.CONFIG_FILE = ""
# KEY, VALUE, KEY, VALUE ... for every method's pretraining, so that all of them get the same.
_C.PRETRAIN.OVERRIDES = []
_C.PRETRAIN.EXPECTED_SECONDS = 0

_C.DETECT = CfgNode()
# "torchvision" or "detectron2".
_C.DETECT.ENGINE = ""
# Configs of clsa-detect; each is fine-tuned from every method's backbone.
_C.DETECT.CONFIG_FILES = []
_C.DETECT.OVERRIDES = []
_C.DETECT.EXPECTED_SECONDS = 0

_C.CLASSIFY = CfgNode()
# Configs of `clsa-classify svm` and `clsa-classify linear`; an empty name leaves that probe out.
_C.CLASSIFY.SVM_CONFIG = ""
_C.CLASSIFY.LINEAR_CONFIG = ""
# Features without weights, probed with the SVM beside the backbones: "chance", "colour_histogram", "hog".
_C.CLASSIFY.BASELINES = []
# An untrained backbone is probed with its BatchNorm statistics as initialised and re-estimated on the training
# images; the tables show the stronger of the two.
_C.CLASSIFY.RANDOM_INIT_REESTIMATE_BN = True
_C.CLASSIFY.OVERRIDES = []
_C.CLASSIFY.EXPECTED_SECONDS = 0


def get_cfg() -> CfgNode:
    """A copy of the defaults, to be merged with a YAML file and ``KEY VALUE`` pairs."""
    return _C.clone()
