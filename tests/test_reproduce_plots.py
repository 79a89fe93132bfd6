"""The report's pictures: the data they receive, what is said where one is left out, and text that does not overlap."""

import json
import math
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fvcore.common.config import CfgNode
from matplotlib.figure import Figure
from matplotlib.text import Text

from clsa.configs.run_files import write_result
from clsa.detection.evaluate_coco import evaluate_coco, read_ground_truth
from clsa.reproduce.ap.annotations import read_annotations
from clsa.reproduce.ap.measure import measure
from clsa.reproduce.ap.results import read_results
from clsa.reproduce.ap.sizes import size_bins
from clsa.reproduce.findings import findings
from clsa.reproduce.gather import Gathered, RunFolder, gather_folders
from clsa.reproduce.plots.categories import category_plots, sorted_categories
from clsa.reproduce.plots.fine_sizes import _curves, fine_size_plots
from clsa.reproduce.plots.four_precisions import four_precision_plots
from clsa.reproduce.plots.gallery import all_plots
from clsa.reproduce.plots.layers import by_layer, layer_plots
from clsa.reproduce.plots.low_shot import low_shot_plots, samples_by_k
from clsa.reproduce.plots.style import DARK, LIGHT
from clsa.reproduce.plots.three_sizes import three_size_plots
from clsa.reproduce.saved_detections import SavedDetections
from clsa.reproduce.table import Table
from clsa.reproduce.tables import build_tables

METHODS = ("chance", "colour_histogram", "hog", "random_init", "moco_v2", "clsa_single", "clsa_multi")
FOUR = {"mAP envelope": 84.3, "mAP step": 84.0, "mAP 11-point": 82.1, "per-image AP": 91.0}


def put(folder: Path, method: str, values: dict, **changes) -> None:
    """A result.json; by default of a VOC07 SVM."""
    result = {"stage": "classification", "protocol": "voc07-svm-fair26", "metric_flavour": "class mAP, envelope"}
    result |= {"engine": "torch", "per_class": {}, "details": {}, "seed": 0, "name": "VOC2007", "root": None, **changes}
    data = {"name": result.pop("name"), "root": result.pop("root"), "fingerprint": {"images": 9}, "miniature": None}
    write_result(
        folder,
        values=values,
        weights={"file": None, "sha256": method, "source": {"method": method}},
        dataset=data,
        trial=result["seed"],
        wall_seconds=1.0,
        config=CfgNode(),
        **result,
    )


def put_coco(folder: Path, method: str, values: dict, **changes) -> None:
    coco = {"stage": "detection", "protocol": "mini-coco", "metric_flavour": "COCO", "engine": "torchvision"}
    put(folder, method, values, **{**coco, "name": "coco_2017_val", **changes})


def put_detector(root: Path, folder: Path, method: str, noise: float, seed: int = 0) -> None:
    """A detector on the miniature COCO that finds every object, with boxes off by ``noise``, evaluated for good."""
    ground = read_ground_truth(root / "coco" / "annotations" / "instances_val2017.json")
    chance = np.random.default_rng(seed)
    found = [
        {
            "image_id": o["image_id"],
            "category_id": o["category_id"],
            "bbox": (np.array(o["bbox"]) * (1 + noise * chance.uniform(-1, 1, 4))).tolist(),
            "score": float(chance.random()),
        }
        for o in ground.dataset["annotations"]
    ]
    (folder / "inference").mkdir(parents=True)
    (folder / "inference" / "coco_instances_results.json").write_text(json.dumps(found))
    evaluation = evaluate_coco(ground, found, ("bbox",))
    put_coco(folder, method, evaluation["values"], per_class=evaluation["per_class"], root=str(root), seed=seed)


def low_shot(*samples: float) -> dict:
    """One k of a low-shot result, each choice of the cost with the same samples."""
    figures = {"mean": float(np.mean(samples)), "std": float(np.std(samples)), "samples": list(samples)}
    return {choice: {"mAP envelope": figures} for choice in ("cross_validated", "oracle_c")}


def read(*folders: Path) -> tuple[Gathered, list[Table]]:
    gathered = gather_folders([RunFolder(folder) for folder in folders], folders[0])
    return gathered, build_tables(gathered)


@dataclass
class Found:
    """What overlaps or leaves the figure, as pairs of texts."""

    overlapping: list[tuple[str, str]]
    cut_off: list[str]


def text_of(figure: Figure) -> Found:
    """By the figure's own renderer, half a pixel of tolerance."""
    figure.canvas.draw()
    renderer, whole = figure.canvas.get_renderer(), figure.bbox.padded(0.5)
    boxes = [(t.get_text(), t.get_window_extent(renderer).padded(-0.5)) for t in _drawn_texts(figure)]
    return Found(
        [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if box.overlaps(other)],
        [a for a, box in boxes if not (whole.x0 <= box.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0)],
    )


