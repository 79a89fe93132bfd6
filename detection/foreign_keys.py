"""The config keys that only detectron2 has, known by name, so that a YAML of it is read and a misspelling still found.

Every ``config.yaml`` that detectron2 writes holds them. None of them is read in the detectors of this program: each
belongs to another architecture, head, sampler or schedule, or to an option that is off, and the key that chooses it
(``META_ARCHITECTURE``, ``KEYPOINT_ON``, ``CROP.ENABLED`` and so on) is in the tree of ``config.py``. There
``implemented.py`` refuses what is not computed, and ``--explain`` names what differs.
"""

from collections.abc import Sequence
from typing import Any

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import flat_keys, load_config, read_yaml

from .config import get_cfg, value_of

#: Sections of which no key is read.
SECTIONS = (
    "GLOBAL",
    "MODEL.PANOPTIC_FPN",
    "MODEL.RETINANET",
    "MODEL.ROI_BOX_CASCADE_HEAD",
    "MODEL.ROI_KEYPOINT_HEAD",
    "MODEL.SEM_SEG_HEAD",
)

#: Keys of sections of which others are read.
KEYS = {
    "DATALOADER": ("REPEAT_SQRT", "REPEAT_THRESHOLD"),
    "DATASETS": (
        "PRECOMPUTED_PROPOSAL_TOPK_TEST",
        "PRECOMPUTED_PROPOSAL_TOPK_TRAIN",
        "PROPOSAL_FILES_TEST",
        "PROPOSAL_FILES_TRAIN",
    ),
    "INPUT.CROP": ("SIZE", "TYPE"),
    "MODEL.ANCHOR_GENERATOR": ("ANGLES",),
    "MODEL.RESNETS": ("DEFORM_MODULATED", "DEFORM_NUM_GROUPS"),
    "MODEL.ROI_BOX_HEAD": ("FED_LOSS_FREQ_WEIGHT_POWER", "FED_LOSS_NUM_CLASSES"),
    "SOLVER": ("BASE_LR_END", "NUM_DECAYS"),
    "SOLVER.CLIP_GRADIENTS": ("CLIP_TYPE", "CLIP_VALUE", "NORM_TYPE"),
    "TEST": ("EXPECTED_RESULTS", "KEYPOINT_OKS_SIGMAS"),
    "TEST.AUG": ("FLIP", "MAX_SIZE", "MIN_SIZES"),
}

#: The one that is always read: PyTorch's precision of matrix products, of which the torchvision engine has the default.
PRECISION, FULL_PRECISION = "FLOAT32_PRECISION", ("", "highest")


def is_foreign(key: str, value: Any) -> bool:
    """Whether only detectron2 has the key, and leaving it out changes nothing.

    Raises:
        InputError: a precision of matrix products that would be another one.
    """
    if key == PRECISION and value not in FULL_PRECISION:
        raise InputError(f"{key} is {value!r}, which only --engine detectron2 computes: set it to ''.")
    section, _, name = key.rpartition(".")
    return key == PRECISION or _unread_section(key) is not None or name in KEYS.get(section, ())


def _unread_section(key: str) -> str | None:
    return next((section for section in SECTIONS if f"{key}.".startswith(f"{section}.")), None)


def load_detector_config(defaults: CfgNode, config_file: str | None, overrides: Sequence[str] = ()) -> CfgNode:
    """``load_config`` that leaves foreign keys out where ``defaults`` is a tree without them."""
    return load_config(defaults, config_file, overrides, is_foreign)


def ignored_line(config_file: str, overrides: Sequence[str] = ()) -> str | None:
    """The line that says which keys are left out; None if it is none. A section that is left out is one word."""
    known = set(flat_keys(get_cfg()))
    file = read_yaml(config_file)
    pairs = [(key, value_of(file, key)) for key in flat_keys(file)]
    pairs += zip(overrides[0::2], overrides[1::2], strict=False)
    keys = [key for key, value in pairs if key not in known and is_foreign(key, value)]
    if not keys:
        return None
    listed = ", ".join(sorted({f"{section}.*" if (section := _unread_section(key)) else key for key in keys}))
    return f"{config_file}: {len(keys)} keys of detectron2's are ignored, nothing here reads them: {listed}"
