"""VOC's evaluators on random sets: detectron2's own on 200, faster-coco-eval, and slow loops from the definition.

The sets have equal scores, difficult objects, images without objects or detections, and absent classes.
"""

import importlib.util
import json

import numpy as np
import pytest

from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_coco_form import to_coco_form
from clsa.datasets.voc_folder import VOCAnnotation, VOCObject
from clsa.detection.evaluate_voc import evaluate_voc
from clsa.detection.predictions import ImagePrediction
from clsa.detection.voc_coco_form import evaluate_coco_form

SETS = 200
CLASSES = VOC_CLASSES[:6]  # random_split never has the last
needs_detectron2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed"
)
needs_faster = pytest.mark.skipif(
    importlib.util.find_spec("faster_coco_eval") is None, reason="faster-coco-eval is not installed"
)


def random_split(rng, images=12, classes=VOC_CLASSES[:6]):
    """Annotations with difficult objects and empty images; the last of ``classes`` never occurs."""
    annotations = []
    for i in range(images):
        objects = []
        for _ in range(rng.integers(0, 6)):
            x, y = rng.integers(1, 80, 2)
            w, h = rng.integers(5, 60, 2)
            name = classes[rng.integers(0, len(classes) - 1)]
            box = tuple(int(side) for side in (x, y, x + w, y + h))
            objects.append(VOCObject(name, box, bool(rng.random() < 0.2), False, "Left"))
        annotations.append(VOCAnnotation(f"{i:06d}", 160, 150, tuple(objects)))
    return annotations


def random_predictions(rng, annotations, classes=VOC_CLASSES[:6]):
    """Shaken copies of the objects and random boxes, with many equal scores, best first; some images without any."""
    predictions = []
    for annotation in annotations:
        boxes, numbers = [], []
        for voc in annotation.objects:
            for _ in range(rng.integers(0, 4)):
                boxes.append(np.array(voc.box) - [1, 1, 0, 0] + rng.normal(0, 3, 4))
                numbers.append(classes.index(voc.name) if rng.random() < 0.8 else rng.integers(0, len(classes)))
        for _ in range(rng.integers(0, 3)):
            x, y, w, h = rng.uniform(1, 70, 4)
            boxes.append([x, y, x + w, y + h])
            numbers.append(rng.integers(0, len(classes)))
        scores = np.sort(rng.choice([0.05, 0.1004, 0.1006, 0.3335, 0.5, 0.50049, 0.9], len(boxes)))[::-1]
        predictions.append(
            ImagePrediction(
                annotation.image_id,
                np.array(boxes, dtype=np.float32).reshape(-1, 4),
                scores.astype(np.float32),
                np.array(numbers, dtype=np.int64),
            )
        )
    return predictions


def slow_outcomes(predictions, annotations, number, name, threshold):
    """One class at one IoU, detection by detection, from the text that detectron2's evaluator writes.

    Returns 1 for each hit and 0 for each false alarm, best-scored first, and the number of objects to be found.
    """
    lines = []
    for prediction in predictions:
        for box, score, cls in zip(prediction.boxes, prediction.scores, prediction.classes, strict=True):
            if cls == number:
                x1, y1, x2, y2 = box
                lines.append((prediction.image_id, f"{score:.3f} {x1 + 1:.1f} {y1 + 1:.1f} {x2:.1f} {y2:.1f}"))
    objects = {a.image_id: [o for o in a.objects if o.name == name] for a in annotations}
    positives = sum(not o.difficult for found in objects.values() for o in found)
    rows = [(image_id, [float(word) for word in text.split()]) for image_id, text in lines]
    order = np.argsort(-np.array([numbers[0] for _, numbers in rows])) if rows else []
    taken, outcomes = set(), []
    for image_id, (_, x1, y1, x2, y2) in (rows[i] for i in order):
        best, best_iou = None, -1.0
        for k, voc in enumerate(objects[image_id]):
            gx1, gy1, gx2, gy2 = voc.box
            w = min(x2, gx2) - max(x1, gx1) + 1.0
            h = min(y2, gy2) - max(y1, gy1) + 1.0
            inter = max(w, 0.0) * max(h, 0.0)
            union = (x2 - x1 + 1.0) * (y2 - y1 + 1.0) + (gx2 - gx1 + 1.0) * (gy2 - gy1 + 1.0) - inter
            if inter / union > best_iou:
                best, best_iou = k, inter / union
        if best_iou <= threshold:
            outcomes.append(0)
        elif not objects[image_id][best].difficult:
            outcomes.append(0 if (image_id, best) in taken else 1)
            taken.add((image_id, best))
    return outcomes, positives