def _drawn_texts(figure: Figure) -> list[Text]:
    """Axes keep tick labels beyond their limits, and do not draw them."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for ax in figure.axes:
        texts += [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        for k, axis in enumerate((ax.xaxis, ax.yaxis)):
            low, high = sorted(axis.get_view_interval())
            texts += [t for t in axis.get_ticklabels() if low <= t.get_position()[k] <= high]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


@pytest.fixture(scope="module")
def everything(mini_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven methods with everything that is drawn; COCO's 80 categories."""
    run = tmp_path_factory.mktemp("everything")
    names = [
        c["name"]
        for c in read_ground_truth(mini_root / "coco/annotations/instances_val2017.json").dataset["categories"]
    ]
    for i, method in enumerate(METHODS):
        layers = {layer: {**FOUR, "mAP envelope": 50.0 + i + k} for k, layer in enumerate(("conv1", "res2", "avgpool"))}
        details = {"figures_by_layer": layers, "best_layer": "res2"}
        near = {key: value - 0.3 * i for key, value in FOUR.items()}
        put(
            run / method / "svm",
            method,
            near,
            protocol="voc07-svm-fair26-res2-best-of-conv1+res2+avgpool",
            details=details,
        )
        shots = {str(k): low_shot(10.0 + i + k / 9, 11.0 + i + k / 9) for k in (1, 2, 4, 8, 16, 32, 64, 96)}
        values = {"cross_validated, k=1": 10.0 + i}
        put(run / method / "low", method, values, protocol="voc07-lowshot-fair26", details={"low_shot": shots})
        if method != "chance":
            put_detector(mini_root, run / method / "coco", method, 0.02 + 0.02 * i)
            per_class = {"bbox/APs": {name: (7.0 * k + 3 * i) % 60 for k, name in enumerate(names)}}
            values = {f"bbox/{key}": 20.0 + i for key in ("AP", "APs", "APm", "APl")}
            put_coco(run / method / "coco80", method, values, protocol="coco-80", per_class=per_class)
    return run


def test_no_text_overlaps_or_is_cut_off(everything) -> None:
    gathered, tables = read(everything)
    plots = {plot.name: plot for plot in all_plots(tables, gathered)}
    assert set(plots) == {
        *("low_shot_cross_validated_voc07_lowshot", "low_shot_oracle_c_voc07_lowshot"),
        *("methods_ap_small", "methods_ap_small_2", "methods_coco_boxes", "methods_coco_boxes_2", "methods_voc07_svm"),
        *("fine_sizes_ap_small", "categories_ap_small", "categories_ap_small_2"),
        *("sizes_coco_boxes", "sizes_coco_boxes_2", "layers_voc07_svm", "four_precisions_voc07_svm", "detections"),
    }
    assert plots["categories_ap_small_2"].is_wide
    for plot in plots.values():
        if plot.name.endswith("_2") and plot.name != "categories_ap_small_2":
            continue  # as without
        figure = plot.draw(DARK if plot.name < "l" else LIGHT)
        found = text_of(figure)
        plt.close(figure)
        assert (found.overlapping, found.cut_off) == ([], []), plot.name


def test_overlaps_can_be_found() -> None:
    figure = plt.figure(figsize=(2, 1))
    figure.text(0.1, 0.5, "one"), figure.text(0.15, 0.5, "two"), figure.text(0.9, 0.1, "outside")
    assert text_of(figure) == Found([("one", "two")], ["outside"])
    plt.close(figure)


def test_the_size_curve_is_that_of_clsa_ap(mini_root, tmp_path) -> None:
    for method, noise in (("moco_v2", 0.2), ("clsa_single", 0.05)):
        put_detector(mini_root, tmp_path / method, method, noise)
    gathered, tables = read(tmp_path)
    table = next(table for table in tables if table.key == "ap_small")
    sizes, curves = _curves(table, table.columns[0], gathered, SavedDetections(gathered), resamples=20)
    truth = read_annotations(mini_root / "coco" / "annotations" / "instances_val2017.json")
    files = {c.row.method: tmp_path / c.row.method / "inference" / "coco_instances_results.json" for c in curves}
    expected = measure(truth, {name: read_results(path, truth) for name, path in files.items()}, size_bins(), 20, 0)
    assert sizes == expected["sizes"]
    assert [file["name"] for file in expected["files"]] == ["moco_v2", "clsa_single"]
    for curve, file in zip(curves, expected["files"], strict=True):
        bars = [size["interval"] and (size["interval"]["low"], size["interval"]["high"]) for size in file["by_size"]]
        for found, wanted in ((curve.values, [size["AP"] for size in file["by_size"]]), (curve.bars, bars)):
            assert [x if x is None else pytest.approx(x) for x in wanted] == found
    assert gathered.left_out == []


