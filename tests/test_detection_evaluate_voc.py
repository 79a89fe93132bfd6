"""VOC's average precision: against a slow loop, written-out cases, and detectron2's own evaluator where installed."""

import importlib.util

import numpy as np
import pytest

from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import VOCAnnotation, VOCObject
from clsa.detection.evaluate_voc import (
    ClassObjects,
    area_ap,
    class_average_precisions,
    eleven_point_ap,
    evaluate_voc,
)
from clsa.detection.predictions import ImagePrediction


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


def slow_ap(predictions, annotations, number, name, threshold):
    """One class at one IoU, detection by detection, from the text that detectron2's evaluator writes."""
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


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
@pytest.mark.parametrize("year", [2007, 2012])
def test_equals_detectron2(tmp_path, year):
    import torch
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets.pascal_voc import register_pascal_voc
    from detectron2.evaluation import PascalVOCDetectionEvaluator
    from detectron2.structures import Boxes, Instances

    for seed in range(12):
        rng = np.random.default_rng(1000 + seed)
        annotations = random_split(rng, images=15)
        # detectron2's area AP is not a number for a class that is detected and absent: give it none of those.
        classes = VOC_CLASSES[:6] if year == 2007 else VOC_CLASSES[:5]
        predictions = random_predictions(rng, annotations, classes)
        folder, name = tmp_path / f"{seed}", f"random_voc_{year}_{seed}"
        write_voc(folder, annotations)
        register_pascal_voc(name, str(folder), "test", year)
        try:
            evaluator = PascalVOCDetectionEvaluator(name)
            evaluator.reset()
            for prediction in predictions:
                instances = Instances((150, 160))
                instances.pred_boxes = Boxes(torch.from_numpy(prediction.boxes))
                instances.scores = torch.from_numpy(prediction.scores)
                instances.pred_classes = torch.from_numpy(prediction.classes)
                evaluator.process([{"image_id": prediction.image_id}], [{"instances": instances}])
            with np.errstate(invalid="ignore"):  # its recall of a class without objects is 0 / 0
                theirs = evaluator.evaluate()["bbox"]
        finally:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        ours = evaluate_voc(predictions, annotations, VOC_CLASSES, use_11_points=year == 2007)["values"]
        assert ours == pytest.approx({f"bbox/{metric}": value for metric, value in theirs.items()}, abs=1e-9)


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


def objects_of(*boxes, difficult=None):
    return ClassObjects(
        image=np.zeros(len(boxes), dtype=np.int64),
        boxes=np.array(boxes, dtype=float),
        difficult=np.array(difficult or [False] * len(boxes)),
    )


def test_second_detection_of_an_object_is_a_false_alarm():
    boxes = np.array([[1, 1, 10, 10], [1, 1, 10, 10], [21, 21, 30, 30]], dtype=float)
    objects = objects_of([1, 1, 10, 10], [21, 21, 30, 30])
    ap = class_average_precisions(np.zeros(3, dtype=int), np.array([0.9, 0.8, 0.7]), boxes, objects, True)
    # Precision 1 up to recall 0.5 (6 levels), then 2/3 (5 levels).
    assert ap == pytest.approx(np.full(10, (6 * 1 + 5 * 2 / 3) / 11))


def test_difficult_objects_count_neither_way():
    boxes = np.array([[1, 1, 10, 10], [21, 21, 30, 30]], dtype=float)
    objects = objects_of([1, 1, 10, 10], [21, 21, 30, 30], difficult=[True, False])
    ap = class_average_precisions(np.zeros(2, dtype=int), np.array([0.9, 0.8]), boxes, objects, True)
    assert ap == pytest.approx(np.ones(10))


def test_boxes_span_their_end_pixels():
    # 10 x 10 against 10 x 5 pixels: IoU 0.5 exactly, which is not above the threshold.
    objects = objects_of([1, 1, 10, 10])
    half = class_average_precisions(np.array([0]), np.array([0.9]), np.array([[1, 1, 10, 5.0]]), objects, True)
    more = class_average_precisions(np.array([0]), np.array([0.9]), np.array([[1, 1, 10, 6.0]]), objects, True)
    assert half[0] == 0
    assert more[:3] == pytest.approx([1, 1, 0])


def test_the_two_average_precisions():
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert eleven_point_ap(recall, precision) == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert area_ap(recall, precision) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_no_detection_at_all_is_zero():
    annotations = random_split(np.random.default_rng(0))
    nothing = [
        ImagePrediction(a.image_id, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        for a in annotations
    ]
    assert set(evaluate_voc(nothing, annotations, VOC_CLASSES)["values"].values()) == {0.0}


def test_a_prediction_for_a_foreign_image_is_refused():
    annotations = random_split(np.random.default_rng(0))
    predictions = random_predictions(np.random.default_rng(0), annotations)
    with pytest.raises(InputError, match="image 000000, which is not in the evaluated split"):
        evaluate_voc(predictions, annotations[1:], VOC_CLASSES)
