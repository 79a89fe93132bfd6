"""CPU time of a training iteration, the torchvision engine's over detectron2's, side by side in one process.

    OMP_NUM_THREADS=1 python benchmarks/detection_step.py                 # C4 on VOC, then Mask R-CNN with FPN
    OMP_NUM_THREADS=1 python benchmarks/detection_step.py --case fpn --iterations 15 --size 256 --regions 128

Both engines train the whole ResNet-50 from equal weights on the same batches, turn about: an iteration of one, then of
the other. An iteration is what the engine's own loop does between two batches: the rate, forward, backward, the step
and the log. Reading and mapping images is measured apart, image by image. Printed are the median of the ratios of
neighbouring iterations with the quarters around it, and the median CPU seconds (all threads, user and system) of each.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from fvcore.common.config import CfgNode
from parity_engines import Detectron2Engine, detectron2_tensor_name
from PIL import Image
from tqdm import tqdm

from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.detection import torchvision_training
from clsa.detection.config import get_cfg
from clsa.detection.dataset_dicts import XYWH
from clsa.detection.mapper import DetectionMapper
from clsa.detection.rcnn import build_model

CASES = {
    "c4": ("detection/base_c4.yaml", ["MODEL.ROI_HEADS.NUM_CLASSES", "20"]),
    "fpn": ("detection/base_fpn.yaml", ["MODEL.ROI_HEADS.NUM_CLASSES", "80", "MODEL.MASK_ON", "True"]),
}
#: C4 runs res5 on each region: at equal cost it gets fewer.
REGIONS = {"c4": 32, "fpn": 256}


def step_config(case: str, regions: int, iterations: int, folder: str) -> CfgNode:
    """The protocol's detector at full width; an lr at which nothing moves far, so that every step costs the same."""
    base, changes = CASES[case]
    words = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "''", "OUTPUT_DIR", folder, "TEST.PRECISE_BN.ENABLED", "False"]
    words += ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", str(regions), "SOLVER.MAX_ITER", str(iterations)]
    words += ["SOLVER.STEPS", "()", "SOLVER.BASE_LR", "0.0001", "SOLVER.IMS_PER_BATCH", "2"]
    words += ["SOLVER.CHECKPOINT_PERIOD", str(10**9), *changes]
    return load_config(get_cfg(), base, words)


