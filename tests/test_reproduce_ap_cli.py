"""clsa-ap as a command: COCO and VOC, boxes and masks, tables, JSON, plot, and files that cannot be meant so."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_coco_form import to_coco_form
from clsa.datasets.voc_folder import read_annotation, read_image_ids
from clsa.detection.predictions import ImagePrediction
from clsa.detection.voc_coco_form import evaluate_coco_form
from clsa.reproduce.ap.cli import distinct_names, main
from clsa.reproduce.ap.voc_form import voc_as_coco


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def noisy(annotations: list[dict[str, Any]], noise: float, seed: int) -> list[dict[str, Any]]:
    """The annotated objects as detections, boxes and scores off."""
    chance = np.random.default_rng(seed)
    return [
        {
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"],
            "bbox": (np.array(annotation["bbox"]) * (1 + noise * chance.uniform(-1, 1, 4))).tolist(),
            "score": float(chance.random()),
        }
        for annotation in annotations
    ]


@pytest.fixture(scope="module")
def coco(mini_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Annotations of the miniature COCO, and results of a good and a bad detector."""
    annotations = mini_root / "coco" / "annotations" / "instances_val2017.json"
    objects = json.loads(annotations.read_text())["annotations"]
    folder = tmp_path_factory.mktemp("results")
    return {
        "annotations": annotations,
        "bad": write(folder / "runs/bad/inference/results.json", noisy(objects, 0.25, 0)),
        "good": write(folder / "runs/good/inference/results.json", noisy(objects, 0.05, 1)),
    }


