"""The sheet of small objects: which objects it shows, which of a detector's boxes, and that its caption says so."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fvcore.common.config import CfgNode
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from clsa.configs.run_files import write_result
from clsa.reproduce.ap.annotations import GroundTruth, ground_truth
from clsa.reproduce.ap.results import Detections, detections
from clsa.reproduce.gather import Gathered, RunFolder, gather_folders
from clsa.reproduce.plots.detection_sheet import FOUND, OBJECT, WRONG, detection_plot
from clsa.reproduce.plots.small_objects import (
    choose,
    finders,
    nearest_small,
    small_objects,
    window_around,
)
from clsa.reproduce.plots.style import LIGHT, Plot
from clsa.reproduce.saved_detections import SavedDetections

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 2, "name": "kite"}]


def annotation(image: int, category: int, box: list[float], area: float | None = None, crowd: int = 0) -> dict:
    area = box[2] * box[3] if area is None else area
    return {"image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}


def result(image: int, category: int, box: list[float], score: float = 0.5) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def read(annotations: list[dict], results: list[dict], images: int = 1) -> tuple[GroundTruth, Detections]:
    named = [{"id": k, "file_name": f"{k}.jpg"} for k in range(images)]
    truth = ground_truth({"images": named, "categories": CATEGORIES, "annotations": annotations}, Path("x"), "bbox")
    return truth, detections(results, Path("y"), truth, may_be_empty=True)


def test_objects_are_found_greedily_by_class_and_overlap() -> None:
    objects = [annotation(0, 1, [0, 0, 10, 10]), annotation(0, 2, [100, 0, 10, 10]), annotation(0, 2, [0, 0, 10, 10])]
    truth, found = read(
        objects,
        [
            result(0, 2, [103, 0, 10, 10], 0.1),  # IoU 0.54
            result(0, 1, [0, 0, 10, 9], 0.9),
            result(0, 1, [0, 0, 10, 10], 0.8),  # its object is taken
            result(0, 1, [100, 0, 10, 10], 0.7),  # another class
            result(0, 2, [106, 0, 10, 10], 0.6),  # IoU 0.25
        ],
    )
    assert finders(truth, found).tolist() == [1, 0, -1]
    assert finders(*read(objects, [])).tolist() == [-1, -1, -1]


def test_the_hundred_most_confident_boxes_of_an_image_count() -> None:
    objects = [annotation(0, 1, [0, 0, 10, 10])]
    better = [result(0, 1, [50, 50, 10, 10], 0.9)] * 100
    assert finders(*read(objects, [*better, result(0, 1, [0, 0, 10, 10], 0.1)])).tolist() == [-1]
    assert finders(*read(objects, [*better[1:], result(0, 1, [0, 0, 10, 10], 0.1)])).tolist() == [99]


def test_small_is_the_annotated_area_and_no_crowd() -> None:
    box = [0, 0, 40, 40]
    areas = [annotation(0, 1, box, 1023), annotation(0, 1, box, 1024), annotation(0, 1, box, 9, crowd=1)]
    assert small_objects(read([*areas, annotation(0, 1, box, -1)], [])[0]).tolist() == [True, False, False, False]


def test_one_object_an_image_and_those_that_are_found_first() -> None:
    objects = [annotation(k // 2, 1, [0, 0, 10, 10]) for k in range(12)] + [annotation(6, 1, [0, 0, 99, 99])]
    truth, _ = read(objects, [], images=7)
    found = np.isin(np.arange(13), [2, 3, 7, 12])  # of images 1, 3 and 6, the last one large
    chosen = choose(truth, found, 4)
    assert chosen == choose(truth, found, 4)
    assert set(chosen[:2]) in ({2, 7}, {3, 7})
    assert len(set(truth.image[chosen])) == 4
    assert 12 not in choose(truth, found, 99)
    assert len(choose(truth, found, 99)) == 6


def test_the_nearest_small_box_overlaps_most_or_is_next() -> None:
    objects = [annotation(0, 1, [100, 100, 10, 10])]
    window = window_around(np.array([100, 100, 10, 10.0]), 640, 480)
    assert (window.left, window.top, window.right, window.bottom) == (57, 57, 153, 153)
    far, next_to, other, large = [10, 10, 9, 9], [120, 100, 9, 9], [104, 100, 10, 10], [90, 90, 40, 40]
    for boxes, expected in (([far, large], None), ([far, next_to], 1), ([next_to, [140, 100, 9, 9], other], 2)):
        truth, found = read(objects, [result(0, 2, box) for box in boxes])
        assert nearest_small(truth, found, 0, window) == expected


@pytest.mark.parametrize(
    ("box", "size", "window"),
    [
        ([0, 0, 10, 10], (640, 480), (0, 0, 96, 96)),
        ([630, 470, 10, 10], (640, 480), (544, 384, 640, 480)),
        ([300, 200, 40, 20], (640, 480), (240, 130, 400, 290)),
        ([20, 20, 10, 10], (60, 200), (0, 0, 60, 96)),
    ],
)
def test_a_window_lies_within_the_image(box, size, window) -> None:
    found = window_around(np.array(box, dtype=float), *size)
    assert (found.left, found.top, found.right, found.bottom) == window


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two detectors on two images: MoCo v2 finds one of two small objects, random init none."""
    coco = tmp_path / "world" / "coco"
    for folder in (coco / "val2017", coco / "annotations"):
        folder.mkdir(parents=True)
    for k in (0, 1):
        Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(coco / "val2017" / f"{k}.jpg")
    annotations = [
        annotation(0, 2, [20, 20, 20, 20]),
        annotation(0, 1, [50, 10, 90, 90]),
        annotation(1, 1, [70, 60, 12, 24]),
    ]
    images = [{"id": k, "file_name": f"{k}.jpg"} for k in (0, 1)]
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    results = {
        "random_init": [result(0, 1, [24, 20, 20, 20], 0.3), result(0, 1, [50, 10, 90, 90], 0.9)],
        "moco_v2": [result(0, 2, [22, 20, 20, 20], 0.4)],
    }
    for method, of_method in results.items():
        write_result(
            tmp_path / method,
            stage="detection",
            protocol="mini-coco",
            metric_flavour="COCO",
            engine="torchvision",
            values={"bbox/AP": 1.0, "bbox/APs": 1.0},
            per_class={},
            weights={"file": None, "sha256": method, "source": {"method": method}},
            dataset={"name": "coco_2017_val", "root": str(tmp_path / "world"), "fingerprint": {"images": 2}},
            seed=0,
            trial=0,
            wall_seconds=1.0,
            config=CfgNode(),
        )
        (tmp_path / method / "inference").mkdir()
        (tmp_path / method / "inference" / "coco_instances_results.json").write_text(json.dumps(of_method))
    return tmp_path