def test_of_several_trials_the_size_curve_is_the_mean(mini_root, tmp_path) -> None:
    for seed in (0, 1):
        put_detector(mini_root, tmp_path / f"trial_{seed}", "moco_v2", 0.2, seed)
    alone = []
    for folder in (tmp_path / "trial_0", tmp_path / "trial_1", tmp_path):
        gathered, tables = read(folder)
        (curve,) = _curves(tables[0], tables[0].columns[0], gathered, SavedDetections(gathered), resamples=2)[1]
        alone.append(np.array(curve.values, dtype=float))
    np.testing.assert_allclose(alone[2], (alone[0] + alone[1]) / 2, rtol=1e-12, equal_nan=True)


def test_a_line_that_cannot_be_drawn_is_left_out_with_its_reason(mini_root, tmp_path) -> None:
    for method in ("random_init", "moco_v2", "clsa_single"):
        put_detector(mini_root, tmp_path / method, method, 0.1)
    (tmp_path / "moco_v2" / "inference" / "coco_instances_results.json").unlink()
    result = json.loads((tmp_path / "clsa_single" / "result.json").read_text())
    result["values"]["bbox/AP"] = 1.5
    (tmp_path / "clsa_single" / "result.json").write_text(json.dumps(result))
    gathered, tables = read(tmp_path)
    (plot,) = fine_size_plots(tables, gathered, SavedDetections(gathered), resamples=2)
    figure = plot.draw(LIGHT)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Random init"]
    plt.close(figure)
    mismatch, missing = gathered.left_out
    assert "clsa_single/inference/coco_instances_results.json: left out of AP by object size" in mismatch
    assert "the result beside them says 1.5: one of the three is of another run" in mismatch
    assert missing == (
        "AP by object size, mini-coco: nothing of MoCo v2, since no inference/coco_instances_results.json lies beside "
        "the result."
    )


def test_a_detector_that_found_nothing_is_drawn_and_not_left_out(mini_root, tmp_path) -> None:
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "coco_instances_results.json").write_text("[]")
    zero = {f"bbox/{key}": 0.0 for key in ("AP", "APs", "APm", "APl")}
    put_coco(tmp_path, "moco_v2", zero, per_class={"bbox/APs": {"person": 0.0}}, root=str(mini_root))
    gathered, tables = read(tmp_path)
    names = [plot.name for plot in all_plots(tables, gathered)]
    assert "detections" in names
    assert any(name.startswith("fine_sizes") for name in names)
    assert gathered.left_out == []


def test_without_annotations_there_is_no_size_curve_and_another_folder_of_data_is_tried(mini_root, tmp_path) -> None:
    put_detector(mini_root, tmp_path / "moco_v2", "moco_v2", 0.1)
    result = json.loads((tmp_path / "moco_v2" / "result.json").read_text())
    result["dataset"]["root"] = "gone"
    (tmp_path / "moco_v2" / "result.json").write_text(json.dumps(result))
    gathered, tables = read(tmp_path)
    assert fine_size_plots(tables, gathered, SavedDetections(gathered), resamples=2) == []
    assert gathered.left_out == [
        "AP by object size, mini-coco: nothing of MoCo v2, since there are no annotations of coco_2017_val."
    ]
    assert len(fine_size_plots(tables, gathered, SavedDetections(gathered, mini_root), resamples=2)) == 1


def test_a_second_protocol_has_its_plot_of_sizes(tmp_path) -> None:
    sizes = {"bbox/AP": 30.0, "bbox/APs": 10.0, "bbox/APm": 30.0, "bbox/APl": 50.0}
    for protocol in ("coco-r50-fpn-1x", "coco-r50-c4-1x"):
        put_coco(tmp_path / protocol, "moco_v2", sizes, protocol=protocol)
    _, tables = read(tmp_path)
    plots = three_size_plots(tables)
    assert [plot.section for plot in plots] == ["coco_boxes", "coco_boxes_2"]
    assert plots[0].caption.endswith("small below 32² square pixels, medium from 32² to 96², large above.")
    assert [plot.caption.split(",")[0] for plot in plots] == ["coco-r50-c4-1x", "coco-r50-fpn-1x"]
    figure = plots[1].draw(LIGHT)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [10.0, 30.0, 50.0]
    plt.close(figure)


