"""Every setting of pretraining. The defaults are the paper's CLSA-Single on ImageNet; the YAMLs of
``configs/pretrain/`` name what differs. Where the paper and its public code disagree, the paper is the default and the
comment names the code's value.
"""

from collections.abc import Sequence

from fvcore.common.config import CfgNode as CN


def get_cfg() -> CN:
    """The defaults, a fresh copy."""
    _C = CN()
    # random_init: only writes the untrained network of this seed, the baseline that a probe needs.
    # moco_v2: eq. 1 alone. clsa_single: one strong view. clsa_multi: one weak query teaches several strong views.
    _C.METHOD = "clsa_single"
    _C.OUTPUT_DIR = "output/pretrain"
    # Decides the initial weights, the order of the images and every random choice of every view.
    _C.SEED = 0

    _C.DATA = CN()
    # The images, without use of their classes. A folder of <class>/<image> files, such as imagenet/train; a list, such
    # as train.txt, of one path a line; or uncompressed tar shards in WebDataset's layout, such as
    # "imagenet-{000000..000146}.tar" (joined by :: if they lie in several folders; needs the package webdataset).
    _C.DATA.TRAIN = ""
    # Folder to which the paths of a list are relative. Empty: the list's own folder.
    _C.DATA.ROOT = ""
    # An image that cannot be read. False: an error. True: the next one takes its place, and it is listed in
    # OUTPUT_DIR/skipped_images.txt, counted in log.txt and, as skipped_images, in metrics.json.
    _C.DATA.SKIP_BAD = False
    # pil: decode and crop with Pillow. simplejpeg: quicker (needs that package), with crops in which some values differ
    # by one grey level: the decoded image is the same, its resampling rounds otherwise.
    _C.DATA.DECODER = "pil"
    # Who jitters, blurs, flips and applies the strong operations: the loader's workers, with Pillow; or the device, on
    # whole batches, with the same pixels. auto: the device if it is a GPU. Does not change any result.
    _C.DATA.AUGMENT_ON = "auto"
    # Loader processes of each training process. 0 loads in the training process itself. Does not change any result.
    _C.DATA.WORKERS = 8

    _C.MODEL = CN()
    # torchvision's ResNet of this depth: 18, 34, 50 or 101.
    _C.MODEL.DEPTH = 50
    # Width of the bottleneck's 3x3 convolution in the first stage: 64 is ResNet-50. Depth 18 and 34 only have 64.
    _C.MODEL.WIDTH_PER_GROUP = 64
    # Start the last BN of each residual block at zero. Off in the paper; short runs of a ResNet-50 need it to start.
    _C.MODEL.ZERO_INIT_RESIDUAL = False
    # Hidden and output width of the two-layer projection head. The paper says 2048; 128 is MoCo v2's.
    _C.MODEL.HEAD_HIDDEN = 2048
    _C.MODEL.HEAD_OUTPUT = 128
    # none: Linear-ReLU-Linear (paper). BN: Linear-BN-ReLU-Linear-BN, which starts learning sooner in short runs.
    _C.MODEL.HEAD_NORM = "none"
    # The key network keeps this share of itself at each step (alpha of Algorithm 1).
    _C.MODEL.KEY_MOMENTUM = 0.999
    # Backbone weights to start from, of any target of clsa-convert; the head starts from SEED. Empty: everything does.
    _C.MODEL.INIT = ""
    # What BN normalises by while training. BN: the micro-batch of each process, key batches shuffled (paper). SyncBN:
    # the micro-batches of all processes, on GPUs. FrozenBN: its running statistics, which stay as MODEL.INIT has them;
    # scale and shift go on learning.
    _C.MODEL.NORM = "BN"
    # Running statistics of the query network's BN, which its users will normalise by. all_views: they follow weak and
    # strong views alike (paper: nothing is said; public code). weak_views: only weak ones. re_estimated: as all_views,
    # and at the last step estimated anew over BN_REESTIMATION_STEPS batches of weak views.
    _C.MODEL.BN_STATISTICS = "all_views"
    _C.MODEL.BN_REESTIMATION_STEPS = 200
    # Memory layout NHWC. The same mathematics, quicker with reduced precision.
    _C.MODEL.CHANNELS_LAST = False

    _C.LOSS = CN()
    # tau of eq. 1 and 3, the same for the weak and the strong distribution.
    _C.LOSS.TEMPERATURE = 0.2
    # Keys in the queue (K). At least one batch; need not be a multiple of it.
    _C.LOSS.QUEUE_LENGTH = 65536
    # What a query is compared with. positive_and_queue: its own key and the queue (paper). batch_and_queue: the keys
    # of the whole batch, of all processes, and the queue (public code).
    _C.LOSS.BANK = "positive_and_queue"
    # What strong queries learn by. ddm: eq. 4. contrastive: eq. 1 on them, too (ablation of table 4).
    _C.LOSS.STRONG = "ddm"
    # Temperatures of eq. 3 in the DDM loss: of the weak query's distribution, the target, and of the strong query's.
    # 0: TEMPERATURE (paper). A lower one of the target sharpens what is taught.
    _C.LOSS.DDM_TARGET_TEMPERATURE = 0.0
    _C.LOSS.DDM_STUDENT_TEMPERATURE = 0.0
    # True: the two weak views also change places, and the loss is the mean of both (off in the paper).
    _C.LOSS.SYMMETRIC = False
    # Weight of the DDM loss (eq. 4) beside the contrastive one.
    _C.LOSS.BETA = 1.0
    # The weight is 0 for the first BETA_ZERO_STEPS steps, then rises linearly for BETA_RAMP_STEPS steps. The paper: 0
    # and 0. A short run needs it: the weak query's distribution is flat, and teaches nothing, until it has learned.
    _C.LOSS.BETA_ZERO_STEPS = 0
    _C.LOSS.BETA_RAMP_STEPS = 0

    # The weak view, for the key and for the query: MoCo v2's.
    _C.WEAK = CN()
    _C.WEAK.SIZE = 224
    _C.WEAK.SCALE = (0.2, 1.0)  # area of the crop, as a share of the image
    # Weak queries of each image, besides the key's view: their sizes and the areas of their crops. Empty: one, of SIZE
    # and SCALE (paper). The public code's CLSA-Multi has five, of the sizes of its strong views.
    _C.WEAK.QUERY_SIZES = ()
    _C.WEAK.QUERY_SCALES = ()
    _C.WEAK.JITTER = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
    _C.WEAK.JITTER_PROB = 0.8
    _C.WEAK.GRAY_PROB = 0.2
    _C.WEAK.BLUR_PROB = 0.5
    _C.WEAK.BLUR_SIGMA = (0.1, 2.0)  # pixels
    _C.WEAK.FLIP_PROB = 0.5

    # The strong views. moco_v2 draws none; clsa_single wants one size, clsa_multi any number.
    _C.STRONG = CN()
    _C.STRONG.SIZES = (96,)
    # Area of each view's crop: the paper does not say; these are the public code's.
    _C.STRONG.SCALES = ((0.086, 0.429),)
    _C.STRONG.ROUNDS = 5  # operations drawn one after the other
    _C.STRONG.PROB = 0.5  # each is applied with this probability
    # The 14th operation. invert: as in the paper's table. identity: nothing in its place (public code).
    _C.STRONG.POOL = "invert"
    # Magnitudes. uniform: from the whole range. tenths: one of the tenths 1 to 9 of the range (public code).
    _C.STRONG.MAGNITUDES = "uniform"
    # Ablations of table 4, for METHOD moco_v2: the query, or the query and the key, are strong views of WEAK.SIZE.
    _C.STRONG.AS_QUERY = False
    _C.STRONG.AS_KEY = False
    # False: crop, then the strong operations (paper: S(x)). True: all weak operations in between (public code).
    _C.STRONG.WEAK_FIRST = False

    _C.SOLVER = CN()
    _C.SOLVER.EPOCHS = 200
    # Steps in all, in place of EPOCHS. 0: EPOCHS decides. An epoch drops the images that do not fill a batch.
    _C.SOLVER.MAX_ITER = 0
    # Images of one step, over all processes together. With n times the batch, multiply LR by n.
    _C.SOLVER.BATCH_SIZE = 256
    _C.SOLVER.LR = 0.03
    # Micro-batches that each process computes one after the other for one step, for less memory. n processes with
    # ACCUMULATE m give the losses of n * m processes: the keys of the whole batch are there first, and BN normalises
    # each micro-batch, with shuffled keys, as it would normalise a process's batch.
    _C.SOLVER.ACCUMULATE = 1
    # False: the cosine moves at each step. True: once an epoch, as in MoCo v2's code and the public code.
    _C.SOLVER.COSINE_PER_EPOCH = False
    # Steps in which the learning rate rises linearly to LR; the cosine to 0 takes the rest. The paper: 0.
    _C.SOLVER.WARMUP_ITERS = 0
    _C.SOLVER.MOMENTUM = 0.9
    _C.SOLVER.WEIGHT_DECAY = 1e-4
    # float32, bfloat16 or float16 (with loss scaling): of the networks. The losses are always computed in float32. On
    # GPUs from Ampere on, float32 convolutions multiply in TF32, with 10 bits of mantissa: PyTorch's default.
    _C.SOLVER.PRECISION = "float32"
    # torch.compile of both networks. It takes minutes before the first step.
    _C.SOLVER.COMPILE = False
    _C.SOLVER.LOG_PERIOD = 50  # steps
    _C.SOLVER.CHECKPOINT_PERIOD = 5000  # steps; the last step always writes one
    # Keep only the newest this many checkpoints. 0: all.
    _C.SOLVER.CHECKPOINT_KEEP = 0
    # Write a checkpoint and stop once this step is reached, to go on later with --resume (for a queue with a time
    # limit). The learning rate does not depend on it. 0: off.
    _C.SOLVER.STOP_AFTER = 0

    # Watches the query network's backbone on held-out images: how many are of the class that their nearest neighbours
    # among the others vote for. It changes nothing of the training.
    _C.MONITOR = CN()
    _C.MONITOR.PERIOD = 0  # steps; 0: off
    _C.MONITOR.DATA = ""  # folder of <class>/<image> files, such as imagenet/val
    _C.MONITOR.CLASSES = 50  # at most; evenly over the sorted ones
    _C.MONITOR.IMAGES_PER_CLASS = 10  # at most; evenly over the sorted ones
    _C.MONITOR.NEIGHBOURS = 20
    _C.MONITOR.SIZE = 0  # pixels of the central crop; 0: WEAK.SIZE
    return _C


def strong_view_count(cfg: CN) -> int:
    """How many strong views the method of ``cfg`` draws of each image."""
    return len(cfg.STRONG.SIZES) if cfg.METHOD in ("clsa_single", "clsa_multi") else 0


def weak_query_sizes_and_scales(cfg: CN) -> list[tuple[int, Sequence[float]]]:
    """Of each weak query of an image, its size in pixels and the range of its crop's area."""
    if not cfg.WEAK.QUERY_SIZES:
        return [(cfg.WEAK.SIZE, cfg.WEAK.SCALE)]
    return list(zip(cfg.WEAK.QUERY_SIZES, cfg.WEAK.QUERY_SCALES, strict=True))


def value(cfg: CN, key: str):
    """The value of a dotted key: ``value(cfg, "SOLVER.LR")``."""
    for part in key.split("."):
        cfg = cfg[part]
    return cfg
