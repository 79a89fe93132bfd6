"""Bootstrap intervals of AP and AP_S, by matching once and by running pycocotools on each resample, side by side.

    python benchmarks/bootstrap.py                      some five minutes, most of it pycocotools
    python benchmarks/bootstrap.py --runs 2 --images 1000

A made-up data set of COCO val2017's size: 5000 images, 80 categories of very different frequency, 36,000 objects, two
detectors with 100,000 detections each. Both sides get the same resamples, both files of each, and the same two area
ranges at 100 detections an image, which spares pycocotools three quarters of what its defaults would do. A run of
pycocotools is ``evaluate`` and ``accumulate`` of one file; to make and to index the resample is not counted. Our time
is that of everything after reading: matching and all resamples. CPU time is the process's; the peak of memory is that
of a fresh process. Every run of pycocotools is also held against our value of that resample. Last, the cost with all
area ranges of ``clsa-ap``: COCO's four and the bins of AP by size.
"""

import argparse
import contextlib
import io
import multiprocessing
import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from clsa.reproduce.ap.annotations import GroundTruth, ground_truth
from clsa.reproduce.ap.bootstrap import bootstrap, draw_images
from clsa.reproduce.ap.matching import count_objects, match
from clsa.reproduce.ap.results import detections
from clsa.reproduce.ap.sizes import COCO_RANGES, AreaRange, size_bins

COMPARED = COCO_RANGES[:2]  # AP and AP_S
BARS = {"times": 50, "MiB": 2048, "difference": 1e-12}


def make_annotations(images: int, categories: int, chance: np.random.Generator) -> dict[str, Any]:
    """7.2 objects an image, of a few categories each: about 41 % small, 34 % medium, 24 % large, as in COCO."""
    frequency = 1 / np.arange(1, categories + 1)
    frequency /= frequency.sum()
    annotations = []
    for image in range(1, images + 1):
        present = chance.choice(categories, size=4, p=frequency)
        for _ in range(chance.poisson(7.2)):
            side = np.exp(chance.normal(3.97, 1.1)).clip(3, 600)
            width, height = side * np.exp(chance.normal(0, 0.3) * np.array([1, -1]))
            x, y = chance.uniform(0, 640 - width.clip(max=630)), chance.uniform(0, 480 - height.clip(max=470))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(chance.choice(present)) + 1,
                    "bbox": [float(x), float(y), float(width), float(height)],
                    "area": float(0.6 * width * height),
                    "iscrowd": int(chance.random() < 0.01),
                }
            )
    return {
        "images": [{"id": k, "width": 640, "height": 480, "file_name": f"{k}.jpg"} for k in range(1, images + 1)],
        "categories": [{"id": k, "name": f"category {k}"} for k in range(1, categories + 1)],
        "annotations": annotations,
    }