def noise_record(folder: Path, width: int, height: int, objects: int, seed: int) -> dict[str, Any]:
    """A JPEG of smooth noise and the dataset dictionary of it, polygons of 20 points."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
    path = folder / f"{seed}.jpg"
    coarse.resize((width, height)).save(path, quality=90)
    annotations = []
    for _ in range(objects):
        w, h = rng.uniform(16, width / 2), rng.uniform(16, height / 2)
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        outline = np.stack([x + w / 2 * (1 + np.cos(turn)), y + h / 2 * (1 + np.sin(turn))], axis=1)
        annotations.append(
            {
                "bbox": [x, y, w, h],
                "bbox_mode": XYWH,
                "category_id": int(rng.integers(20)),
                "iscrowd": 0,
                "segmentation": [outline.ravel().tolist()],
            }
        )
    record = {"file_name": str(path), "image_id": seed, "height": height, "width": width}
    return {**record, "annotations": annotations}


def seconds_of_iterations(cfg: CfgNode, batches: list[list[dict[str, Any]]]) -> tuple[list[float], list[float]]:
    """CPU seconds of every iteration of the torchvision engine and of detectron2.

    The torchvision engine's ``train`` is given an iterator in place of its loader: when it asks for the next batch its
    iteration is over, and before the iterator answers, detectron2's trainer does one.
    """
    from detectron2.engine import SimpleTrainer
    from detectron2.solver import build_lr_scheduler, build_optimizer
    from detectron2.utils.events import EventStorage

    engine = Detectron2Engine()
    torch.manual_seed(0)
    model = build_model(cfg)
    theirs, _ = engine.build(cfg)
    theirs.load_state_dict({detectron2_tensor_name(n): t for n, t in model.state_dict().items()}, strict=False)
    their_cfg = engine.config(cfg)
    optimizer = build_optimizer(their_cfg, theirs)
    scheduler = build_lr_scheduler(their_cfg, optimizer)
    trainer = SimpleTrainer(theirs, [engine.inputs(batch) for batch in batches], optimizer)
    ours_seconds, theirs_seconds = [], []

    def turn_about(storage: EventStorage) -> Iterator[list[dict[str, Any]]]:
        for iteration, batch in enumerate(tqdm(batches, unit="pair")):
            before = time.process_time()
            torchvision_training.seed_iteration(0, iteration, 0)
            trainer.iter = iteration
            trainer.run_step()
            scheduler.step()
            storage.step()
            theirs_seconds.append(time.process_time() - before)
            before = time.process_time()
            yield batch
            ours_seconds.append(time.process_time() - before)
        while True:
            yield batches[-1]

    state = {"iteration": 0, "seed": 0, "optimizer": None, "weights": None, "verified": 0}
    with EventStorage() as storage:
        batches_and_turns = turn_about(storage)
        with (
            mock.patch.object(torchvision_training, "training_batches", return_value=batches_and_turns),
            mock.patch.object(torchvision_training, "load_dataset_dicts", return_value=[]),
            mock.patch.object(torchvision_training, "write_checkpoint"),
        ):
            torchvision_training.train(Process(0, 1, torch.device("cpu")), cfg, model, state, lambda: 0.0)
        next(batches_and_turns)
    return ours_seconds, theirs_seconds


def seconds_of_mapping(cfg: CfgNode, records: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """CPU seconds of reading and mapping each record, by the torchvision engine and by detectron2."""
    from detectron2.data import DatasetMapper

    ours, theirs = DetectionMapper(cfg, is_train=True), DatasetMapper(Detectron2Engine().config(cfg), is_train=True)
    ours_seconds, theirs_seconds = [], []
    for number, record in enumerate(tqdm(records, unit="image")):
        before = time.process_time()
        theirs(record)
        theirs_seconds.append(time.process_time() - before)
        before = time.process_time()
        ours(record, np.random.default_rng(number))
        ours_seconds.append(time.process_time() - before)
    return ours_seconds, theirs_seconds


def report(what: str, ours: list[float], theirs: list[float], skip: int) -> float:
    """Print one line; the first ``skip`` of each are warming up. Returns the median ratio."""
    pairs = list(zip(ours, theirs, strict=True))[skip:]
    low, median, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = f"{median:.3f} [{low:.3f}, {high:.3f}], {len(pairs)} pairs"
    print(f"{what}: ratio {ratio}; torchvision {a:.4f} s, detectron2 {b:.4f} s")
    return median


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=tuple(CASES), help="default: both")
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--size", type=int, default=256, help="shorter side of the images")
    parser.add_argument("--regions", type=int, help=f"sampled of each image (default {REGIONS})")
    parser.add_argument("--images", type=int, default=40, help="read and mapped, 640 x 480 to the protocol's sizes")
    parser.add_argument("--bar", type=float, default=1.15, help="exit status 1 if a ratio is above it")
    args = parser.parse_args()
    try:
        Detectron2Engine()
    except ImportError as error:
        sys.exit(f"detectron2 cannot be imported ({error}): install it as docs/detectron2.md says.")
    ratios = []
    for case in args.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            regions = args.regions or REGIONS[case]
            cfg = step_config(case, regions, args.iterations, folder)
            small = cfg.clone()
            small.defrost()
            small.INPUT.MIN_SIZE_TRAIN = (args.size,)
            mapper = DetectionMapper(small, is_train=True)
            records = [noise_record(Path(folder), 640, 480, 6, seed) for seed in range(2 * args.iterations)]
            mapped = [mapper(record, np.random.default_rng(i)) for i, record in enumerate(records)]
            batches = [mapped[i : i + 2] for i in range(0, len(mapped), 2)]
            ours, theirs = seconds_of_iterations(cfg, batches)
            ratios.append(report(f"{case}, {args.size} px, {regions} regions, iteration", ours, theirs, skip=2))
            records = [records[i % len(records)] for i in range(args.images)]
            ours, theirs = seconds_of_mapping(cfg, records)
            ratios.append(report(f"{case}, one image read and mapped", ours, theirs, skip=2))
    return 0 if max(ratios) <= args.bar else 1


if __name__ == "__main__":
    sys.exit(main())
