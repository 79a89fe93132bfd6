"""What a row of the tables is called, which kind it is, and how it is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["baseline", "random", "pretrained"]


@dataclass(frozen=True)
class Look:
    """A method in words, and in colour and shape: both differ, so that a grey print tells the methods apart.

    Colours after Okabe and Ito, "Color Universal Design", 2008; ``dark`` is the one on a dark ground.
    """

    label: str
    kind: Kind
    light: str
    dark: str
    marker: str
    line: str = "-"


LOOKS = {
    "chance": Look("Chance", "baseline", "#767676", "#9a9a9a", "|", ":"),
    "colour_histogram": Look("Colour histogram", "baseline", "#767676", "#9a9a9a", "P", ":"),
    "hog": Look("HOG", "baseline", "#767676", "#9a9a9a", "X", ":"),
    "random_init": Look("Random init", "random", "#000000", "#ffffff", "s", "--"),
    "moco_v2": Look("MoCo v2", "pretrained", "#0072B2", "#56B4E9", "o"),
    "clsa_single": Look("CLSA-Single", "pretrained", "#D55E00", "#E69F00", "^", "-."),
    "clsa_multi": Look("CLSA-Multi", "pretrained", "#009E73", "#3ddbae", "D", (0, (5, 1))),
}

#: Methods that the paper's claims and paper.yaml name, beside those above.
LABELS = {
    "supervised": "Supervised",
    "swav": "SwAV",
    "clsa_single_contrastive": "CLSA-Single with the contrastive loss",
    "moco_v2_strong_query": "MoCo v2, strong query",
    "moco_v2_strong_query_and_key": "MoCo v2, strong query and key",
    "moco_v2_800ep": "MoCo v2, 800 epochs",
    "clsa_single_800ep": "CLSA-Single, 800 epochs",
    "clsa_multi_800ep": "CLSA-Multi, 800 epochs",
}

#: For methods of the user's own, in the order in which they come.
SPARE = (
    ("#CC79A7", "#CC79A7", "v"),
    ("#8a6d00", "#F0E442", "*"),
    ("#56B4E9", "#0072B2", "<"),
    ("#5c3a8c", "#b59be0", ">"),
)

#: The baseline against which the others are measured, and the untrained start.
REFERENCE = "moco_v2"
UNTRAINED = "random_init"


def look(method: str) -> Look:
    """The look of ``method``; one that is not of the known ones is called by its own name."""
    if method in LOOKS:
        return LOOKS[method]
    light, dark, marker = SPARE[sum(method.encode()) % len(SPARE)]
    return Look(LABELS.get(method, method.replace("_", " ")), "pretrained", light, dark, marker)


def in_order(methods: Iterable[str]) -> list[str]:
    """Each once: baselines, the random start, the known methods, then the others as they come."""
    found = list(dict.fromkeys(methods))
    return [method for method in LOOKS if method in found] + [method for method in found if method not in LOOKS]