def make_results(
    content: dict[str, Any], count: int, noise: float, chance: np.random.Generator
) -> list[dict[str, Any]]:
    """Objects found with noisy boxes, most twice, and boxes of nothing, ``count`` in all."""
    annotations, images = content["annotations"], len(content["images"])
    results = []
    for k in chance.permutation(2 * len(annotations))[: min(count // 2, int(1.6 * len(annotations)))]:
        found = annotations[k // 2]
        box = np.array(found["bbox"]) * np.exp(chance.normal(0, noise, 4) * [0, 0, 1, 1])
        box[:2] += chance.normal(0, noise, 2) * box[2:]
        score = chance.beta(4, 2)
        results.append((found["image_id"], found["category_id"], box, score))
    for _ in range(count - len(results)):
        other = annotations[chance.integers(len(annotations))]  # categories and sizes as they are
        box = [*chance.uniform(0, 400, 2), *other["bbox"][2:]]
        results.append((int(chance.integers(images)) + 1, other["category_id"], box, chance.beta(1.2, 4)))
    return [
        {"image_id": image, "category_id": category, "bbox": [float(side) for side in box], "score": float(score)}
        for image, category, box, score in results
    ]


def ours(
    truth: GroundTruth, files: list, ranges: tuple[AreaRange, ...], drawn: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """(R, F, A) values, CPU seconds of the matching and of the resamples."""
    began = time.process_time()
    matches = [match(truth, file, ranges) for file in files]
    objects = count_objects(truth, ranges)
    matched = time.process_time()
    values = bootstrap(matches, objects, drawn, show_progress=True)
    return values, matched - began, time.process_time() - matched


def pycocotools_on(
    content: dict[str, Any], results: list[dict[str, Any]], ranges: tuple[AreaRange, ...], times: np.ndarray
) -> tuple[list[float], float]:
    """Average precision in each area range on image k standing ``times[k]`` times, and CPU seconds."""
    copies: dict[int, list[int]] = {}
    images = []
    for image, many in zip(content["images"], times, strict=True):
        copies[image["id"]] = list(range(len(images) + 1, len(images) + 1 + many))
        images += [{**image, "id": copy} for copy in copies[image["id"]]]
    annotations = [{**a, "image_id": copy} for a in content["annotations"] for copy in copies[a["image_id"]]]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            **content,
            "images": images,
            "annotations": [{**annotation, "id": k} for k, annotation in enumerate(annotations, 1)],
        }
        truth.createIndex()
        found = truth.loadRes([{**r, "image_id": copy} for r in results for copy in copies[r["image_id"]]])
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.areaRng = [[r.low, r.high] for r in ranges]
        evaluation.params.areaRngLbl = [r.name for r in ranges]
        evaluation.params.maxDets = [100]
        began = time.process_time()
        evaluation.evaluate()
        evaluation.accumulate()
        seconds = time.process_time() - began
    precision = evaluation.eval["precision"][..., 0]  # (T, recall, K, A)
    by_area = [precision[..., area] for area in range(len(ranges))]
    return [float(p[p > -1].mean()) for p in by_area], seconds


def read(args: argparse.Namespace) -> tuple[dict, list, GroundTruth, list]:
    """Annotations and both results, as pycocotools takes them and as we do."""
    chance = np.random.default_rng(0)
    content = make_annotations(args.images, args.categories, chance)
    results = [make_results(content, args.detections, noise, chance) for noise in (0.10, 0.105)]
    truth = ground_truth(content, Path("annotations"), "bbox")
    return content, results, truth, [detections(r, Path(f"results {k}"), truth) for k, r in enumerate(results)]


def peak_growth(args: argparse.Namespace, ranges: tuple[AreaRange, ...], answer) -> None:
    """Bytes by which this process's peak grows beyond what it held with the data read, sent through ``answer``."""
    _, _, truth, files = read(args)
    drawn = draw_images(args.images, args.resamples, seed=0)
    before = resident("VmRSS")
    ours(truth, files, ranges, drawn)
    answer.send((resident("VmHWM") - before, resident("VmHWM")))


def resident(field: str) -> int:
    """``VmRSS`` now, or ``VmHWM`` at most, in bytes. (``getrusage`` would count the parent's, too.)"""
    return 1024 * int(re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text()).group(1))


def peak_in_new_process(args: argparse.Namespace, ranges: tuple[AreaRange, ...]) -> tuple[int, int]:
    """:func:`peak_growth` of a process started for it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=peak_growth, args=(args, ranges, sender))
    process.start()
    answer = receiver.recv()
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--categories", type=int, default=80)
    parser.add_argument("--detections", type=int, default=100_000, help="of each of the two files")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=10, help="runs of pycocotools, two for each resample")
    args = parser.parse_args()

    content, results, truth, files = read(args)
    print(
        f"{args.images} images, {args.categories} categories, {len(content['annotations'])} objects, "
        f"2 x {args.detections} detections, {args.resamples} resamples, AP and AP_S"
    )
    drawn = draw_images(args.images, args.resamples, seed=0)
    values, matching, resampling = ours(truth, files, COMPARED, drawn)
    total = matching + resampling
    print(f"matched once    CPU {total:9.1f} s: matching {matching:.1f} s, resamples {resampling:.1f} s")

    seconds, worst = [], 0.0
    for run in tqdm(range(args.runs), desc="pycocotools", leave=False):
        resample, file = divmod(run, 2)
        expected, spent = pycocotools_on(content, results[file], COMPARED, drawn[resample])
        seconds.append(spent)
        worst = max(worst, float(np.abs(values[resample, file] - expected).max()))
    slow = statistics.mean(seconds) * 2 * args.resamples
    print(
        f"pycocotools     CPU {slow:9.0f} s: extrapolated from {args.runs} runs of {min(seconds):.1f} to "
        f"{max(seconds):.1f} s"
    )
    growth, peak = (size / 2**20 for size in peak_in_new_process(args, COMPARED))
    print(f"pycocotools / matched once: CPU time {slow / total:.0f} (bar: at least {BARS['times']})")
    print(f"memory: {growth:.0f} MiB beyond the data, {peak:.0f} MiB in all (bar: {BARS['MiB']} in all)")
    print(f"largest difference of AP and AP_S in {args.runs} runs: {worst:.1e} (bar: {BARS['difference']:.0e})")

    everything = (*COCO_RANGES, *size_bins())
    _, matching, resampling = ours(truth, files, everything, drawn)
    growth, peak = (size / 2**20 for size in peak_in_new_process(args, everything))
    print(
        f"with all {len(everything)} area ranges of clsa-ap: CPU {matching + resampling:.1f} s, "
        f"{growth:.0f} MiB beyond the data, {peak:.0f} MiB in all"
    )
    if slow / total < BARS["times"] or peak > BARS["MiB"] or worst > BARS["difference"]:
        raise SystemExit("a bar is missed")


if __name__ == "__main__":
    main()
