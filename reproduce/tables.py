"""Results into tables: in one column one protocol, one metric flavour, one engine and one data set."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .gather import Gathered, Measured
from .methods import Kind, look

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
SMALL = ("bbox/APs", "segm/APs")
VOC_COCO_FORM = tuple(f"bbox_coco_form/{key}" for key in ("APs", "APm", "APl", "AP", "AP50", "AP75"))


@dataclass(frozen=True)
class Protocol:
    """What two numbers must share to stand in one column (with the metric's flavour, which the column adds).

    ``world`` identifies the data: two miniature worlds of other seeds have the same file names, so it is a digest of
    the file list's fingerprint and of the world's own description.
    """

    name: str
    engine: str
    dataset: str
    world: str

    @staticmethod
    def of(result: dict[str, Any]) -> "Protocol":
        data = result["dataset"]
        identity = json.dumps([data.get("fingerprint"), data.get("miniature")], sort_keys=True)
        world = hashlib.sha256(identity.encode()).hexdigest()[:8]
        return Protocol(result["protocol"], result["engine"], data.get("name", ""), world)


@dataclass(frozen=True)
class Column:
    """``key`` is the value's name in result.json."""

    key: str
    label: str
    flavour: str
    protocol: Protocol


@dataclass(frozen=True)
class Row:
    """``values``: one a column, percent, None where it was not measured or is not defined."""

    method: str
    label: str
    kind: Kind
    values: tuple[float | None, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """The first column is the headline; ``subject`` is its name in a sentence."""

    key: str
    title: str
    subject: str
    lead: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def decimals(self) -> int:
        """One, as the papers print; two where a headline below 1 would leave nothing to read."""
        return 1 if max((row.values[0] or 0 for row in self.rows), default=0) >= 1 else 2

    def printed(self, row: Row, column: int) -> str:
        """A value as every format prints it; a dash where it was not measured or is not defined."""
        value = row.values[column]
        return "–" if value is None else f"{value:.{self.decimals}f}"

    def is_best(self, row: Row, column: int) -> bool:
        """Whether the row has the highest value of a column, as printed, and not all rows have it."""
        printed = [round(r.values[column], self.decimals) for r in self.rows if r.values[column] is not None]
        value = row.values[column]
        return value is not None and round(value, self.decimals) == max(printed) > min(printed)

    def row(self, method: str) -> Row | None:
        return next((row for row in self.rows if row.method == method), None)


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


def build_tables(gathered: Gathered) -> list[Table]:
    """The tables of the report, AP_S first; a table without any result is left out."""
    coco = [m for m in gathered.measured if m.stage == "detection" and m.result["metric_flavour"] == "COCO"]
    voc = [m for m in gathered.measured if m.stage == "detection" and m not in coco]
    svm = [m for m in gathered.measured if m.stage == "classification" and "svm" in m.result["protocol"]]
    linear = [m for m in gathered.measured if m.stage == "classification" and m not in svm]
    boxes = [key for key in DETECTION_LABELS if key.startswith("bbox/")]
    masks = [key for key in DETECTION_LABELS if key.startswith("segm/")]
    four = list(CLASSIFICATION_FLAVOURS)
    tables = [
        _table(gathered, "ap_small", "AP_S: objects under 32² pixels", "COCO AP_S (boxes)", _SMALL, coco, SMALL),
        _table(gathered, "coco_boxes", "COCO detection", "COCO AP (boxes)", _TUNED, coco, boxes),
        _table(gathered, "coco_masks", "COCO instance segmentation", "COCO AP (masks)", _TUNED, coco, masks),
        _table(gathered, "voc", "VOC07+12 detection", "VOC detection AP", _TUNED, voc, boxes),
        _table(
            gathered,
            "voc_coco_form",
            "VOC07+12 detection, COCO form",
            "VOC AP_S (COCO form)",
            _COCO_FORM,
            voc,
            VOC_COCO_FORM,
        ),
        _table(gathered, "voc07_svm", "VOC07 linear SVM", "VOC07 SVM mAP", _FOUR, svm, four),
        _table(gathered, "voc07_linear", "VOC07 linear layer", "VOC07 linear-layer mAP", _FOUR, linear, four),
    ]
    return [table for table in tables if table.columns]


def _table(
    gathered: Gathered,
    key: str,
    title: str,
    subject: str,
    lead: str,
    measured: Sequence[Measured],
    keys: Sequence[str],
) -> Table:
    columns = _columns(measured, keys)
    rows, notes = [], []
    for method in gathered.methods:
        chosen, said = _one_a_protocol([m for m in measured if m.method == method], keys)
        notes += [note for note in said if note not in notes]
        values = tuple(_value(chosen.get(column.protocol), column) for column in columns)
        seeds = tuple(dict.fromkeys(m.result["seed"] for m in chosen.values()))
        reestimated = any(m.reestimated for m in chosen.values())
        if any(value is not None for value in values):
            label = look(method).label + (" (BN re-estimated)" if reestimated else "")
            rows.append(Row(method, label, look(method).kind, values, seeds))
    if key in ("coco_boxes", "voc"):  # once for each detector, which fills several tables
        notes += protocol_differences(measured)
    return Table(key, title, subject, lead, columns, tuple(rows), tuple(notes))


def protocol_differences(measured: Sequence[Measured]) -> list[str]:
    """A sentence for each protocol whose results list what they did otherwise than the nearest published one."""
    checks = {m.result["protocol"]: m.result["details"].get("protocol_check") for m in measured}
    return [
        f"{name} is not {check['nearest']}. {len(check['differences'])} settings that move AP differ (there): "
        + "; ".join(f"{d['key']} {d['value']} ({d['protocol_value']})" for d in check["differences"])
        for name, check in checks.items()
        if check and check["differences"]
    ]


def _columns(measured: Sequence[Measured], keys: Sequence[str]) -> tuple[Column, ...]:
    found = {}
    for protocol in dict.fromkeys(Protocol.of(m.result) for m in measured):
        for key in keys:
            for m in measured:
                if Protocol.of(m.result) == protocol and key in m.result["values"]:
                    column = Column(key, DETECTION_LABELS.get(key, key), _flavour(m, key), protocol)
                    found.setdefault(column, None)
    return tuple(found)


def _flavour(measured: Measured, key: str) -> str:
    """Of one value; a detector's result may hold several flavours, told apart by the first part of the value's key."""
    by_prefix = measured.result["details"].get("flavours", {})
    first = by_prefix.get(key.split("/")[0], measured.result["metric_flavour"])
    return CLASSIFICATION_FLAVOURS.get(key, first)


def _value(measured: Measured | None, column: Column) -> float | None:
    if measured is None or _flavour(measured, column.key) != column.flavour:
        return None
    return measured.result["values"].get(column.key)


def _one_a_protocol(measured: Sequence[Measured], keys: Sequence[str]) -> tuple[dict[Protocol, Measured], list[str]]:
    """The result that stands for a method under each protocol, and what must be said of the choice.

    There is more than one where an untrained backbone was probed with two treatments of BatchNorm: the stronger
    one, by the first value, is what the pretrained methods must beat.
    """
    chosen: dict[Protocol, Measured] = {}
    notes = []
    for m in measured:
        chosen.setdefault(Protocol.of(m.result), m)
    for protocol in chosen:
        rivals = [m for m in measured if Protocol.of(m.result) == protocol]
        if len(rivals) > 1:
            ranked = sorted(rivals, key=lambda m: _first(m, keys), reverse=True)
            chosen[protocol] = ranked[0]
            by_treatment = " and ".join(f"{_first(m, keys):.1f} with BN {_treatment(m)}" for m in ranked)
            notes.append(f"{look(ranked[0].method).label}: {by_treatment}; the stronger of the two is shown.")
    return chosen, notes


def _first(measured: Measured, keys: Sequence[str]) -> float:
    values = (measured.result["values"].get(key) for key in keys)
    return next((value for value in values if value is not None), -1.0)


def _treatment(measured: Measured) -> str:
    return "re-estimated" if measured.reestimated else "as initialised"