def test_table_for_people(coco, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--annotations", str(coco["annotations"]), "--bootstrap", "100"]
    assert main([*arguments, "--results", str(coco["bad"]), str(coco["good"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"COCO: average precision of boxes, percent; 16 images, \d+ objects, \d+ of them small: ", lines[0])
    head = r" +AP_S +AP +AP50 +AP75 +AP_M +AP_L  95 % interval of AP_S +bias +of AP +bias  detections$"
    assert re.match(head, lines[2])
    assert [line.split()[0] for line in lines[3:5]] == ["bad", "good"]
    (difference,) = (line for line in lines if line.startswith("good minus bad  AP_S"))
    number = r"[+-]\d+\.\d\d"
    assert re.search(rf"{number} +{number} to {number} +{number} +in 100.0 %$", difference)
    assert "intervals are for the mean over test sets of as many images as this one" in lines[5]
    assert any(line.startswith("22.6 to 32") for line in lines)
    assert any(line.startswith("person") for line in lines)


def test_json_has_full_precision_and_repeats(coco, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot = tmp_path / "new" / "sizes.png"
    arguments = ["--annotations", str(coco["annotations"]), "--results", str(coco["bad"]), str(coco["good"]), "--json"]
    arguments += ["--names", "A", "B", "--bootstrap", "50", "--seed", "3", "--size-edges", "16", "32"]
    assert main([*arguments, "--plot", str(plot)]) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    found = json.loads(first)
    assert [file["name"] for file in found["files"]] == ["A", "B"]
    assert [size["name"] for size in found["sizes"]] == ["0 to 16", "16 to 32", "32 up"]
    assert sum(size["objects"] for size in found["sizes"]) == found["objects"]["AP"]
    assert found["bootstrap"] == {"resamples": 50, "seed": 3, "over": "images", "interval": 95}
    difference = found["differences"][1]
    a, b = (file["values"]["AP"] for file in found["files"])
    assert (difference["metric"], difference["first"], difference["second"]) == ("AP", "A", "B")
    assert difference["observed"] == b - a
    with Image.open(plot) as image:
        assert min(image.size) >= 900
        assert len(image.convert("L").getcolors()) > 20


def test_a_file_beats_itself_half_of_the_time(coco, capsys: pytest.CaptureFixture[str]) -> None:
    same = str(coco["good"])
    arguments = ["--annotations", str(coco["annotations"]), "--bootstrap", "20", "--json"]
    assert main([*arguments, "--results", same, same, "--names", "A", "B"]) == 0
    for difference in json.loads(capsys.readouterr().out)["differences"]:
        assert difference["second_beats_first"] == 0.5
        assert difference["resampled"] == {"mean": 0, "low": 0, "high": 0}


def test_masks(coco, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The annotations' own polygons, found all: AP is 100 wherever there is anything to find."""
    objects = json.loads(coco["annotations"].read_text())["annotations"]
    results = [
        {**{key: o[key] for key in ("image_id", "category_id", "segmentation")}, "score": 0.5}
        for o in objects
        if not o["iscrowd"]
    ]
    path = write(tmp_path / "masks.json", results)
    arguments = ["--annotations", str(coco["annotations"]), "--iou-type", "segm", "--bootstrap", "0", "--json"]
    assert main([*arguments, "--results", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"][0]["values"]["AP"] == pytest.approx(100)
    assert found["files"][0]["values"]["AP_S"] == pytest.approx(100)
    assert main([*arguments, "--results", str(coco["good"])]) == 1
    assert "result 1: segmentation is 'None' (TypeError). Masks need polygons or run" in capsys.readouterr().err


@pytest.mark.parametrize("difficult", ["ignored", "ordinary", "crowd"])
def test_voc_in_all_its_forms_equals_the_evaluation_of_clsa_detect(
    mini_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], difficult: str
) -> None:
    folder = mini_root / "VOC2007"
    ids = read_image_ids(folder, "test")
    annotations = [read_annotation(folder, image_id) for image_id in ids]
    form = voc_as_coco(folder, "test", difficult)
    of_detection = to_coco_form(annotations, VOC_CLASSES, difficult)
    assert form == of_detection

    results = noisy(form["annotations"], 0.1, 0)
    by_image = {k: [r for r in results if r["image_id"] == k] for k in range(1, len(ids) + 1)}
    predictions = [
        ImagePrediction(
            image_id=ids[k - 1],
            boxes=np.array([[*r["bbox"][:2], r["bbox"][0] + r["bbox"][2], r["bbox"][1] + r["bbox"][3]] for r in found]),
            scores=np.array([r["score"] for r in found]),
            classes=np.array([r["category_id"] - 1 for r in found]),
        )
        for k, found in by_image.items()
        if found
    ]
    expected = evaluate_coco_form(predictions, annotations, VOC_CLASSES, difficult)["values"]
    written = {
        "numbered": write(tmp_path / "numbered.json", results),
        # As clsa-detect leaves them: VOC's image ids, classes from 0 and by name.
        "named": write(
            tmp_path / "named.json",
            [
                {
                    **r,
                    "image_id": ids[r["image_id"] - 1],
                    "category": VOC_CLASSES[r["category_id"] - 1],
                    "category_id": r["category_id"] - 1,
                }
                for r in results
            ],
        ),
        "devkit": tmp_path / "devkit",
    }
    written["devkit"].mkdir()
    for number, name in enumerate(VOC_CLASSES, 1):
        lines = []
        for r in results:
            x, y, width, height = r["bbox"]
            if r["category_id"] == number:
                lines.append(
                    f"{ids[r['image_id'] - 1]} {r['score']!r} {x + 1!r} {y + 1!r} {x + width!r} {y + height!r}"
                )
        (written["devkit"] / f"comp4_det_test_{name}.txt").write_text("\n".join(lines))
    arguments = ["--difficult", difficult, "--bootstrap", "0", "--json", "--results", *map(str, written.values())]
    assert main(["--annotations", str(folder), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flavour"] == f"COCO form of VOC, difficult {difficult}"
    for file in found["files"]:
        for metric, key in (("AP", "AP"), ("AP_S", "APs"), ("AP75", "AP75")):
            assert file["values"][metric] == pytest.approx(expected[f"bbox_coco_form/{key}"], abs=1e-6)
    # The same annotations as a file: which form of VOC it is stands in the file.
    content = write(tmp_path / "form.json", of_detection)
    assert main(["--annotations", str(content), *arguments]) == 0
    as_file = json.loads(capsys.readouterr().out)
    assert as_file["flavour"] == found["flavour"]
    assert [f["values"] for f in as_file["files"]] == [f["values"] for f in found["files"]]


BOX = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.5}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("[{", "is not a readable JSON file"),
        ({"images": [], "annotations": []}, "holds a dict. It is an annotation file. COCO results are a list"),
        ([], "holds no detection, so there is nothing to measure"),
        ([BOX, 3], "result 2 is 3. A dictionary is needed"),
        ([{**BOX, "image_id": 8}, BOX], "1 results name an unknown image: 1 of its 2 image ids are not in"),
        ([{**BOX, "image_id": True}], "1 of its 1 image ids are not in"),
        ([{**BOX, "category_id": 4}], "name an unknown category: 1 of its 1 category ids are not in .*: 4"),
        ([{**BOX, "category": "cat"}], "unknown category: .*: 'cat'"),
        ([{**BOX, "score": float("nan")}], "result 1: score is nan. A finite number is needed"),
        ([{**BOX, "score": None}], "result 1: score is None"),
        ([{**BOX, "bbox": [0, 0, 5]}], r"result 1: bbox is \[0, 0, 5\]"),
        ([{**BOX, "bbox": [0, 0, -5, 5]}], "no side below 0"),
        ([{**BOX, "bbox": [0, float("inf"), 5, 5]}], "finite"),
    ],
)
def test_results_that_cannot_be_meant_so(tmp_path: Path, capsys, results: Any, message: str) -> None:
    truth = {
        "images": [{"id": 7, "width": 9, "height": 9, "file_name": "7.jpg"}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{**BOX, "id": 1, "area": 25, "iscrowd": 0}],
    }
    annotations, path = write(tmp_path / "truth.json", truth), tmp_path / "results.json"
    path.write_text(results if isinstance(results, str) else json.dumps(results))
    assert main(["--annotations", str(annotations), "--results", str(path)]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert str(path) in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "is no COCO annotation file: it needs lists"),
        ({"images": []}, "images: the list is empty"),
        ({"images": [{"id": 7}, {"id": 7}]}, "images: each needs an integer id of its own"),
        ({"annotations": [{**BOX, "image_id": 8, "area": 1}]}, r"annotation 1 needs an image_id .*KeyError\(8\)"),
        ({"annotations": [BOX]}, r"annotation 1 needs .* and a finite area: KeyError\('area'\)"),
    ],
)
def test_annotations_that_cannot_be_meant_so(tmp_path: Path, capsys, changes: dict, message: str) -> None:
    truth = {"images": [{"id": 7}], "categories": [{"id": 3, "name": "dog"}], "annotations": [], **changes}
    annotations, results = write(tmp_path / "truth.json", truth), write(tmp_path / "results.json", [BOX])
    assert main(["--annotations", str(annotations), "--results", str(results)]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_arguments_that_cannot_be_meant_so(coco, tmp_path: Path, mini_root: Path, capsys) -> None:
    one = ["--annotations", str(coco["annotations"]), "--bootstrap", "0", "--results", str(coco["good"])]
    for arguments, message in (
        ([*one, "--names", "A", "B"], "1 result files need as many names"),
        ([*one, str(coco["good"])], "names a file twice"),
        ([*one, "--size-edges", "32", "16"], "give rising numbers of pixels above 0"),
        ([*one, "--seed", "-1"], "must not be below 0"),
        ([*one, "--plot", "sizes.bmp2"], "name a file that ends in one of .*png"),
        (["--annotations", str(mini_root / "VOC2007"), *one[2:], "--iou-type", "segm"], "objects have boxes alone"),
        (["--annotations", str(mini_root / "VOC2007"), "--results", str(tmp_path)], r"must hold one file \*_aeroplane"),
    ):
        assert main(arguments) == 1
        assert re.search(message, capsys.readouterr().err), message


def test_names_are_what_tells_paths_apart() -> None:
    assert distinct_names([Path("runs/moco.json")]) == ["moco"]
    assert distinct_names([Path("runs/moco/inference/x.json"), Path("runs/clsa/inference/x.json")]) == ["moco", "clsa"]
    assert distinct_names([Path("a/x/1.json"), Path("b/x/2.json")]) == ["a/x/1", "b/x/2"]
    assert distinct_names([Path("a.json"), Path("b.json")]) == ["a", "b"]
    assert distinct_names([Path("run/x.json"), Path("run/more/x.json")]) == ["x", "more/x"]
