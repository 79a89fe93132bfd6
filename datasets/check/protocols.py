"""The protocols' data: official counts, which parts each protocol needs, and the look over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError

from ..fingerprint import MINI_WORLD_FILE, read_mini_world
from .coco import check_coco
from .imagenet import check_imagenet, check_same_classes
from .part import Part, decode_images
from .voc import check_voc

#: Part -> images, of ImageNet-1k (ILSVRC 2012), VOC and COCO as released.
OFFICIAL_COUNTS = {
    "imagenet/train": 1_281_167,
    "imagenet/val": 50_000,
    "VOC2007/trainval": 5_011,
    "VOC2007/test": 4_952,
    "VOC2012/trainval": 11_540,
    "coco/train2017": 118_287,
    "coco/val2017": 5_000,
}
OFFICIAL_CLASSES = 1000


@dataclass(frozen=True)
class DataProtocol:
    """What it is called by people, and the parts without which it cannot run."""

    title: str
    needs: tuple[str, ...]


#: Name on the command line -> protocol.
PROTOCOLS = {
    "imagenet-pretrain": DataProtocol("ImageNet pretraining", ("imagenet/train",)),
    "imagenet-linear": DataProtocol("ImageNet linear probe", ("imagenet/train", "imagenet/val")),
    "voc07-probe": DataProtocol("VOC07 SVM and linear probe", ("VOC2007/trainval", "VOC2007/test")),
    "voc-detection": DataProtocol("VOC07+12 detection", ("VOC2007/trainval", "VOC2012/trainval", "VOC2007/test")),
    "coco-detection": DataProtocol("COCO detection", ("coco/train2017", "coco/val2017")),
}


@dataclass(frozen=True)
class DataCheck:
    """``miniature`` is the world's own record, None for real data; ``parts`` are those looked at, by name."""

    root: Path
    miniature: dict[str, Any] | None
    parts: dict[str, Part]
    demanded: tuple[str, ...]

    def lacking(self, protocol: str) -> list[str]:
        """The parts that keep ``protocol`` from running as it is defined: anything but ``"ok"``."""
        return [name for name in PROTOCOLS[protocol].needs if self.parts[name].status != "ok"]

    @property
    def passed(self) -> bool:
        return not any(self.lacking(protocol) for protocol in self.demanded)


def check_root(root: Path, protocols: Sequence[str] = tuple(PROTOCOLS), deep: bool = False) -> DataCheck:
    """Look over the parts that ``protocols`` need; ``deep`` decodes every image as well.

    Raises:
        InputError: no such folder, or no such protocol.
    """
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise InputError(f"no protocol is called {unknown[0]!r}. There are {', '.join(PROTOCOLS)}.")
    if not root.is_dir():
        raise InputError(f"{root} is no folder. Give the folder that holds imagenet/, VOC2007/, VOC2012/, coco/.")
    miniature = read_mini_world(root) if (root / MINI_WORLD_FILE).is_file() else None
    counts, classes = OFFICIAL_COUNTS, OFFICIAL_CLASSES
    if miniature is not None:
        counts, classes = _counts_of(miniature, root)

    wanted = [name for name in OFFICIAL_COUNTS if any(name in PROTOCOLS[protocol].needs for protocol in protocols)]
    parts = {name: _check_part(root, name, counts[name], classes) for name in wanted}
    if "imagenet/val" in parts:
        check_same_classes(parts["imagenet/train"], parts["imagenet/val"])
    if deep:
        decode_images(parts.values())
    return DataCheck(root, miniature, parts, tuple(protocols))


def _check_part(root: Path, name: str, expected: int, classes: int) -> Part:
    data_set, split = name.split("/")
    if data_set == "imagenet":
        return check_imagenet(root, split, expected, classes)
    if data_set == "coco":
        return check_coco(root, split, expected)
    return check_voc(root, int(data_set.removeprefix("VOC")), split, expected)


def _counts_of(miniature: dict[str, Any], root: Path) -> tuple[dict[str, int], int]:
    try:
        counts = {name: int(miniature["counts"][name.split("/")[0]][name.split("/")[1]]) for name in OFFICIAL_COUNTS}
        return counts, len(miniature["imagenet_classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{root / MINI_WORLD_FILE} lacks its counts. Render the miniature world again.") from error