def sheet(run: Path) -> tuple[Plot | None, Gathered]:
    gathered = gather_folders([RunFolder(run)], run / "report")
    return detection_plot(gathered, SavedDetections(gathered)), gathered


def drawn(figure: Figure) -> list[list[tuple[str, list[str]]]]:
    """Of each panel what is written below it, and the colours of its frames."""
    panels = [
        (ax.get_xlabel(), [to_hex(patch.get_edgecolor()) for patch in ax.patches if patch.get_alpha() is None])
        for ax in figure.axes
    ]
    plt.close(figure)
    return [panels[k : k + 3] for k in range(0, len(panels), 3)]


def test_the_found_object_comes_first_and_each_detector_has_its_box(run) -> None:
    plot, gathered = sheet(run)
    figure = plot.draw(LIGHT)
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == ["Ground truth", "Random init", "MoCo v2"]
    white, green, orange = OBJECT, FOUND.lower(), WRONG.lower()
    assert drawn(figure) == [
        [
            ("kite, area 20² px", [white]),
            ("person 0.30, IoU 0.67", [white, orange]),  # the class is wrong
            ("kite 0.40, IoU 0.82", [white, green]),
        ],
        [("person, area 17² px", [white]), ("no small box near", [white]), ("no small box near", [white])],
    ]
    assert gathered.left_out == []


def test_the_caption_says_what_was_chosen_and_how(run) -> None:
    said = sheet(run)[0].caption
    assert "2 of the 2 objects of an annotated area under 32² square pixels, each of another image, drawn" in said
    assert "from the 1 that at least one detector finds (IoU of at least 0.5 and the class right, among an" in said
    assert "100 most confident boxes), but 1 from those that none finds. So many does each find: Rand" in said
    assert "Random init 0, MoCo v2 1." in said


def test_where_nobody_finds_a_small_object_the_caption_says_so(run) -> None:
    for method in ("moco_v2", "random_init"):
        (run / method / "inference" / "coco_instances_results.json").write_text("[]")
    plot, gathered = sheet(run)
    assert "No detector finds any of the 2 (IoU of at least 0.5" in plot.caption
    assert drawn(plot.draw(LIGHT))[0][1][0] == "no small box near"
    assert gathered.left_out == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["images"][0].pop("file_name"), "image 0 of .* has the file_name None, it must be the name"),
        (lambda c: c["images"][1].update(file_name="gone.jpg"), "there is no image .*gone.jpg"),
        (lambda c: [a.update(area=5000) for a in c["annotations"]], "has no object under 32² square pixels"),
    ],
)
def test_without_images_or_small_objects_there_is_no_sheet_and_a_reason(run, change, reason) -> None:
    file = run / "world" / "coco" / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    plot, gathered = sheet(run)
    assert plot is None
    (said,) = gathered.left_out
    assert re.search(f"The sheet of detections: .*{reason}", said)
