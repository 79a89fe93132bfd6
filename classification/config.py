"""Every key of a probe's configuration, with the defaults of the published VOC07 protocols."""

from fvcore.common.config import CfgNode


def get_cfg() -> CfgNode:
    """A fresh copy of the defaults."""
    cfg = CfgNode()

    # ---- data: a folder in VOC's layout; the command line names it
    cfg.DATA = CfgNode()
    cfg.DATA.TRAIN_SPLIT = "trainval"  # ImageSets/Main/<split>.txt and <class>_<split>.txt
    cfg.DATA.TEST_SPLIT = "test"

    # ---- features: computed once, by a network that stays as it is
    cfg.FEATURES = CfgNode()
    # backbone: global average pool of the network that --weights names; the baselines colour_histogram and hog go
    # through the same probe; chance skips it and draws the scores
    cfg.FEATURES.KIND = "backbone"
    # square: shorter side to RESIZE, then to exactly SIZE x SIZE, so that the aspect is lost but no object (vissl)
    # center_crop: shorter side to RESIZE, then the middle SIZE x SIZE
    cfg.FEATURES.TRANSFORM = "square"
    cfg.FEATURES.RESIZE = 256
    cfg.FEATURES.SIZE = 224
    # one pass over the training images in train mode, to replace BatchNorm's running statistics; weights stay untouched
    cfg.FEATURES.REESTIMATE_BN = False
    cfg.FEATURES.BATCH_SIZE = 64  # images; of the BN pass too
    cfg.FEATURES.WORKERS = 4  # processes that decode images; 0 decodes in the main process
    cfg.FEATURES.DEVICE = "auto"  # auto: a GPU where there is one; or cpu, cuda, cuda:1, mps

    # ---- clsa-classify svm
    cfg.SVM = CfgNode()
    cfg.SVM.GRID = "fair26"  # fair26, fair18, vissl11, openselfsup19 of the literature; mini5 of the miniature world
    # All minimise the same function. sklearn: the benchmarks' solver, liblinear by dual coordinate descent;
    # sklearn-primal: its Newton method, much sooner where the features of all images nearly agree in direction, as
    # those of small or random networks do; exact: all classes and folds at once, each minimum certified, far less work
    cfg.SVM.SOLVER = "sklearn"
    cfg.SVM.TOLERANCE = 1e-4  # of exact: |gradient| <= TOLERANCE |w|, so that w is no further from the minimum
    cfg.SVM.DEVICE = "cpu"  # of exact; cuda where there is a GPU, auto: a GPU where there is one
    cfg.SVM.JOBS = -1  # liblinear's processes that share the classes; -1: as many as there are cores

    # ---- clsa-classify linear: other values than these make it another protocol, "voc07-linear-custom"
    cfg.LINEAR = CfgNode()
    cfg.LINEAR.EPOCHS = 100
    cfg.LINEAR.LR = 0.05
    cfg.LINEAR.MOMENTUM = 0.9
    cfg.LINEAR.WEIGHT_DECAY = 0.0
    cfg.LINEAR.BATCH_SIZE = 256
    cfg.LINEAR.L2_NORMALISE = False  # the SVM's row normalisation; the paper mentions none
    cfg.LINEAR.LOSS_REDUCTION = "mean"  # of the sigmoid cross entropies of a batch, over images and classes; or sum

    # ---- the baseline by chance
    cfg.CHANCE = CfgNode()
    cfg.CHANCE.DRAWS = 20  # independent score matrices whose average precisions are averaged

    cfg.SEED = 0  # of liblinear's coordinate order, the linear layer, the BN pass's order and chance
    cfg.TRIAL = 0  # recorded in the result, for runs that differ in SEED or in the weights alone

    return cfg