def slow_ap(predictions, annotations, number, name, threshold):
    """The 11-point average precision of one class at one IoU, in percent."""
    outcomes, positives = slow_outcomes(predictions, annotations, number, name, threshold)
    if not positives:
        return 0.0
    total = 0.0
    for level in range(11):
        best_precision, hits = 0.0, 0
        for seen, outcome in enumerate(outcomes, 1):
            hits += outcome
            if hits / positives >= level * 0.1:  # 3 * 0.1 is above 0.3, as in the original's arange
                best_precision = max(best_precision, hits / seen)
        total += best_precision / 11
    return total * 100


@pytest.mark.parametrize("seed", range(8))
def test_equals_slow_loop(seed):
    rng = np.random.default_rng(seed)
    annotations = random_split(rng)
    predictions = random_predictions(rng, annotations)
    result = evaluate_voc(predictions, annotations, VOC_CLASSES)
    slow = np.array(
        [
            [slow_ap(predictions, annotations, k, name, percent / 100) for percent in range(50, 100, 5)]
            for k, name in enumerate(VOC_CLASSES)
        ]
    )
    assert result["flavour"] == "VOC 11-point, IoU .50:.95"
    assert result["values"]["bbox/AP"] == pytest.approx(slow.mean(), abs=1e-9)
    assert result["values"]["bbox/AP50"] == pytest.approx(slow[:, 0].mean(), abs=1e-9)
    assert result["values"]["bbox/AP75"] == pytest.approx(slow[:, 5].mean(), abs=1e-9)
    assert list(result["per_class"]["bbox/AP"].values()) == pytest.approx(slow.mean(axis=1).tolist(), abs=1e-9)
    assert result["per_class"]["bbox/AP50"]["chair"] == 0.0  # never occurs


def slow_area_ap(outcomes, positives):
    """Sum over the hits of 1 / positives times the best precision from there on."""
    if not positives:
        return 0.0
    precisions, hits = [], 0
    for seen, outcome in enumerate(outcomes, 1):
        hits += outcome
        precisions.append(hits / seen)
    return sum(max(precisions[i:]) for i, outcome in enumerate(outcomes) if outcome) / positives * 100


@pytest.mark.parametrize("seed", range(4))
def test_vocs_area_equals_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    annotations = random_split(rng)
    predictions = random_predictions(rng, annotations)
    result = evaluate_voc(predictions, annotations, CLASSES, use_11_points=False)
    assert result["flavour"] == "VOC area, IoU .50:.95"
    slow = np.array(
        [
            [slow_area_ap(*slow_outcomes(predictions, annotations, k, name, t / 100)) for t in range(50, 100, 5)]
            for k, name in enumerate(CLASSES)
        ]
    )
    assert list(result["per_class"]["bbox/AP"].values()) == pytest.approx(slow.mean(axis=1).tolist(), abs=1e-9)
    assert result["values"]["bbox/AP75"] == pytest.approx(slow[:, 5].mean(), abs=1e-9)


@needs_faster
@pytest.mark.parametrize("difficult", ["ignored", "ordinary", "crowd"])
def test_the_faster_package_agrees_on_vocs_coco_form(difficult):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        annotations = random_split(rng)
        predictions = random_predictions(rng, annotations)
        official, faster = (
            evaluate_coco_form(predictions, annotations, CLASSES, difficult, evaluator)
            for evaluator in ("pycocotools", "faster_coco_eval")
        )
        assert faster["values"] == pytest.approx(official["values"], abs=1e-10)  # percent
        assert faster["details"]["coco_evaluator"].startswith("faster_coco_eval ")


def as_instances(size, boxes, scores, classes):
    import torch
    from detectron2.structures import Boxes, Instances

    instances = Instances(size)
    instances.pred_boxes = Boxes(torch.from_numpy(np.asarray(boxes, dtype=np.float32).reshape(-1, 4)))
    instances.scores = torch.from_numpy(np.asarray(scores, dtype=np.float32))
    instances.pred_classes = torch.from_numpy(np.asarray(classes, dtype=np.int64))
    return instances