def test_categories_are_sorted_by_the_mean_of_the_methods_and_undefined_ones_are_absent(tmp_path) -> None:
    for method, cat, dog in (("moco_v2", 10.0, 30.0), ("clsa_single", 60.0, 20.0)):
        per_class = {"bbox/APs": {"dog": dog, "cat": cat, "toaster": None, "tie": cat}}
        put_coco(tmp_path / method, method, {"bbox/AP": 30.0, "bbox/APs": 20.0}, per_class=per_class)
    gathered, tables = read(tmp_path)
    (plot,) = category_plots(tables, gathered)
    figure = plot.draw(LIGHT)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "tie", "dog"]  # 35, 35, 25
    assert [line.get_xdata().tolist() for line in ax.lines] == [[10, 10, 30], [60, 60, 20]]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    assert gathered.left_out == []
    plt.close(figure)
    assert sorted_categories([]) == []


def test_low_shot_curves_pool_the_draws_of_all_trials(tmp_path) -> None:
    for seed, samples in ((0, (10.0, 12.0)), (1, (14.0, 16.0))):
        details = {"low_shot": {"16": low_shot(*samples), "2": low_shot(5.0, 5.0)}}
        changes = {"protocol": "voc07-lowshot-fair26", "seed": seed, "details": details}
        put(tmp_path / f"trial_{seed}", "moco_v2", {"cross_validated, k=2": 5.0}, **changes)
    gathered, tables = read(tmp_path)
    pooled = samples_by_k(gathered.measured, "oracle_c")
    assert list(pooled.items()) == [(2, [5.0] * 4), (16, [10.0, 12.0, 14.0, 16.0])]
    honest, oracle = low_shot_plots(tables, gathered)
    assert "Mean of 4 draws" in honest.caption
    assert "as in published tables: it flatters" in oracle.caption
    figure = honest.draw(LIGHT)
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert ax.lines[0].get_ydata().tolist() == [5.0, 13.0]
    (bars,) = ax.collections
    low, high = bars.get_segments()[1][:, 1]
    assert (high - low) / 2 == pytest.approx(math.sqrt(20 / 3))  # deviations -3, -1, 1, 3, over n - 1, as in the tables
    plt.close(figure)


def test_methods_with_different_best_layers_share_a_picture_and_single_layers_have_none(tmp_path) -> None:
    for method, best, figures in (("moco_v2", "res4", (60.0, 70.0)), ("clsa_single", "avgpool", (65.0, 80.0))):
        layers = {layer: {"mAP envelope": value} for layer, value in zip(("res4", "avgpool"), figures, strict=True)}
        own = "" if best == "avgpool" else f"-{best}"
        details = {"figures_by_layer": layers, "best_layer": best}
        name = f"voc07-svm-fair26{own}-best-of-res4+avgpool"
        put(tmp_path / method, method, FOUR, protocol=name, details=details)
        put(tmp_path / method / "res4", method, FOUR, protocol="voc07-svm-fair26-res4")
    gathered, tables = read(tmp_path)
    assert len(tables) == 3
    (plot,) = layer_plots(tables, gathered)
    assert plot.caption.startswith("voc07-svm-fair26, class mAP, envelope")
    figure = plot.draw(LIGHT)
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert lines == [[60.0, 70.0], [60.0], [65.0, 80.0], [80.0]]  # with a ring each
    plt.close(figure)
    drawn = {plot.name.split("_voc07")[0]: plot.section for plot in all_plots(tables, gathered)}
    of_layer = next(t.key for t in tables if t.columns[0].protocol.name == "voc07-svm-fair26-res4")
    assert of_layer not in drawn.values()
    assert by_layer(gathered.measured[1:2])["res4"].mean == 65.0
    assert not any("measures" in sentence for sentence in findings(tables, gathered))  # no layer is counted as one


def test_four_average_precisions_stand_side_by_side(tmp_path) -> None:
    put(tmp_path / "a", "moco_v2", FOUR)
    put(tmp_path / "b", "clsa_single", {key: value + 1 for key, value in FOUR.items()})
    _, tables = read(tmp_path)
    (plot,) = four_precision_plots(tables)
    assert "may not stand in one column" in plot.caption
    assert "per-image AP" in plot.caption
    figure = plot.draw(LIGHT)
    points = {line.get_label(): line.get_xdata().tolist() for line in figure.axes[0].lines[:4]}
    assert points == {
        "class mAP, envelope": [84.3, 85.3],
        "class mAP, step": [84.0, 85.0],
        "class mAP, 11-point": [82.1, 83.1],
        "per-image AP": [91.0, 92.0],
    }
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["MoCo v2", "CLSA-Single"]
    plt.close(figure)
