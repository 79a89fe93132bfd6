"""Every setting of pretraining. The defaults are the paper's CLSA-Single on ImageNet; the YAMLs of
``configs/pretrain/`` name what differs. Where the paper and its public code disagree, the paper is the default and the
comment names the code's value.
"""

from collections.abc import Sequence

from fvcore.common.config import CfgNode as CN

from clsa.configs.command import InputError

METHODS = ("random_init", "moco_v2", "clsa_single", "clsa_multi")
BANKS = ("positive_and_queue", "batch_and_queue")
HEAD_NORMS = ("none", "BN")
STRONG_LOSSES = ("ddm", "contrastive")
NORMS = ("BN", "SyncBN", "FrozenBN")
BN_STATISTICS = ("all_views", "weak_views", "re_estimated")
POOLS = ("invert", "identity")
MAGNITUDES = ("uniform", "tenths")
PRECISIONS = ("float32", "bfloat16", "float16")
DEPTHS = (18, 34, 50, 101)
DECODERS = ("pil", "simplejpeg")
AUGMENT_ON = ("auto", "workers", "device")
AT_LEAST_ONE = (
    "MODEL.HEAD_HIDDEN",
    "MODEL.HEAD_OUTPUT",
    "LOSS.QUEUE_LENGTH",
    "WEAK.SIZE",
    "MONITOR.CLASSES",
    "MONITOR.IMAGES_PER_CLASS",
    "MONITOR.NEIGHBOURS",
    "SOLVER.EPOCHS",
    "SOLVER.BATCH_SIZE",
    "SOLVER.ACCUMULATE",
    "SOLVER.LOG_PERIOD",
    "SOLVER.CHECKPOINT_PERIOD",
)
NOT_NEGATIVE = (
    "SEED",
    "DATA.WORKERS",
    "LOSS.BETA_ZERO_STEPS",
    "LOSS.BETA_RAMP_STEPS",
    "LOSS.DDM_TARGET_TEMPERATURE",
    "LOSS.DDM_STUDENT_TEMPERATURE",
    "MODEL.BN_REESTIMATION_STEPS",
    "MONITOR.PERIOD",
    "MONITOR.SIZE",
    "STRONG.ROUNDS",
    "SOLVER.MAX_ITER",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.STOP_AFTER",
    "SOLVER.CHECKPOINT_KEEP",
)


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
    # float32, bfloat16 or float16 (with loss scaling): of the networks. The losses are always computed in float32.
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


def check_config(cfg: CN, world_size: int = 1) -> None:
    """Refuse values that cannot work, before anything is read or written.

    Raises:
        InputError: what was got, what is needed.
    """
    _one_of(cfg, "METHOD", METHODS)
    _one_of(cfg, "MODEL.DEPTH", DEPTHS)
    _one_of(cfg, "MODEL.HEAD_NORM", HEAD_NORMS)
    _one_of(cfg, "LOSS.BANK", BANKS)
    _one_of(cfg, "LOSS.STRONG", STRONG_LOSSES)
    _one_of(cfg, "MODEL.NORM", NORMS)
    _one_of(cfg, "MODEL.BN_STATISTICS", BN_STATISTICS)
    _one_of(cfg, "DATA.DECODER", DECODERS)
    _one_of(cfg, "DATA.AUGMENT_ON", AUGMENT_ON)
    _one_of(cfg, "STRONG.POOL", POOLS)
    _one_of(cfg, "STRONG.MAGNITUDES", MAGNITUDES)
    _one_of(cfg, "SOLVER.PRECISION", PRECISIONS)
    if cfg.MODEL.DEPTH in (18, 34) and cfg.MODEL.WIDTH_PER_GROUP != 64:
        raise InputError(
            f"MODEL.WIDTH_PER_GROUP is {cfg.MODEL.WIDTH_PER_GROUP}, but ResNet-{cfg.MODEL.DEPTH} only comes with 64. "
            "Set it to 64, or take MODEL.DEPTH 50 or 101."
        )
    for key in AT_LEAST_ONE:
        if value(cfg, key) < 1:
            raise InputError(f"{key} is {value(cfg, key)}, it must be at least 1.")
    for key in NOT_NEGATIVE:
        if value(cfg, key) < 0:
            raise InputError(f"{key} is {value(cfg, key)}, it must not be negative.")
    if cfg.LOSS.TEMPERATURE <= 0:
        raise InputError(f"LOSS.TEMPERATURE is {cfg.LOSS.TEMPERATURE}, it must be above 0.")
    if not 0 <= cfg.MODEL.KEY_MOMENTUM <= 1:
        raise InputError(f"MODEL.KEY_MOMENTUM is {cfg.MODEL.KEY_MOMENTUM}, it must lie in [0, 1].")
    keys = cfg.SOLVER.BATCH_SIZE * (2 if cfg.LOSS.SYMMETRIC else 1)
    if cfg.METHOD != "random_init" and keys > cfg.LOSS.QUEUE_LENGTH:
        raise InputError(
            f"SOLVER.BATCH_SIZE {cfg.SOLVER.BATCH_SIZE} is larger than LOSS.QUEUE_LENGTH {cfg.LOSS.QUEUE_LENGTH}: "
            "the keys of one step would not fit into the queue. Lower the batch or lengthen the queue."
        )
    shares = world_size * cfg.SOLVER.ACCUMULATE
    if cfg.SOLVER.BATCH_SIZE % shares:
        micro_batches = f" of {cfg.SOLVER.ACCUMULATE} micro-batches each" if cfg.SOLVER.ACCUMULATE > 1 else ""
        raise InputError(
            f"SOLVER.BATCH_SIZE {cfg.SOLVER.BATCH_SIZE} does not divide among {world_size} processes{micro_batches}. "
            f"Take a multiple of {shares}."
        )
    _check_what_the_method_uses(cfg)
    if cfg.MONITOR.PERIOD and not cfg.MONITOR.DATA:
        raise InputError(
            "MONITOR.PERIOD is set, but MONITOR.DATA is empty: the monitor needs a folder of <class>/<image> files "
            "that are not trained on. Name one, or set MONITOR.PERIOD to 0."
        )
    _check_crops("WEAK.SCALE", [cfg.WEAK.SCALE])
    _check_weak_queries(cfg)
    _check_strong_views(cfg)


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


