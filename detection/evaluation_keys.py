"""The config keys that this program adds to detectron2's: how data are checked and evaluated, in both engines alike."""

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .dataset_dicts import DatasetSource

CHOICES = {
    "DATASETS.BAD_BOXES": ("refuse", "clip"),
    "TEST.COCO_EVAL": ("pycocotools", "faster_coco_eval"),
    "TEST.VOC_AP": ("year", "11-point", "area"),
    "TEST.VOC_DIFFICULT": ("ignored", "ordinary", "crowd"),
}


def add_evaluation_keys(cfg: CfgNode) -> CfgNode:
    """Add the keys to a tree of detectron2's or of the torchvision engine's defaults, and return it."""
    cfg.DATASETS.BAD_BOXES = (
        "refuse"  # boxes outside their image or without area: an error, or "clip" as detectron2 does
    )
    cfg.TEST.COCO_EVAL = "pycocotools"  # or "faster_coco_eval": the same figures, several times as fast
    cfg.TEST.VOC_AP = "year"  # VOC2007: "11-point", later years: "area"; or one of the two for any year
    cfg.TEST.VOC_DIFFICULT = "ignored"  # in VOC's COCO form: "ignored", "ordinary" or "crowd" (voc_coco_form.py)
    return cfg


def check_evaluation_keys(cfg: CfgNode) -> None:
    """Raise an ``InputError`` for a value that none of the keys knows."""
    for key, values in CHOICES.items():
        section, name = key.split(".")
        if cfg[section][name] not in values:
            raise InputError(f"{key} is {cfg[section][name]!r}: set it to {' or '.join(map(repr, values))}.")


def uses_11_points(cfg: CfgNode, source: DatasetSource) -> bool:
    """Which of VOC's two average precisions ``TEST.VOC_AP`` asks for on this data set."""
    return source.is_voc_2007 if cfg.TEST.VOC_AP == "year" else cfg.TEST.VOC_AP == "11-point"
