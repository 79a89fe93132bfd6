"""Settings of pretraining that cannot work are refused, before anything is read or written."""

from collections.abc import Sequence
from typing import Any

from fvcore.common.config import CfgNode as CN

from clsa.configs.command import InputError

from .config import value

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
    "LOSS.BETA",
    "LOSS.BETA_ZERO_STEPS",
    "LOSS.BETA_RAMP_STEPS",
    "LOSS.DDM_TARGET_TEMPERATURE",
    "LOSS.DDM_STUDENT_TEMPERATURE",
    "MODEL.BN_REESTIMATION_STEPS",
    "MONITOR.PERIOD",
    "MONITOR.SIZE",
    "STRONG.ROUNDS",
    "SOLVER.LR",
    "SOLVER.WEIGHT_DECAY",
    "SOLVER.MAX_ITER",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.STOP_AFTER",
    "SOLVER.CHECKPOINT_KEEP",
)
FROM_0_TO_1 = (
    "MODEL.KEY_MOMENTUM",
    "WEAK.JITTER_PROB",
    "WEAK.GRAY_PROB",
    "WEAK.BLUR_PROB",
    "WEAK.FLIP_PROB",
    "STRONG.PROB",
    "SOLVER.MOMENTUM",
)


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
        if not value(cfg, key) >= 0:  # nor NaN
            raise InputError(f"{key} is {value(cfg, key)}, it must not be negative.")
    for key in FROM_0_TO_1:
        if not 0 <= value(cfg, key) <= 1:
            raise InputError(f"{key} is {value(cfg, key)}, it must lie in [0, 1].")
    if not cfg.LOSS.TEMPERATURE > 0:
        raise InputError(f"LOSS.TEMPERATURE is {cfg.LOSS.TEMPERATURE}, it must be above 0.")
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
    _check_weak_operations(cfg)
    _check_weak_queries(cfg)
    _check_strong_views(cfg)


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
    strong_in_their_place = cfg.STRONG.AS_QUERY or (cfg.STRONG.AS_KEY and cfg.LOSS.SYMMETRIC)
    if cfg.MODEL.BN_STATISTICS == "weak_views" and strong_in_their_place:
        raise InputError(
            "MODEL.BN_STATISTICS weak_views keeps the views of STRONG.SIZES out of BN's running statistics, not those "
            "that STRONG.AS_QUERY and STRONG.AS_KEY put in the weak ones' place. Take re_estimated or all_views."
        )
    if cfg.MODEL.BN_STATISTICS == "re_estimated" and cfg.MODEL.BN_REESTIMATION_STEPS < 1:
        raise InputError("MODEL.BN_STATISTICS re_estimated needs MODEL.BN_REESTIMATION_STEPS of at least 1, got 0.")


def _check_weak_operations(cfg: CN) -> None:
    jitter, sigma = cfg.WEAK.JITTER, cfg.WEAK.BLUR_SIGMA
    if not (_are_numbers(jitter, 4) and all(strength >= 0 for strength in jitter) and jitter[3] <= 0.5):
        raise InputError(
            f"WEAK.JITTER is {_shown(jitter)}, it must be four numbers, the strengths of brightness, contrast, "
            "saturation and hue: none negative, hue's 0.5 at most, which is half a turn of the colour circle."
        )
    if not (_are_numbers(sigma, 2) and 0 <= sigma[0] <= sigma[1]):
        raise InputError(
            f"WEAK.BLUR_SIGMA is {_shown(sigma)}, it must be (low, high), in pixels, with 0 <= low <= high."
        )


def _check_weak_queries(cfg: CN) -> None:
    sizes, scales = cfg.WEAK.QUERY_SIZES, cfg.WEAK.QUERY_SCALES
    _check_pairs("WEAK.QUERY_SIZES", sizes, "WEAK.QUERY_SCALES", scales, "weak query")
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
    _check_pairs("STRONG.SIZES", sizes, "STRONG.SCALES", scales, "strong view")
    if cfg.METHOD == "clsa_single" and len(sizes) != 1:
        raise InputError(
            f"METHOD clsa_single has one strong view, STRONG.SIZES names {len(sizes)}: {tuple(sizes)}. "
            "Name one, or take METHOD clsa_multi."
        )
    if cfg.METHOD == "clsa_multi" and not sizes:
        raise InputError("METHOD clsa_multi needs strong views, STRONG.SIZES is empty.")


def _check_pairs(
    size_key: str, sizes: Sequence[int], scale_key: str, scales: Sequence[Sequence[float]], view: str
) -> None:
    if len(sizes) != len(scales):
        raise InputError(
            f"{size_key} {tuple(sizes)} and {scale_key} {tuple(scales)} must name one size and one (low, high) "
            f"range of crop areas for each {view}."
        )
    if not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise InputError(f"{size_key} is {_shown(sizes)}, each must be a whole number of pixels, at least 1.")
    _check_crops(scale_key, scales)


def _check_crops(key: str, scales: Sequence[Sequence[float]]) -> None:
    for scale in scales:
        if not (_are_numbers(scale, 2) and 0 < scale[0] <= scale[1] <= 1):
            raise InputError(
                f"{key} holds {_shown(scale)}, a range of crop areas is (low, high) with 0 < low <= high <= 1."
            )


def _are_numbers(values: Any, count: int) -> bool:
    """Whether it is a list or tuple of so many: the type of a tuple's parts is checked by nobody else."""
    if not isinstance(values, (tuple, list)) or len(values) != count:
        return False
    return all(isinstance(number, (int, float)) for number in values)


def _shown(values: Any) -> Any:
    return tuple(values) if isinstance(values, list) else values


def _one_of(cfg: CN, key: str, allowed: tuple) -> None:
    if value(cfg, key) not in allowed:
        raise InputError(f"{key} is {value(cfg, key)!r}, it must be one of {', '.join(map(str, allowed))}.")
