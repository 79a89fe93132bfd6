"""What the report's tables are about, in their order: which results each takes, which columns, under what words."""

from dataclasses import dataclass

from .measured import Measured

#: Flavour of each value of a classification result: one result holds four, of which its own flavour names the first.
CLASSIFICATION_FLAVOURS = {
    "mAP envelope": "class mAP, envelope",
    "mAP step": "class mAP, step",
    "mAP 11-point": "class mAP, 11-point",
    "per-image AP": "per-image AP",
}

#: value key of a detection result -> label.
DETECTION_LABELS = {
    f"{prefix}/{key}": f"{word} {label}"
    for prefix, word in (("bbox", "box"), ("segm", "mask"), ("bbox_coco_form", "box"))
    for key, label in (
        ("AP", "AP"),
        ("AP50", "AP50"),
        ("AP75", "AP75"),
        ("APs", "AP_S"),
        ("APm", "AP_M"),
        ("APl", "AP_L"),
    )
}


@dataclass(frozen=True)
class Subject:
    """What a table is about. ``keys``: its columns in their order; empty: whatever the results hold."""

    key: str
    title: str
    subject: str
    lead: str
    keys: tuple[str, ...]
    stage: str
    word: str = ""
    coco: bool | None = None
    says_departures: bool = False

    def takes(self, m: Measured) -> bool:
        if m.stage != self.stage:
            return False
        if self.coco is not None and self.coco != (m.result["metric_flavour"] == "COCO"):
            return False
        if self.word:
            return self.word in m.result["protocol"]
        return self.stage == "detection" or not any(
            s.word and s.word in m.result["protocol"] for s in SUBJECTS if s.stage == self.stage
        )


_SMALL = "The small objects of COCO, boxes and masks of a detector fine-tuned from each backbone."
_TUNED = "A detector fine-tuned from each backbone, the same way for all."
_COCO_FORM = (
    "The detections of VOC07+12 detection, evaluated as COCO evaluates, since VOC's own average precision knows no "
    "sizes. Sizes are those of boxes, not of masks. No figure here compares with VOC's AP, nor with COCO's."
)
_FOUR = (
    "Frozen features. Four average precisions of one score matrix, side by side: papers print one or another of them "
    "as “VOC07”, and they differ by points."
)
_TOP = "Frozen features, classified into ImageNet's classes: accuracy on its validation images."
_BOXES = tuple(key for key in DETECTION_LABELS if key.startswith("bbox/"))
_MASKS = tuple(key for key in DETECTION_LABELS if key.startswith("segm/"))
_FORM = tuple(f"bbox_coco_form/{key}" for key in ("APs", "APm", "APl", "AP", "AP50", "AP75"))
_MAPS = tuple(CLASSIFICATION_FLAVOURS)
_DETECT, _CLASSIFY = "detection", "classification"

SUBJECTS = (
    Subject(
        "ap_small",
        "AP_S: objects under 32² pixels",
        "COCO AP_S (boxes)",
        _SMALL,
        ("bbox/APs", "segm/APs"),
        _DETECT,
        coco=True,
    ),
    Subject(
        "coco_boxes", "COCO detection", "COCO AP (boxes)", _TUNED, _BOXES, _DETECT, coco=True, says_departures=True
    ),
    Subject("coco_masks", "COCO instance segmentation", "COCO AP (masks)", _TUNED, _MASKS, _DETECT, coco=True),
    Subject("voc", "VOC07+12 detection", "VOC detection AP", _TUNED, _BOXES, _DETECT, coco=False, says_departures=True),
    Subject(
        "voc_coco_form",
        "VOC07+12 detection, COCO form",
        "VOC AP_S (COCO form)",
        _COCO_FORM,
        _FORM,
        _DETECT,
        coco=False,
    ),
    Subject("voc07_svm", "VOC07 linear SVM", "VOC07 SVM mAP", _FOUR, _MAPS, _CLASSIFY, "-svm"),
    Subject(
        "voc07_lowshot", "VOC07 low-shot SVM", "VOC07 low-shot mAP", "A few images a class.", (), _CLASSIFY, "-low"
    ),
    Subject("voc07_logistic", "VOC07 logistic regression", "VOC07 logistic mAP", _FOUR, _MAPS, _CLASSIFY, "-logistic"),
    Subject("imagenet", "ImageNet", "ImageNet top-1", _TOP, ("top-1", "top-5"), _CLASSIFY, "imagenet"),
    Subject("voc07_linear", "VOC07 linear layer", "VOC07 linear-layer mAP", _FOUR, (), _CLASSIFY),
)
