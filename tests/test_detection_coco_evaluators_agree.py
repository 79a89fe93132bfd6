"""COCO's evaluators on random sets: detectron2's own on 200, faster-coco-eval, and a slow loop from the definition.

The sets have equal scores, crowds, an image without objects, one without detections, a category without objects (the
last), and objects of all three sizes.
"""

import importlib.util
import json
import sys

import numpy as np
import pycocotools.mask as mask_util
import pytest

from clsa.configs.command import InputError
from clsa.detection.evaluate_coco import evaluate_coco, read_ground_truth, run_evaluator

SETS = 200
HEIGHT, WIDTH = 150, 200
NAMES = ("cat", "dog", "cow", "owl")
SCORES = (0.05, 0.25, 0.25, 0.5, 0.75)


def random_ground_truth(rng: np.random.Generator, images: int = 5) -> dict:
    """The content of an annotation file; the first image has no object."""
    annotations = []
    for image in range(2, images + 1):
        for _ in range(rng.integers(1, 6)):
            x, y = rng.integers(0, 60, 2)
            w, h = rng.choice([rng.integers(4, 30), rng.integers(33, 80), rng.integers(97, 120)], 2)
            w, h = int(min(w, WIDTH - x)), int(min(h, HEIGHT - y))
            mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
            mask[y : y + h, x : x + w] = 1
            mask[y : y + h // 3, x : x + w // 3] = 0  # no box is its object
            rle = mask_util.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(1, len(NAMES))),  # never the last
                    "bbox": [float(x), float(y), float(w), float(h)],
                    "area": float(mask_util.area(rle)),
                    "iscrowd": int(rng.random() < 0.15),
                    "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
                }
            )
    return {
        "info": {},
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH, "file_name": f"{i}.jpg"} for i in range(1, images + 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES, 1)],
        "annotations": annotations,
    }


def random_results(rng: np.random.Generator, ground_truth: dict) -> list[dict]:
    """Shaken copies of the objects, some of another category, and strays; the last image has none."""
    last = ground_truth["images"][-1]["id"]
    results = []
    for annotation in ground_truth["annotations"]:
        for _ in range(rng.integers(0, 4) if annotation["image_id"] != last else 0):
            x, y, w, h = np.array(annotation["bbox"]) + rng.normal(0, 4, 4)
            category = annotation["category_id"] if rng.random() < 0.85 else int(rng.integers(1, len(NAMES) + 1))
            results.append(_result(rng, annotation["image_id"], category, x, y, max(w, 3), max(h, 3)))
    for _ in range(3):
        results.append(_result(rng, 1, int(rng.integers(1, len(NAMES) + 1)), *rng.uniform(3, 60, 4)))
    return results


def _result(rng, image, category, x, y, w, h):
    x, y = max(x, 0), max(y, 0)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[int(y) : int(y + h), int(x) : int(x + w)] = 1
    rle = mask_util.encode(mask)
    return {
        "image_id": image,
        "category_id": category,
        "bbox": np.array([x, y, w, h], dtype=np.float32).tolist(),
        "score": float(rng.choice(SCORES)),
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
    }


needs_detectron2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed"
)
needs_faster = pytest.mark.skipif(
    importlib.util.find_spec("faster_coco_eval") is None, reason="faster-coco-eval is not installed"
)


def slow_coco_ap(content, results, category, low, high):
    """One category in one area range, IoU by IoU and detection by detection; None where nothing is to be found."""
    found = {image["id"]: [] for image in content["images"]}
    for result in results:
        if result["category_id"] == category:
            found[result["image_id"]].append(result)
    positives, rows = 0, {t: [] for t in range(10)}
    for image, detections in found.items():
        objects = [a for a in content["annotations"] if (a["image_id"], a["category_id"]) == (image, category)]
        ignored = [bool(a["iscrowd"]) or not low <= a["area"] <= high for a in objects]
        order = sorted(range(len(objects)), key=lambda k: ignored[k])
        positives += len(objects) - sum(ignored)
        detections.sort(key=lambda d: -d["score"])
        for t in range(10):
            taken = set()
            for detection in detections:
                best, best_iou = None, 0.5 + 0.05 * t
                for k in order:
                    if k in taken and not objects[k]["iscrowd"]:
                        continue
                    if best is not None and not ignored[best] and ignored[k]:
                        break
                    iou = coco_iou(detection["bbox"], objects[k]["bbox"], objects[k]["iscrowd"])
                    if iou >= best_iou:
                        best, best_iou = k, iou
                if best is not None:
                    taken.add(best)
                    outcome = None if ignored[best] else True
                else:
                    area = detection["bbox"][2] * detection["bbox"][3]
                    outcome = False if low <= area <= high else None
                rows[t].append((detection["score"], outcome))
    if not positives:
        return None
    total = 0.0
    for t in range(10):
        hits, curve = 0, []
        counted = [outcome for _, outcome in sorted(rows[t], key=lambda row: -row[0]) if outcome is not None]
        for seen, outcome in enumerate(counted, 1):
            hits += outcome
            curve.append((hits / positives, hits / seen))
        for level in np.linspace(0, 1, 101):
            total += max((precision for recall, precision in curve if recall >= level), default=0.0)
    return total / 1010 * 100


