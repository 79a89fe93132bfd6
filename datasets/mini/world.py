"""Render the whole miniature world: whole or not at all, and the same bytes whatever the number of workers."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
from tqdm import tqdm

from clsa.configs.command import InputError
from clsa.configs.run_files import write_json

from ..fingerprint import MINI_WORLD_FILE, read_mini_world
from . import write_coco, write_imagenet, write_voc
from .write_coco import COCOJob
from .write_imagenet import WNIDS, ImageNetJob
from .write_voc import VOCJob

#: Goes up whenever the same seed would give other bytes.
VERSION = 1


@dataclass(frozen=True)
class WorldSize:
    """Numbers of pictures, and how long their longer sides are in pixels."""

    imagenet_train: int
    imagenet_val: int
    voc2007_trainval: int
    voc2007_test: int
    voc2012_trainval: int
    coco_train: int
    coco_val: int
    side: int
    coco_sides: tuple[int, int]


#: ``tiny`` is for tests, ``small`` for an experiment of minutes on a CPU, ``large`` for one on a GPU.
SIZES = {
    "tiny": WorldSize(60, 20, 60, 40, 40, 24, 16, 128, (168, 200)),
    "small": WorldSize(10_000, 1_000, 1_200, 1_200, 600, 1_000, 300, 128, (168, 200)),
    "large": WorldSize(50_000, 5_000, 6_000, 6_000, 3_000, 5_000, 1_500, 320, (320, 400)),
}


class Job(Protocol):
    """One picture to draw and write; picklable."""

    def draw(self) -> Any: ...


def render_world(root: Path, size: str, seed: int, workers: int) -> bool:
    """Render the world of ``size`` and ``seed`` into ``root``; False if it is there already.

    It is rendered into ``ROOT.partial-*``, a folder beside ``root`` that then takes the name ``root``;
    ``mini_world.json`` is written last. A killed process leaves that folder, which is nobody's and can be removed.

    Raises:
        InputError: ``root`` holds another world, or anything else, or cannot be written.
    """
    if _stands(root, size, seed):
        return False
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{root.name}.partial-", dir=root.parent))
        try:
            _render_into(partial, SIZES[size], seed, workers)
            write_json(partial / MINI_WORLD_FILE, _record(size, seed))
            umask = os.umask(0)
            os.umask(umask)
            partial.chmod(0o777 & ~umask)  # mkdtemp's folder is closed to others; the data need not be
            partial.rename(root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise InputError(f"{root} cannot be written: {error}. Make room for it, or choose another --root.") from error
    return True


def _stands(root: Path, size: str, seed: int) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    there = read_mini_world(root) if (root / MINI_WORLD_FILE).is_file() else None
    if there is None:
        raise InputError(f"{root} exists and is no miniature world. Choose another --root, or an empty folder.")
    wanted = {key: value for key, value in _record(size, seed).items() if key in ("version", "size", "seed")}
    found = {key: there.get(key) for key in wanted}
    if found != wanted:
        names = [" ".join(f"{key} {value}" for key, value in which.items()) for which in (found, wanted)]
        raise InputError(
            f"{root} holds a miniature world of {names[0]}; asked for was {names[1]}. Choose another --root, "
            "or remove that folder."
        )
    return True


def _record(size: str, seed: int) -> dict[str, Any]:
    count = SIZES[size]
    return {
        "format": "clsa-mini-world",
        "version": VERSION,
        "size": size,
        "seed": seed,
        "counts": {
            "imagenet": {"train": count.imagenet_train, "val": count.imagenet_val},
            "VOC2007": {"trainval": count.voc2007_trainval, "test": count.voc2007_test},
            "VOC2012": {"trainval": count.voc2012_trainval},
            "coco": {"train2017": count.coco_train, "val2017": count.coco_val},
        },
        "imagenet_classes": {wnid: class_name for class_name, wnid in WNIDS.items()},
    }


def _render_into(root: Path, size: WorldSize, seed: int, workers: int) -> None:
    imagenet, voc2007, voc2012, coco = (root / name for name in ("imagenet", "VOC2007", "VOC2012", "coco"))
    write_imagenet.make_folders(imagenet)
    write_voc.make_folders(voc2007)
    write_voc.make_folders(voc2012)
    write_coco.make_folders(coco)

    imagenet_jobs = [
        ImageNetJob(imagenet, split, i, seed, size.side)
        for split, count in (("train", size.imagenet_train), ("val", size.imagenet_val))
        for i in range(count)
    ]
    trainval = [VOCJob(voc2007, "trainval", i, seed, size.side, f"{i + 1:06d}") for i in range(size.voc2007_trainval)]
    test = [
        VOCJob(voc2007, "test", i, seed, size.side, f"{size.voc2007_trainval + i + 1:06d}")
        for i in range(size.voc2007_test)
    ]
    trainval_2012 = [
        VOCJob(voc2012, "trainval", i, seed, size.side, f"2012_{i + 1:06d}") for i in range(size.voc2012_trainval)
    ]
    coco_train = [COCOJob(coco, "train2017", i, seed, size.coco_sides, i + 1) for i in range(size.coco_train)]
    coco_val = [
        COCOJob(coco, "val2017", i, seed, size.coco_sides, size.coco_train + i + 1) for i in range(size.coco_val)
    ]

    jobs = [*imagenet_jobs, *trainval, *test, *trainval_2012, *coco_train, *coco_val]
    drawn = dict(zip(jobs, _draw_all(jobs, workers), strict=True))

    for folder, voc_jobs in ((voc2007, trainval), (voc2012, trainval_2012)):
        labels = {job.image_id: drawn[job] for job in voc_jobs}
        train_ids, val_ids = write_voc.split_trainval(list(labels))
        write_voc.write_lists(folder, "trainval", labels)
        write_voc.write_lists(folder, "train", {image_id: labels[image_id] for image_id in train_ids})
        write_voc.write_lists(folder, "val", {image_id: labels[image_id] for image_id in val_ids})
    write_voc.write_lists(voc2007, "test", {job.image_id: drawn[job] for job in test})
    for split, coco_jobs in (("train2017", coco_train), ("val2017", coco_val)):
        path = coco / "annotations" / f"instances_{split}.json"
        write_coco.write_instances(path, (drawn[job] for job in coco_jobs))


def _draw_all(jobs: Sequence[Job], workers: int) -> Iterator[Any]:
    """What each job returns, in the order of the jobs, under a progress bar."""
    bar = {"total": len(jobs), "unit": " images", "desc": "miniature world", "disable": None}
    if workers == 1:
        _one_thread()
        yield from tqdm(map(_draw, jobs), **bar)
        return
    # spawned, not forked: OpenCV's and PyTorch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        try:
            yield from tqdm(pool.map(_draw, jobs, chunksize=8), **bar)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _draw(job: Job) -> Any:
    return job.draw()


def _one_thread() -> None:
    cv2.setNumThreads(1)
