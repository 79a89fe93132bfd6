"""The order in which training sees images, and the loaders of training and evaluation.

What iteration i trains on is a function of (seed, i, number of processes) alone: the order is planned from the
annotations before any image is read, and each image draws its augmentation from a generator seeded by its place in
the order. So a resumed run sees exactly what the run that was not stopped would have seen, with any number of workers.
"""

import itertools
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader, Dataset

from clsa.configs.command import InputError

from .mapper import DetectionMapper, resized_shape


def has_usable_objects(record: dict[str, Any]) -> bool:
    """Whether any annotation is no crowd: ``DATALOADER.FILTER_EMPTY_ANNOTATIONS`` drops the other images."""
    return any(not annotation.get("iscrowd", 0) for annotation in record["annotations"])


def image_stream(images: int, seed: int) -> Iterator[int]:
    """``shuffle(0 .. images - 1)`` again and again, without end; detectron2's ``TrainingSampler`` gives the same."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(images, generator=generator).tolist()


def plan_batches(
    is_landscape: Sequence[bool], batch_size: int, seed: int, rank: int, world_size: int, group: bool
) -> Iterator[list[tuple[int, int]]]:
    """Batches of (place in the stream, image index) for one process, without end.

    Each process takes every ``world_size``-th place. With ``group`` a batch holds only landscape images (wider than
    high) or only others, and comes when it is full, so it needs less padding.
    """
    waiting: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    stream = enumerate(image_stream(len(is_landscape), seed))
    for place, image in itertools.islice(stream, rank, None, world_size):
        batch = waiting[bool(is_landscape[image]) and group]
        batch.append((place, image))
        if len(batch) == batch_size:
            yield list(batch)
            batch.clear()


class PackedRecords(Dataset):
    """Dataset dictionaries, pickled into one array, mapped on access.

    COCO's annotations are millions of Python objects: in one array, worker processes share them instead of copying
    page after page when reference counts change.
    """

    def __init__(self, records: Sequence[dict[str, Any]], mapper: DetectionMapper, seed: int):
        packed = [np.frombuffer(pickle.dumps(record, protocol=-1), dtype=np.uint8) for record in records]
        self._bytes = np.concatenate(packed)
        self._ends = np.cumsum([len(record) for record in packed])
        self._mapper = mapper
        self._seed = seed

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        place, image = key
        begin = self._ends[image - 1] if image else 0
        # pickled by ourselves a moment ago: never bytes of a file
        record = pickle.loads(self._bytes[begin : self._ends[image]].tobytes())
        return self._mapper(record, np.random.default_rng([self._seed, place]))


def training_batches(
    cfg: CfgNode, records: Sequence[dict[str, Any]], seed: int, start: int, rank: int = 0, world_size: int = 1
) -> Iterator[list[dict[str, Any]]]:
    """The batches of this process from iteration ``start`` on, without end; see the module's docstring.

    Raises:
        InputError: the batch cannot be shared out evenly, or no image has an object.
    """
    total = cfg.SOLVER.IMS_PER_BATCH
    if total < 1 or total % world_size:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH is {total}: it must be a multiple of the {world_size} processes. "
            "Change it (and SOLVER.BASE_LR in proportion), or the number of processes."
        )
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        records = [record for record in records if has_usable_objects(record)]
    if not records:
        raise InputError(f"no image of {', '.join(cfg.DATASETS.TRAIN)} has an object to train on")
    plan = plan_batches(
        [record["width"] > record["height"] for record in records],
        total // world_size,
        seed,
        rank,
        world_size,
        cfg.DATALOADER.ASPECT_RATIO_GROUPING,
    )
    return iter(
        DataLoader(
            PackedRecords(records, DetectionMapper(cfg, is_train=True), seed),
            batch_sampler=itertools.islice(plan, start, None),
            collate_fn=list,
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            pin_memory=torch.cuda.is_available(),
        )
    )


def evaluation_batches(
    cfg: CfgNode, records: Sequence[dict[str, Any]], rank: int = 0, world_size: int = 1
) -> DataLoader:
    """This process's share of the evaluation images, each once.

    A batch holds images of one size after resizing, so none is padded and each gives what it would give alone.
    ``len()`` of the loader is the number of batches.
    """
    mapper = DetectionMapper(cfg, is_train=False)
    share = range(rank, len(records), world_size)
    shapes = {
        index: resized_shape(records[index]["height"], records[index]["width"], mapper.short_sides[0], mapper.max_side)
        for index in share
    }
    limit = max(1, cfg.SOLVER.IMS_PER_BATCH // world_size)
    batches = []
    for _, same_shape in itertools.groupby(sorted(share, key=shapes.get), key=shapes.get):
        indices = list(same_shape)
        batches += [
            [(index, index) for index in indices[begin : begin + limit]] for begin in range(0, len(indices), limit)
        ]
    return DataLoader(
        PackedRecords(records, mapper, seed=0),
        batch_sampler=batches,
        collate_fn=list,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
