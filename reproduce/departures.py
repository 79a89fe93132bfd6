"""What a detection run did otherwise than the nearest published protocol, from its own result file."""

from collections.abc import Iterable, Sequence
from typing import Any

from .measured import Measured

#: They follow the weights: Caffe's and PyTorch's ResNet-50 want other images, and neither way favours one.
OF_THE_WEIGHTS = ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "INPUT.FORMAT", "MODEL.RESNETS.STRIDE_IN_1X1")

#: What ``--auto-scale`` changes together, by the linear rule.
SCALED = (
    "SOLVER.IMS_PER_BATCH",
    "SOLVER.BASE_LR",
    "SOLVER.MAX_ITER",
    "SOLVER.STEPS",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.WARMUP_FACTOR",
)

#: Beginning of a key -> what a reader calls it; the first that fits.
WORDS = (
    ("SOLVER.IMS_PER_BATCH", "batch and lr"),
    ("SOLVER.BASE_LR", "batch and lr"),
    ("SOLVER.", "schedule"),
    ("MODEL.ROI", "head"),
    ("MODEL.MASK_ON", "head"),
    ("MODEL.RESNETS.DEPTH", "backbone"),
    ("MODEL.RESNETS.NORM", "normalisation"),
    ("MODEL.FPN.NORM", "normalisation"),
    ("TEST.PRECISE_BN", "normalisation"),
    ("MODEL.RPN", "proposals"),
    ("MODEL.", "model"),
    ("INPUT.MIN_SIZE", "image sizes"),
    ("INPUT.MAX_SIZE", "image sizes"),
    ("INPUT.", "augmentation"),
    ("DATASETS.", "data sets"),
    ("DATALOADER.", "sampling"),
    ("TEST.DETECTIONS_PER_IMAGE", "detections an image"),
    ("TEST.AUG", "test-time augmentation"),
    ("TEST.", "evaluation"),
)


#: Between what :func:`departures_note` says in words and its list.
LISTED = " (there in brackets): "


def departures(measured: Measured) -> list[dict[str, Any]]:
    """The differences of ``details.protocol_check`` that set a run apart: ``key``, ``value``, ``protocol_value``.

    Left out is what follows the weights, and a batch, lr and schedule that the linear rule makes of the protocol's.
    """
    check = measured.result["details"].get("protocol_check") or {}
    differing = [d for d in check.get("differences") or [] if d["key"] not in OF_THE_WEIGHTS]
    if check.get("follows_scaling_rule"):
        return [d for d in differing if d["key"] not in SCALED]
    return differing


def departures_note(title: str, measured: Sequence[Measured]) -> str:
    """A sentence on what the runs of protocol ``title`` did otherwise than the nearest published one; or nothing."""
    for m in measured:
        differing = departures(m)
        if differing:
            return (
                f"{title} is not {m.result['details']['protocol_check']['nearest']}. "
                f"{len(differing)} settings that move AP differ, of {in_words(d['key'] for d in differing)}"
                + LISTED
                + "; ".join(f"{d['key']} {d['value']} ({d['protocol_value']})" for d in differing)
            )
    return ""


def summary_and_settings(note: str) -> tuple[str, list[str]]:
    """A note in two: the sentences that a reader wants, and the settings that :func:`departures_note` lists, if any."""
    summary, found, listed = note.partition(LISTED)
    return (summary + ".", listed.split("; ")) if found else (note, [])


def in_words(keys: Iterable[str]) -> str:
    """``"batch and lr, schedule, head"``: what the keys are about, each once."""
    words = (next((word for start, word in WORDS if key.startswith(start)), key) for key in keys)
    return ", ".join(dict.fromkeys(words))
