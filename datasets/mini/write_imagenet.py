"""ImageNet's layout: ``train/WNID/WNID_NUMBER.JPEG`` and ``val/WNID/ILSVRC2012_val_NUMBER.JPEG``."""

from dataclasses import dataclass
from pathlib import Path

from ..categories import VOC_CLASSES
from .chance import class_in_turn, generator
from .jpeg import write_jpeg
from .pictures import imagenet_picture

#: WordNet ids, as ImageNet names its folders, of nouns that mean VOC's classes.
WNIDS = {
    "aeroplane": "n02691156",
    "bicycle": "n02834778",
    "bird": "n01503061",
    "boat": "n02858304",
    "bottle": "n02876657",
    "bus": "n02924116",
    "car": "n02958343",
    "cat": "n02121620",
    "chair": "n03001627",
    "cow": "n01887787",
    "diningtable": "n03201208",
    "dog": "n02084071",
    "horse": "n02374451",
    "motorbike": "n03790512",
    "person": "n00007846",
    "pottedplant": "n03991062",
    "sheep": "n02411705",
    "sofa": "n04256520",
    "train": "n04468005",
    "tvmonitor": "n03211117",
}


@dataclass(frozen=True)
class ImageNetJob:
    """One picture of ``split``, ``"train"`` or ``"val"``."""

    folder: Path
    split: str
    index: int
    seed: int
    side: int

    def draw(self) -> None:
        class_name = class_in_turn(self.seed, f"imagenet/{self.split}", self.index)
        wnid = WNIDS[class_name]
        rng = generator(self.seed, f"imagenet/{self.split}", self.index)
        stem = wnid if self.split == "train" else "ILSVRC2012_val"
        path = self.folder / self.split / wnid / f"{stem}_{self.index + 1:08d}.JPEG"
        write_jpeg(path, imagenet_picture(rng, class_name, self.side))


def make_folders(folder: Path) -> None:
    for split in ("train", "val"):
        for class_name in VOC_CLASSES:
            (folder / split / WNIDS[class_name]).mkdir(parents=True)