def _check_what_the_method_uses(cfg: CN) -> None:
    if cfg.METHOD == "random_init" and cfg.MODEL.INIT:
        raise InputError(
            f"METHOD random_init is the untrained network, MODEL.INIT {cfg.MODEL.INIT} would not be. "
            "Leave MODEL.INIT empty."
        )
    if cfg.METHOD == "moco_v2" and cfg.LOSS.STRONG != "ddm":
        raise InputError(
            f"LOSS.STRONG {cfg.LOSS.STRONG} is what strong queries learn by, METHOD moco_v2 has none. "
            "Take METHOD clsa_single or clsa_multi, or leave LOSS.STRONG at ddm."
        )
    own_temperature = cfg.LOSS.DDM_TARGET_TEMPERATURE or cfg.LOSS.DDM_STUDENT_TEMPERATURE
    if own_temperature and (cfg.METHOD == "moco_v2" or cfg.LOSS.STRONG != "ddm"):
        raise InputError(
            "LOSS.DDM_TARGET_TEMPERATURE and LOSS.DDM_STUDENT_TEMPERATURE belong to the DDM loss, which METHOD "
            f"{cfg.METHOD} with LOSS.STRONG {cfg.LOSS.STRONG} does not have. Leave them at 0."
        )
    if cfg.MODEL.NORM == "FrozenBN" and cfg.MODEL.BN_STATISTICS != "all_views":
        raise InputError(
            f"MODEL.NORM FrozenBN keeps BN's running statistics, MODEL.BN_STATISTICS {cfg.MODEL.BN_STATISTICS} would "
            "change them. Set one of the two only."
        )
    if cfg.MODEL.BN_STATISTICS == "re_estimated" and cfg.MODEL.BN_REESTIMATION_STEPS < 1:
        raise InputError("MODEL.BN_STATISTICS re_estimated needs MODEL.BN_REESTIMATION_STEPS of at least 1, got 0.")


def _check_weak_queries(cfg: CN) -> None:
    sizes, scales = cfg.WEAK.QUERY_SIZES, cfg.WEAK.QUERY_SCALES
    if len(sizes) != len(scales):
        raise InputError(
            f"WEAK.QUERY_SIZES {tuple(sizes)} and WEAK.QUERY_SCALES {tuple(scales)} must name one size and one (low, "
            "high) range of crop areas for each weak query."
        )
    _check_crops("WEAK.QUERY_SCALES", scales)
    if cfg.LOSS.SYMMETRIC and sizes:
        raise InputError(
            "LOSS.SYMMETRIC lets the key's and the query's view change places, which several weak queries "
            f"(WEAK.QUERY_SIZES {tuple(sizes)}) cannot. Set one of the two only."
        )
    if (cfg.STRONG.AS_QUERY or cfg.STRONG.AS_KEY) and cfg.METHOD != "moco_v2":
        raise InputError(
            f"STRONG.AS_QUERY and STRONG.AS_KEY are ablations of METHOD moco_v2, got METHOD {cfg.METHOD}. "
            "CLSA has strong views of its own, STRONG.SIZES."
        )


def _check_strong_views(cfg: CN) -> None:
    sizes, scales = cfg.STRONG.SIZES, cfg.STRONG.SCALES
    if len(sizes) != len(scales):
        raise InputError(
            f"STRONG.SIZES {tuple(sizes)} and STRONG.SCALES {tuple(scales)} must name one size and one (low, high) "
            "range of crop areas for each strong view."
        )
    _check_crops("STRONG.SCALES", scales)
    if cfg.METHOD == "clsa_single" and len(sizes) != 1:
        raise InputError(
            f"METHOD clsa_single has one strong view, STRONG.SIZES names {len(sizes)}: {tuple(sizes)}. "
            "Name one, or take METHOD clsa_multi."
        )
    if cfg.METHOD == "clsa_multi" and not sizes:
        raise InputError("METHOD clsa_multi needs strong views, STRONG.SIZES is empty.")


def _check_crops(key: str, scales: Sequence[Sequence[float]]) -> None:
    for scale in scales:
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(
                f"{key} holds {tuple(scale)}, a range of crop areas is (low, high) with 0 < low <= high <= 1."
            )


def _one_of(cfg: CN, key: str, allowed: tuple) -> None:
    if value(cfg, key) not in allowed:
        raise InputError(f"{key} is {value(cfg, key)!r}, it must be one of {', '.join(map(str, allowed))}.")
