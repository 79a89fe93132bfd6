"""The findings as tables for a terminal, AP_S first."""

from collections.abc import Sequence
from typing import Any

#: What is compared, in words.
TASKS = {"bbox": "boxes", "segm": "masks"}

#: Which truth the intervals are for.
MEANT = """
intervals are for the mean over test sets of as many images as this one; on endlessly many images average precision
is another number, as a rule a lower one. bias: mean of the resamples minus the observed value"""


def as_text(found: dict[str, Any]) -> str:
    """What :func:`~clsa.reproduce.ap.measure.measure` returns, in percent with one or two decimals."""
    head = (
        f"{found['flavour']}: average precision of {TASKS[found['iou_type']]}, percent; {found['images']} images, "
        f"{found['objects']['AP']} objects, {found['objects']['AP_S']} of them small: {found['annotations']}"
    )
    sections = [head, _overall(found)]
    if found["differences"]:
        sections.append(_differences(found))
    sections += [_by_size(found), _by_category(found)]
    return "\n\n".join(sections)


def _overall(found: dict[str, Any]) -> str:
    metrics = list(found["files"][0]["values"])
    rows = [["", *metrics, "95 % interval of AP_S", "bias", "of AP", "bias", "detections"]]
    for file in found["files"]:
        spreads = [file["intervals"][metric] for metric in ("AP_S", "AP")]
        intervals = [text for s in spreads for text in (_interval(s), _percent(s and s["bias"], "+.2f"))]
        values = [_percent(file["values"][metric]) for metric in metrics]
        rows.append([file["name"], *values, *intervals, str(file["detections"])])
    return _aligned(rows) + (MEANT if found["bootstrap"]["resamples"] else "")


def _differences(found: dict[str, Any]) -> str:
    rows = [["difference", "", "observed", "95 % interval", "bias", "second beats first"]]
    for pair in found["differences"]:
        wins = pair["second_beats_first"]
        rows.append(
            [
                f"{pair['second']} minus {pair['first']}",
                pair["metric"],
                _percent(pair["observed"], "+.2f"),
                _interval(pair["resampled"], "+.2f"),
                _percent(pair["bias"], "+.2f"),
                "-" if wins is None else f"in {100 * wins:.1f} %",
            ]
        )
    drawn = found["bootstrap"]
    if not drawn["resamples"]:
        return _aligned([row[:3] for row in rows])
    return _aligned(rows) + (
        f"\nof {drawn['resamples']} bootstrap resamples of the images (seed {drawn['seed']}), the same for all files: "
        "the uncertainty of\nthese test images, not that of another training run"
    )


def _by_size(found: dict[str, Any]) -> str:
    names = [file["name"] for file in found["files"]]
    rows = [["side, pixels", "objects", "categories", *(word for name in names for word in (name, ""))]]
    filled = [k for k, size in enumerate(found["sizes"]) if size["objects"]]
    for k, size in enumerate(found["sizes"]):
        if not filled or not filled[0] <= k <= filled[-1]:  # no object is as small, or as large
            continue
        values = []
        for file in found["files"]:
            values += [_percent(file["by_size"][k]["AP"]), _interval(file["by_size"][k]["interval"])]
        rows.append([size["name"], str(size["objects"]), str(size["categories"]), *values])
    return "AP by object size (square root of the area), with 95 % intervals\n" + _aligned(rows)


def _by_category(found: dict[str, Any]) -> str:
    files = found["files"]
    columns = [(metric, file) for metric in ("AP_S", "AP") for file in files]
    label = "{0}" if len(files) == 1 else "{0} {1}"
    rows = [["category", "objects", "small", *(label.format(metric, file["name"]) for metric, file in columns)]]
    absent = 0
    for name, first in files[0]["per_category"].items():
        if not first["objects"]:
            absent += 1
            continue
        values = [_percent(file["per_category"][name][metric]) for metric, file in columns]
        rows.append([name, str(first["objects"]), str(first["small_objects"]), *values])
    return _aligned(rows) + (f"\n{absent} categories have no object here and are in no mean" if absent else "")


def _percent(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else f"{value:{form}}"


def _interval(spread: dict[str, float] | None, form: str = ".1f") -> str:
    return "-" if spread is None else f"{spread['low']:{form}} to {spread['high']:{form}}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(word.rjust(w) for word, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
