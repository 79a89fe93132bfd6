"""Defaults of ``clsa-reproduce``: which backbones walk the road, over which stage configs, on what data."""

from fvcore.common.config import CfgNode

_C = CfgNode()

# Methods to pretrain. A name alone fills the place {method} of PRETRAIN.CONFIG_FILE; [name, config of clsa-pretrain]
# names the config itself. The name is the folder's and the row's: letters, digits, _ . and -.
_C.METHODS = []
# Checkpoints that are there already, [name, file]: whatever clsa-convert reads. They are converted, not pretrained.
_C.WEIGHTS = []
# What the report measures the others against. Empty: moco_v2, and in tables without it random_init.
_C.BASELINE = ""
# Seed of every stage of every method: pretraining, fine-tuning, probes.
_C.SEED = 0
# Stages that may run at the same time. The cores are shared out evenly (OMP_NUM_THREADS of each stage). Each stage
# takes the first GPUs of the machine, so with GPUs leave it at 1; --slurm runs stages side by side on several machines.
_C.JOBS = 1
# GPUs for pretraining, detection and the ImageNet probe, 0 = CPU. A probe of VOC07 uses one of them.
_C.NUM_GPUS = 0
# [pattern, time]: what a stage whose name fits (*, ?) takes on the hardware that the YAML's head names: "53 h",
# "8 min", "45 s". The first that fits counts; of a detector it is the time of one run. Without one: not known.
_C.EXPECTED = []

_C.DATA = CfgNode()
# "mini": a miniature world, rendered into ROOT. "real": data sets that are in ROOT; they are checked and left alone.
_C.DATA.KIND = "mini"
# Folder with imagenet/, VOC2007/, VOC2012/, coco/. Empty: OUTPUT/data/world for "mini", for "real" what
# DETECTRON2_DATASETS says.
_C.DATA.ROOT = ""
# Of the miniature world. "tiny", "small" or "large": see `clsa-data mini --help`.
_C.DATA.SIZE = "small"
_C.DATA.SEED = 0

_C.PRETRAIN = CfgNode()
# Config of clsa-pretrain, with {method} where the method's name goes.
_C.PRETRAIN.CONFIG_FILE = ""
# KEY, VALUE, KEY, VALUE ... for every method's pretraining, so that all of them get the same.
_C.PRETRAIN.OVERRIDES = []

_C.DETECT = CfgNode()
# "torchvision" or "detectron2".
_C.DETECT.ENGINE = ""
# Configs of clsa-detect; each is fine-tuned from every backbone.
_C.DETECT.CONFIG_FILES = []
# [pattern, N]: a detector whose config's name (without .yaml) fits runs N times, with seeds 0 to N-1, whatever SEED is
# (clsa-detect --trials N). The first that fits counts. Without one: once, with SEED.
_C.DETECT.TRIALS = []
_C.DETECT.OVERRIDES = []

_C.CLASSIFY = CfgNode()
# [command of clsa-classify, config, options ...], each run on every backbone; the folder is named after the config.
# Commands: svm, linear, lowshot, logistic on VOC2007; imagenet, knn on imagenet.
_C.CLASSIFY.PROBES = []
# Features without weights, probed with the SVM beside the backbones: "chance", "colour_histogram", "hog".
_C.CLASSIFY.BASELINES = []
# An untrained backbone is probed with its BatchNorm statistics as initialised and re-estimated on the training
# images; the tables show the stronger of the two.
_C.CLASSIFY.RANDOM_INIT_REESTIMATE_BN = True
_C.CLASSIFY.OVERRIDES = []

# What --slurm asks for.
_C.SLURM = CfgNode()
# Longest time limit. A stage that is not done by then saves itself, where it can, and is put back into the queue.
_C.SLURM.MAX_HOURS = 24
_C.SLURM.CPUS_PER_GPU = 10
# Further options of sbatch, such as "--partition=gpu".
_C.SLURM.OPTIONS = []


def get_cfg() -> CfgNode:
    """A copy of the defaults, to be merged with a YAML file and ``KEY VALUE`` pairs."""
    return _C.clone()