def coco_iou(a, b, iscrowd):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return inter / (a[2] * a[3] if iscrowd else a[2] * a[3] + b[2] * b[3] - inter)


@pytest.mark.parametrize("seed", range(6))
def test_cocos_boxes_equal_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    content = random_ground_truth(rng)
    results = random_results(rng, content)
    ours = evaluate_coco(read_ground_truth(content), results)
    for metric, low, high in (("AP", 0, 1e10), ("APs", 0, 32**2)):
        slow = {name: slow_coco_ap(content, results, k, low, high) for k, name in enumerate(NAMES, 1)}
        assert slow["owl"] is None  # never occurs
        for name, value in slow.items():
            assert ours["per_class"][f"bbox/{metric}"][name] == (
                value if value is None else pytest.approx(value, abs=1e-9)
            )
        defined = [value for value in slow.values() if value is not None]
        assert ours["values"][f"bbox/{metric}"] == pytest.approx(np.mean(defined), abs=1e-9)


@needs_faster
def test_the_faster_package_agrees_over_the_whole_precision_array():
    largest = 0.0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        content = random_ground_truth(rng)
        results = random_results(rng, content) if seed else []
        for task in ("bbox", "segm"):
            official = run_evaluator(read_ground_truth(content), results, task)
            faster = run_evaluator(read_ground_truth(content), results, task, "faster_coco_eval")
            assert faster.eval["precision"].shape == official.eval["precision"].shape == (10, 101, 4, 4, 3)
            for part in ("precision", "recall", "scores"):
                largest = max(largest, np.abs(faster.eval[part] - official.eval[part]).max())
            assert np.abs(np.array(faster.stats[:6]) - official.stats[:6]).max() <= 1e-12
    assert largest <= 1e-12


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    content = random_ground_truth(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"Install faster-coco-eval with pip, or set TEST\.COCO_EVAL pycocotools"):
        evaluate_coco(read_ground_truth(content), [], evaluator="faster_coco_eval")


def as_instances(size, boxes, scores, classes):
    import torch
    from detectron2.structures import Boxes, Instances

    instances = Instances(size)
    instances.pred_boxes = Boxes(torch.from_numpy(np.asarray(boxes, dtype=np.float32).reshape(-1, 4)))
    instances.scores = torch.from_numpy(np.asarray(scores, dtype=np.float32))
    instances.pred_classes = torch.from_numpy(np.asarray(classes, dtype=np.int64))
    return instances


@needs_detectron2
def test_cocos_equals_detectron2s_on_random_sets(tmp_path, coco_evaluator, require_equal):
    """Boxes and masks, and each category, with the implementation that detectron2 chooses by itself."""
    import torch
    from detectron2.data import MetadataCatalog
    from pycocotools.mask import decode

    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        content = random_ground_truth(rng)
        results = random_results(rng, content)
        path, name = tmp_path / f"{seed}.json", f"random_coco_{seed}"
        path.write_text(json.dumps(content))
        evaluator = coco_evaluator(name, path, NAMES, 1)
        evaluator._tasks = ("bbox", "segm")
        for image in content["images"]:
            mine = [result for result in results if result["image_id"] == image["id"]]
            corners = [[x, y, x + w, y + h] for x, y, w, h in (result["bbox"] for result in mine)]
            instances = as_instances(
                (HEIGHT, WIDTH), corners, [r["score"] for r in mine], [r["category_id"] - 1 for r in mine]
            )
            masks = [torch.from_numpy(decode(result["segmentation"])).bool() for result in mine]
            instances.pred_masks = torch.stack(masks) if masks else torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)
            evaluator.process([{"image_id": image["id"]}], [{"instances": instances}])
        theirs = evaluator.evaluate()
        written = [result for image in evaluator._predictions for result in image["instances"]]  # boxes as it has them
        ours = evaluate_coco(read_ground_truth(path), written, ("bbox", "segm"))
        for task in ("bbox", "segm"):
            require_equal(ours, theirs, task, task)
        MetadataCatalog.remove(name)
