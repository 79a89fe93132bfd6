"""Every key of a probe's configuration, with the defaults of the published protocols."""

from fvcore.common.config import CfgNode


def get_cfg() -> CfgNode:
    """A fresh copy of the defaults."""
    cfg = CfgNode()

    # ---- data: a folder that the command line names
    cfg.DATA = CfgNode()
    # voc: VOC's layout, any classes, several labels an image. image_folder: <split>/<class>/<image>, one label an
    # image, a class against all others. auto: voc where there is an ImageSets/Main
    cfg.DATA.LAYOUT = "auto"
    cfg.DATA.TRAIN_SPLIT = "trainval"  # ImageSets/Main/<split>.txt and <class>_<split>.txt; or a folder's name
    cfg.DATA.TEST_SPLIT = "test"
    cfg.DATA.CLASSES = []  # empty: every class that has a <class>_<train split>.txt, or a folder, in alphabetical order
    cfg.DATA.CHECK_XML = True  # refuse class files that disagree with Annotations/, where there is one

    # ---- features: computed once, by a network that stays as it is
    cfg.FEATURES = CfgNode()
    # backbone: LAYERS of the network that --weights names; the baselines colour_histogram and hog go
    # through the same probe; chance skips it and draws the scores
    cfg.FEATURES.KIND = "backbone"
    # square: shorter side to RESIZE, then to exactly SIZE x SIZE, so that the aspect is lost but no object (vissl)
    # center_crop: shorter side to RESIZE, then the middle SIZE x SIZE
    # ten_crop: shorter side to RESIZE, the features of corners, centre and their mirror images averaged
    cfg.FEATURES.TRANSFORM = "square"
    cfg.FEATURES.RESIZE = 256
    cfg.FEATURES.SIZE = 224
    cfg.FEATURES.INTERPOLATION = "bilinear"  # of both resizings; or bicubic
    # conv1, res2, res3, res4, res5: average-pooled to some 9000 dimensions (ResNet-50, 224 px); avgpool: the global one
    cfg.FEATURES.LAYERS = ["avgpool"]
    # full: float32. half: float16 on a GPU, bfloat16 on a CPU, stored as float16: half the space, other values
    cfg.FEATURES.PRECISION = "full"
    # one pass over the training images in train mode, to replace BatchNorm's running statistics; weights stay untouched
    cfg.FEATURES.REESTIMATE_BN = False
    cfg.FEATURES.BATCH_SIZE = 64  # images; of the BN pass too
    cfg.FEATURES.WORKERS = 4  # processes that decode images; 0 decodes in the main process
    cfg.FEATURES.DEVICE = "auto"  # auto: a GPU where there is one; or cpu, cuda, cuda:1, mps

    # ---- clsa-classify svm
    cfg.SVM = CfgNode()
    cfg.SVM.GRID = "fair26"  # fair26, fair18, vissl11, openselfsup19 of the literature; mini5 of the miniature world
    # Both minimise the same function, and share the protocol id. sklearn: the benchmarks' solver, liblinear by dual
    # coordinate descent; exact: all classes and folds at once, each minimum certified, far less work
    cfg.SVM.SOLVER = "sklearn"
    # of exact: |gradient| <= TOLERANCE |w|, so that w is no further from the minimum; a looser one shows in the id
    cfg.SVM.TOLERANCE = 1e-4
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

    # ---- clsa-classify linear --mode public_code: what the code of maple-research-lab/CLSA does on VOC07, where its
    # paper says the above; other values than these make it "voc07-linear-clsa-code-custom"
    cfg.PUBLIC_CODE = CfgNode()
    cfg.PUBLIC_CODE.TRAIN_SPLIT = "train"
    cfg.PUBLIC_CODE.VAL_SPLIT = "val"  # the epoch with the best per-image AP on it is tested
    cfg.PUBLIC_CODE.TEST_SPLIT = "test"
    cfg.PUBLIC_CODE.EPOCHS = 100
    cfg.PUBLIC_CODE.LR = 0.05
    cfg.PUBLIC_CODE.MOMENTUM = 0.9
    cfg.PUBLIC_CODE.T_MAX = 12  # epochs from the full rate to none; it rises again over as many
    cfg.PUBLIC_CODE.BATCH_SIZE = 16
    cfg.PUBLIC_CODE.SIZE = 300  # training images are stretched to it, crops are cut of it
    cfg.PUBLIC_CODE.RESIZE = 330  # shorter side of the images that are cropped: val's centre, test's five
    cfg.PUBLIC_CODE.BATCH_NORM_IN_TRAIN_MODE = True  # the backbone's statistics drift; False: frozen

    # ---- clsa-classify lowshot; trained on DATA.TRAIN_SPLIT
    cfg.LOWSHOT = CfgNode()
    cfg.LOWSHOT.K = (1, 2, 4, 8, 16, 32, 64, 96)  # positives of each class
    cfg.LOWSHOT.SAMPLES = 5  # of each k; drawn from SEED unless --splits gives them
    cfg.LOWSHOT.GRID = "fair18"  # as SVM.GRID; fair18 is the default of the benchmark's training tool
    cfg.LOWSHOT.TOLERANCE = 1e-4  # as SVM.TOLERANCE
    cfg.LOWSHOT.DEVICE = "cpu"  # cuda where there is a GPU, auto: a GPU where there is one

    # ---- clsa-classify logistic; DATA.TEST_SPLIT tests
    cfg.LOGISTIC = CfgNode()
    cfg.LOGISTIC.TRAIN_SPLIT = "train"
    cfg.LOGISTIC.VAL_SPLIT = "val"  # picks the cost; then both are fitted together
    cfg.LOGISTIC.MAX_ITERATIONS = 100  # of L-BFGS; fits that stop there are counted
    cfg.LOGISTIC.JOBS = -1  # processes that share the classes; -1: as many as there are cores

    # ---- clsa-classify imagenet: other values than these make it "imagenet-linear-custom"
    cfg.IMAGENET = CfgNode()
    cfg.IMAGENET.TRAIN_SPLIT = "train"  # folders of the data root
    cfg.IMAGENET.VAL_SPLIT = "val"
    cfg.IMAGENET.EPOCHS = 100
    cfg.IMAGENET.LR = 10.0
    cfg.IMAGENET.MOMENTUM = 0.9
    cfg.IMAGENET.WEIGHT_DECAY = 0.0
    cfg.IMAGENET.BATCH_SIZE = 256  # of all processes together
    cfg.IMAGENET.SIZE = 224
    cfg.IMAGENET.RESIZE = 256  # shorter side of val's images, of which the middle SIZE x SIZE is cut
    cfg.IMAGENET.CROP_SCALE = (0.08, 1.0)  # share of the image's area that a training crop covers
    # of the frozen network alone; auto: bfloat16 or float16 on a GPU, off on a CPU; or off, bfloat16, float16
    cfg.IMAGENET.AMP = "auto"
    cfg.IMAGENET.EVAL_PERIOD = 1  # epochs

    # ---- clsa-classify knn: splits, SIZE and RESIZE are IMAGENET's
    cfg.KNN = CfgNode()
    cfg.KNN.NEIGHBOURS = (20, 200)
    cfg.KNN.TEMPERATURE = 0.07

    # ---- the baseline by chance
    cfg.CHANCE = CfgNode()
    cfg.CHANCE.DRAWS = 20  # independent score matrices whose average precisions are averaged

    cfg.SEED = 0  # of liblinear's coordinate order, the linear layer, the BN pass's order and chance
    cfg.TRIAL = 0  # recorded in the result, for runs that differ in SEED or in the weights alone

    return cfg