@needs_detectron2
def test_vocs_equals_detectron2s_on_random_sets(tmp_path, monkeypatch):
    """Mean and each class, 11-point and area, with equal scores, difficult objects, empty images, absent classes."""
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets.pascal_voc import register_pascal_voc
    from detectron2.evaluation import PascalVOCDetectionEvaluator, pascal_voc_evaluation

    theirs_by_class, voc_eval = {}, pascal_voc_evaluation.voc_eval

    def remembering(detections, annotations, images, class_name, ovthresh, use_07_metric):
        with np.errstate(invalid="ignore"):  # the recall of a class without objects is 0 / 0
            found = voc_eval(detections, annotations, images, class_name, ovthresh, use_07_metric)
        theirs_by_class[class_name, round(ovthresh * 100)] = found[2] * 100
        return found

    monkeypatch.setattr(pascal_voc_evaluation, "voc_eval", remembering)
    not_a_number = 0
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        annotations = random_split(rng, images=7)
        predictions = random_predictions(rng, annotations)
        name = f"random_voc_{seed}"
        write_voc(tmp_path / name, annotations)
        register_pascal_voc(name, str(tmp_path / name), "test", 2007, CLASSES)
        evaluator = PascalVOCDetectionEvaluator(name)
        evaluator.reset()
        for found in predictions:
            instances = as_instances((150, 160), found.boxes, found.scores, found.classes)
            evaluator.process([{"image_id": found.image_id}], [{"instances": instances}])
        for is_2007 in (True, False):
            evaluator._is_2007 = is_2007
            means = evaluator.evaluate()["bbox"]
            ours = evaluate_voc(predictions, annotations, CLASSES, use_11_points=is_2007)
            for metric, mean in means.items():
                if np.isnan(mean):
                    not_a_number += 1
                    continue
                assert ours["values"][f"bbox/{metric}"] == pytest.approx(mean, abs=1e-9)
            for class_name in CLASSES:
                for metric, percent in (("AP50", 50), ("AP75", 75)):
                    expected = np.nan_to_num(theirs_by_class[class_name, percent])  # absent: 0 here
                    assert ours["per_class"][f"bbox/{metric}"][class_name] == pytest.approx(expected, abs=1e-9)
                expected = np.mean([np.nan_to_num(theirs_by_class[class_name, t]) for t in range(50, 100, 5)])
                assert ours["per_class"]["bbox/AP"][class_name] == pytest.approx(expected, abs=1e-9)
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert not_a_number > 0  # the absent class was among what was detected


def write_voc(folder, annotations):
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{a.image_id}\n" for a in annotations))
    for annotation in annotations:
        objects = "".join(
            f"<object><name>{o.name}</name><pose>Left</pose><truncated>0</truncated>"
            f"<difficult>{int(o.difficult)}</difficult><bndbox>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), o.box, strict=True))
            + "</bndbox></object>"
            for o in annotation.objects
        )
        (folder / "Annotations" / f"{annotation.image_id}.xml").write_text(f"<annotation>{objects}</annotation>")


@needs_detectron2
def test_vocs_coco_form_equals_detectron2s_evaluator(tmp_path, coco_evaluator, require_equal):
    """The policies whose annotations detectron2 evaluates; "ordinary" is its own conversion of VOC."""
    from detectron2.data import MetadataCatalog

    for seed, difficult in enumerate(("ordinary", "crowd", "ignored") * 4):
        rng = np.random.default_rng(seed)
        annotations = random_split(rng)
        predictions = random_predictions(rng, annotations)
        path, name = tmp_path / f"{seed}.json", f"random_coco_form_{seed}"
        path.write_text(json.dumps(to_coco_form(annotations, CLASSES, difficult)))
        evaluator = coco_evaluator(name, path, CLASSES, 1)
        for image, found in enumerate(predictions, 1):
            instances = as_instances((150, 160), found.boxes, found.scores, found.classes)
            evaluator.process([{"image_id": image}], [{"instances": instances}])
        ours = evaluate_coco_form(predictions, annotations, CLASSES, difficult)
        require_equal(ours, evaluator.evaluate(), prefix="bbox_coco_form")
        MetadataCatalog.remove(name)
