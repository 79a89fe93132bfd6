"""What the numbers say, in sentences computed from them: who is above whom and by how much, and how sure that is."""

from collections.abc import Sequence

from .gather import Gathered
from .methods import REFERENCE, look
from .tables import Row, Table

#: Table -> what its first column is called in a sentence.
SUBJECTS = {
    "ap_small": "COCO AP_S (boxes)",
    "coco": "COCO AP (boxes)",
    "voc": "VOC detection",
    "voc07_svm": "VOC07 SVM mAP",
    "voc07_linear": "VOC07 linear-layer mAP",
}


def findings(tables: Sequence[Table], gathered: Gathered) -> list[str]:
    """One sentence a table on the methods against the reference, one on the untrained start, then the caveats."""
    sentences = []
    for table in tables:
        sentences += _against_reference(table)
        sentences += _against_floor(table)
    return sentences + caveats(tables, gathered)


def caveats(tables: Sequence[Table], gathered: Gathered) -> list[str]:
    """What limits every sentence: the number of seeds, unequal training lengths, results that were left out."""
    said = []
    seeds = sorted({seed for table in tables for row in table.rows for seed in row.seeds})
    if len(seeds) == 1:
        said.append(
            f"One seed ({seeds[0]}) of each: how much chance moves these numbers is not known, and a difference of a "
            "point or two may be nothing else."
        )
    elif seeds:
        said.append(f"Seeds {', '.join(map(str, seeds))}, one of each: the noise between seeds was not measured.")
    lengths = {
        method: pretraining.lines[-1]["iteration"]
        for method, pretraining in gathered.pretraining.items()
        if pretraining.lines and look(method).kind == "pretrained"
    }
    if len(set(lengths.values())) > 1:
        by_method = ", ".join(f"{look(method).label} {count}" for method, count in lengths.items())
        said.append(f"The methods were NOT pretrained equally long (last logged iteration: {by_method}).")
    if gathered.left_out:
        said.append(f"{len(gathered.left_out)} damaged or unreadable file(s) were left out; they are named below.")
    return said


def _against_reference(table: Table) -> list[str]:
    reference = table.row(REFERENCE)
    others = [row for row in table.rows if row.kind == "pretrained" and row.method != REFERENCE]
    if reference is None or reference.values[0] is None:
        return []
    return [
        f"{row.label} is {difference(row.values[0], reference.values[0])} {reference.label} on {_subject(table)} "
        f"({row.values[0]:.1f} against {reference.values[0]:.1f})."
        for row in others
        if row.values[0] is not None
    ]


def _against_floor(table: Table) -> list[str]:
    """The best pretrained method against the strongest row that no pretraining went into."""
    pretrained = _highest(table, ("pretrained",))
    floor = _highest(table, ("random", "baseline"))
    if pretrained is None or floor is None:
        return []
    return [
        f"On {_subject(table)} the best pretrained backbone, {pretrained.label}, is "
        f"{difference(pretrained.values[0], floor.values[0])} {floor.label} ({floor.values[0]:.1f}), the strongest "
        "row without pretraining."
    ]


def _highest(table: Table, kinds: Sequence[str]) -> Row | None:
    rows = [row for row in table.rows if row.kind in kinds and row.values[0] is not None]
    return max(rows, key=lambda row: row.values[0], default=None)


def _subject(table: Table) -> str:
    subject = SUBJECTS.get(table.key, table.title)
    return f"{subject} {table.columns[0].label.removeprefix('box ')}" if table.key == "voc" else subject


def difference(value: float, reference: float) -> str:
    """``"1.2 points below"``, ``"0.4 points above"``, ``"level with"`` (to the printed decimal)."""
    points = round(value, 1) - round(reference, 1)
    if abs(points) < 0.05:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"
