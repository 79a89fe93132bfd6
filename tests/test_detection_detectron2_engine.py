"""The engine of record on a miniature world: it trains, resumes, evaluates, and stops when weights do not arrive."""

import argparse
import importlib.util
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from clsa.configs.command import InputError
from clsa.configs.loading import find_config
from clsa.configs.run_files import read_result
from clsa.convert.backbone_file import build_trunk, detectron2_name, read_backbone, write_backbone
from clsa.detection.detectron2_engine import require_detectron2, run
from clsa.detection.load_weights import verify_loaded

ROOT = Path(__file__).parent.parent
WIDTH = 8  # a ResNet-50 of an eighth of the width: the names and the number of tensors are the real ones

needs_detectron2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed"
)

TINY = {
    "MODEL": {
        "WEIGHTS": "",
        "RESNETS": {"WIDTH_PER_GROUP": WIDTH},
        "RPN": {
            "BATCH_SIZE_PER_IMAGE": 16,
            "PRE_NMS_TOPK_TRAIN": 100,
            "POST_NMS_TOPK_TRAIN": 20,
            "PRE_NMS_TOPK_TEST": 50,
            "POST_NMS_TOPK_TEST": 6,
        },
        "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 8, "SCORE_THRESH_TEST": 0.0},
    },
    "INPUT": {"MIN_SIZE_TRAIN": [64], "MAX_SIZE_TRAIN": 96, "MIN_SIZE_TEST": 64, "MAX_SIZE_TEST": 96},
    "DATALOADER": {"NUM_WORKERS": 0},
    "SOLVER": {"IMS_PER_BATCH": 2, "MAX_ITER": 2, "STEPS": [1], "WARMUP_ITERS": 1},
    "TEST": {"PRECISE_BN": {"NUM_ITER": 2}, "DETECTIONS_PER_IMAGE": 5},
}
VOC_C4 = ["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "4", "MODEL.ANCHOR_GENERATOR.SIZES", "[[16, 32, 64]]"]
COCO_FPN = [
    *("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "4", "MODEL.ROI_BOX_HEAD.FC_DIM", "32"),
    *("MODEL.ROI_MASK_HEAD.NUM_CONV", "1", "MODEL.ROI_MASK_HEAD.CONV_DIM", "8", "MODEL.FPN.OUT_CHANNELS", "16"),
    *("MODEL.ANCHOR_GENERATOR.SIZES", "[[8], [16], [32], [64], [96]]"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds ``voc.yaml`` and ``coco.yaml``: the real protocols, shrunk."""
    path = tmp_path_factory.mktemp("detectron2")
    for name, protocol in (("voc", "voc_r50_c4_24k"), ("coco", "coco_r50_fpn_1x_moco_2fc")):
        base = str(find_config(f"configs/detection/{protocol}.yaml").resolve())
        (path / f"{name}.yaml").write_text(yaml.safe_dump({"_BASE_": base, **TINY}))
    return path


@pytest.fixture(scope="module")
def trunk():
    """All 265 tensors of a narrow ResNet-50, none of them at the values that a fresh layer has."""
    torch.manual_seed(0)
    state = build_trunk(50, WIDTH).state_dict()
    for tensor in state.values():
        if tensor.ndim == 1:  # norms
            tensor.add_(torch.rand_like(tensor), alpha=0.1)
    return {name: tensor for name, tensor in state.items() if "num_batches" not in name}


@pytest.fixture(scope="module")
def weights(folder, trunk):
    path = folder / "backbone_detectron2.pkl"
    write_backbone(path, trunk, "detectron2", {"source": {"method": "moco_v2", "iteration": 7}})
    return path


def detect(data, config, output, *words):
    """``python detection/train_net.py`` in a process of its own: detectron2 fixes the data's root when imported."""
    script = [sys.executable, str(ROOT / "detection" / "train_net.py"), "--engine", "detectron2", "--num-gpus", "0"]
    flags = [word for word in words if word.startswith("--")]
    options = [word for word in words if not word.startswith("--")]
    return subprocess.run(
        [*script, "--config-file", str(config), *flags, "OUTPUT_DIR", str(output), *map(str, options)],
        env={**os.environ, "DETECTRON2_DATASETS": str(data), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def trained(mini_root, folder, weights):
    """OUTPUT_DIR of a finished run of two iterations on VOC."""
    output = folder / "voc"
    done = detect(mini_root, folder / "voc.yaml", output, "MODEL.WEIGHTS", str(weights), "SEED", "5", *VOC_C4)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(str(output / "result.json"))
    return output


@needs_detectron2
def test_trains_on_voc_from_converted_weights_and_writes_the_result(trained, weights):
    result = read_result(trained / "result.json")
    assert result["engine"] == "detectron2"
    assert result["stage"] == "detection"
    assert result["protocol"].startswith("voc MODEL.ANCHOR_GENERATOR.SIZES=")
    assert result["metric_flavour"] == "VOC 11-point, IoU .50:.95"
    form = {f"bbox_coco_form/{metric}" for metric in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
    assert set(result["values"]) == {"bbox/AP", "bbox/AP50", "bbox/AP75"} | form
    assert result["details"]["flavours"] == {
        "bbox": "VOC 11-point, IoU .50:.95",
        "bbox_coco_form": "COCO form of VOC, difficult ignored",
    }
    assert result["details"]["coco_evaluator"].startswith("pycocotools ")
    assert result["weights"]["sha256"] == read_backbone(weights).sha256
    assert result["weights"]["source"] == {"method": "moco_v2", "iteration": 7}
    assert result["seed"] == 5
    assert result["dataset"]["name"] == "voc_2007_test"
    assert result["details"]["verified_tensors"] == 265
    assert result["details"]["iterations"] == 2
    assert result["config"]["MODEL"]["ROI_HEADS"]["NAME"] == "Res5ROIHeadsExtraNorm"
    assert "all 265 tensors of" in (trained / "log.txt").read_text()
    assert "Running precise-BN for 2 iterations" in (trained / "log.txt").read_text()


@needs_detectron2
def test_the_detections_are_kept(trained, mini_root):
    detections = json.loads((trained / "inference" / "detections.json").read_text())
    ids = set((mini_root / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split())
    assert {detection["image_id"] for detection in detections} <= ids
    assert {"category", "bbox", "score"} <= set(detections[0])


@needs_detectron2
def test_resuming_goes_on_and_remembers_the_weights(trained, mini_root, folder):
    # MODEL.WEIGHTS left out, as the published configs have it: what the checkpoint says of its origin must be enough.
    words = ("SOLVER.MAX_ITER", "3", "SEED", "6", "MODEL.WEIGHTS", "See Instructions", *VOC_C4)
    done = detect(mini_root, folder / "voc.yaml", trained, "--resume", *words)
    assert done.returncode == 0, done.stderr
    result = read_result(trained / "result.json")
    assert "continuing at iteration 2" in done.stdout
    assert result["details"]["iterations"] == 3
    assert result["details"]["verified_tensors"] == 265
    assert result["weights"]["source"] == {"method": "moco_v2", "iteration": 7}
    assert result["seed"] == 5
    iterations = [json.loads(line)["iteration"] for line in (trained / "metrics.json").read_text().splitlines()]
    assert iterations[0] == 1
    assert iterations[-1] >= 2


@needs_detectron2
def test_evaluating_a_finished_run_again_gives_the_same_values(trained, mini_root, folder):
    before = read_result(trained / "result.json")
    output = folder / "again"
    checkpoint = str(trained / "model_final.pth")
    done = detect(mini_root, trained / "config.yaml", output, "--eval-only", "MODEL.WEIGHTS", checkpoint)
    assert done.returncode == 0, done.stderr
    assert not (output / "config.yaml").exists()
    result = read_result(output / "result.json")
    assert result["protocol"] == before["protocol"]
    assert result["values"] == before["values"]
    assert result["per_class"] == before["per_class"]
    assert result["weights"] == before["weights"]
    assert result["details"]["detector"]["file"] == checkpoint
    assert not list(output.glob("model_*"))


#: Several commands in one process; after each a line with its exit code.
COMMANDS = """
import json, sys
from clsa.detection.train_net import main

for words in json.loads(sys.argv[1]):
    code = main(["--engine", "detectron2", "--num-gpus", "0", *words])
    print("ended with", code, file=sys.stderr)
"""


@needs_detectron2
def test_a_detector_stays_what_it_was_trained_as(trained, mini_root, folder, tmp_path):
    """Without any training data: only VOC2007 is there."""
    own = Path(shutil.copytree(trained, tmp_path / "own"))
    content = torch.load(own / "model_final.pth", weights_only=True)
    content["trainer"]["seconds"] = 5000.0
    torch.save(content, own / "model_final.pth")
    alone = {key: content[key] for key in ("model", "iteration")}  # as detectron2's own trainer leaves it
    torch.save(alone, tmp_path / "elsewhere.pth")
    (tmp_path / "VOC2007").symlink_to(mini_root / "VOC2007")
    before = {name: (own / name).read_bytes() for name in ("config.yaml", "result.json")}
    again, evaluate = ["--config-file", str(own / "config.yaml")], ["--eval-only", "--resume"]
    commands = [
        [*again, "OUTPUT_DIR", str(own), "SOLVER.BASE_LR", "0.5"],
        [*again, "--resume", "OUTPUT_DIR", str(own), "SOLVER.BASE_LR", "0.5"],
        [*again, *evaluate, "OUTPUT_DIR", str(own), "SOLVER.BASE_LR", "0.5"],
        [*again, *evaluate, "OUTPUT_DIR", str(own), "TEST.DETECTIONS_PER_IMAGE", "3"],
        [
            *(*again, "--eval-only", "MODEL.WEIGHTS", str(tmp_path / "elsewhere.pth")),
            *("OUTPUT_DIR", str(tmp_path / "elsewhere"), "SOLVER.BASE_LR", "0.5"),
        ],
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        env={**os.environ, "DETECTRON2_DATASETS": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    *said, _ = re.split(r"ended with ([01])\n", done.stderr)
    assert said[1::2] == ["1", "1", "1", "0", "0"], done.stderr
    assert "own already holds checkpoints, the newest is model_final.pth. Give --resume" in said[0]
    assert "started with another config:\n  SOLVER.BASE_LR: 0.02 before, 0.5 now" in said[2]
    assert "trained with another config:\n  SOLVER.BASE_LR: 0.02 before, 0.5 now" in said[4]
    assert (own / "config.yaml").read_bytes() == before["config.yaml"]
    first, result = json.loads(before["result.json"]), read_result(own / "result.json")
    assert result["protocol"] == f"{first['protocol']} TEST.DETECTIONS_PER_IMAGE=3"
    assert 5000 < result["wall_seconds"] < 10_000
    assert result["details"]["train_datasets"] == first["details"]["train_datasets"]
    unknown = read_result(tmp_path / "elsewhere" / "result.json")
    assert unknown["protocol"] == "config SOLVER.BASE_LR=0.5 (training not recorded)"
    assert "not recorded in the checkpoint" in unknown["details"]["training"]
    assert not (tmp_path / "elsewhere" / "config.yaml").exists()


@needs_detectron2
def test_mask_rcnn_with_fpn_on_coco_from_random_weights(mini_root, folder):
    output = folder / "coco"
    done = detect(mini_root, folder / "coco.yaml", output, *COCO_FPN)
    assert done.returncode == 0, done.stderr
    assert "MODEL.WEIGHTS is empty: training starts from random weights" in done.stdout
    result = read_result(output / "result.json")
    sizes = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    assert set(result["values"]) == {f"{task}/{metric}" for task in ("bbox", "segm") for metric in sizes}
    assert result["metric_flavour"] == "COCO"
    assert result["weights"] == {"file": None, "sha256": None, "architecture": {"depth": 50, "width_per_group": WIDTH}}
    assert result["details"]["verified_tensors"] == 0
    assert len(result["per_class"]["segm/APs"]) == 80
    assert json.loads((output / "inference" / "coco_instances_results.json").read_text())


#: Evaluates detections that are off by a few pixels, the same ones in detectron2's way and in that of result.json.
ALMOST_RIGHT = """
import json, sys
import torch
from detectron2.config import get_cfg
from detectron2.structures import Boxes, BoxMode, Instances, polygons_to_bitmask
from clsa.detection.dataset_dicts import load_dataset_dicts
from clsa.detection.detectron2_evaluators import build_evaluator, read_evaluation
from clsa.detection.evaluation_keys import add_evaluation_keys

name, output = sys.argv[1:]
cfg = add_evaluation_keys(get_cfg())
cfg.merge_from_list(["OUTPUT_DIR", output, "DATASETS.TEST", (name,), "MODEL.MASK_ON", "coco" in name])
evaluator = build_evaluator(cfg, name)
evaluator.reset()
torch.manual_seed(0)
for image in load_dataset_dicts(name):
    size = image["height"], image["width"]
    objects = [o for o in image["annotations"] if not o.get("iscrowd")]
    corners = [BoxMode.convert(o["bbox"], o["bbox_mode"], BoxMode.XYXY_ABS) for o in objects]
    found = Instances(size)
    found.pred_boxes = Boxes(torch.tensor(corners).reshape(-1, 4) + 12 * torch.rand(len(objects), 4))
    found.pred_classes = torch.tensor([o["category_id"] for o in objects], dtype=torch.int64)
    found.scores = torch.rand(len(objects))
    if cfg.MODEL.MASK_ON:
        masks = [torch.tensor(polygons_to_bitmask(o["segmentation"], *size)) for o in objects]
        found.pred_masks = torch.stack([mask.roll(2, dims=1) for mask in masks])
    evaluator.process([image], [{"instances": found}])
figures = evaluator.evaluate()
print("figures:", json.dumps([figures, read_evaluation(cfg, figures)]))
"""


@needs_detectron2
@pytest.mark.parametrize("name", ["coco_2017_val", "voc_2007_test"])
def test_the_figures_of_the_result_are_detectron2s(name, mini_root, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ALMOST_RIGHT, name, str(tmp_path)],
        env={**os.environ, "DETECTRON2_DATASETS": str(mini_root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout.rpartition("figures:")[2])
    for metric, value in ours["values"].items():
        task, figure = metric.split("/")
        if value is None:  # no object of that size
            assert theirs[task][figure] != theirs[task][figure]
            continue
        assert 0 < value < 100
        assert theirs[task][figure] == pytest.approx(value, abs=1e-9)
    for task in theirs:
        for class_name, value in ours["per_class"][f"{task}/AP"].items():
            expected = theirs[task][f"AP-{class_name}"]  # NaN where the split has no object of the class
            assert (value is None and expected != expected) or value == pytest.approx(expected, abs=1e-9)
    if "voc" in name:
        for metric in ("bbox/AP", "bbox/AP50", "bbox/AP75"):
            by_class = ours["per_class"][metric]
            assert sum(by_class.values()) / 20 == pytest.approx(ours["values"][metric], abs=1e-9)


def pickled(path, trunk, names=detectron2_name, **rest):
    with open(path, "wb") as file:
        pickle.dump({"model": {names(name): tensor.numpy() for name, tensor in trunk.items()}, **rest}, file)
    return path


@needs_detectron2
def test_weights_that_detectron2_drops_without_an_error_stop_the_run(mini_root, folder, trunk):
    unmatched = pickled(folder / "unmatched.pkl", trunk, __author__="somebody")
    done = detect(mini_root, folder / "voc.yaml", folder / "stopped", "MODEL.WEIGHTS", str(unmatched), *VOC_C4)
    assert done.returncode == 1
    assert f"the model does not hold the weights of {unmatched}" in done.stderr
    assert "265 tensors disagree: conv1.weight has other values" in done.stderr
    assert not list((folder / "stopped").glob("model_*"))


@pytest.fixture(scope="module")
def detector(folder):
    """Builds the C4 detector of detectron2, freshly initialised."""
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    import clsa.detection.extra_norm_head  # noqa: F401  (registers the head)

    cfg = get_cfg()
    cfg.merge_from_file(str(folder / "voc.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *VOC_C4])
    return lambda: build_model(cfg)


@needs_detectron2
@pytest.mark.parametrize(
    ("broken", "disagree"),
    [
        ("torchvision's names", 265 - 1),
        ("no matching_heuristics", 265),
        ("taken for Caffe2's", 265 - 159),
        ("no res5", 50),
    ],
)
def test_what_detectron2s_checkpointer_lets_pass_is_found(detector, weights, trunk, tmp_path, broken, disagree):
    from detectron2.checkpoint import DetectionCheckpointer

    rest = {"__author__": "somebody", "matching_heuristics": True}
    path = tmp_path / "broken.pkl"
    if broken == "torchvision's names":
        pickled(path, trunk, names=str, **rest)
    elif broken == "no matching_heuristics":
        pickled(path, trunk, __author__="somebody")
    elif broken == "taken for Caffe2's":
        path.write_bytes(pickle.dumps({detectron2_name(name): tensor.numpy() for name, tensor in trunk.items()}))
    else:
        pickled(path, {name: tensor for name, tensor in trunk.items() if "layer4" not in name}, **rest)
    model = detector()
    DetectionCheckpointer(model).load(str(path))  # no error
    with pytest.raises(InputError, match=rf"\b{disagree} tensors disagree"):
        verify_loaded(model, read_backbone(weights))


@needs_detectron2
def test_the_whole_file_arrives(detector, weights):
    from detectron2.checkpoint import DetectionCheckpointer

    model = detector()
    DetectionCheckpointer(model).load(str(weights))
    assert verify_loaded(model, read_backbone(weights)) == 265


def arguments(config, *opts, **changed):
    given = {
        "config_file": str(config),
        "num_gpus": 0,
        "eval_only": False,
        "resume": False,
        "num_machines": 1,
        "machine_rank": 0,
        "dist_url": "auto",
        "trial": 0,
        "opts": [str(word) for word in opts],
    }
    return argparse.Namespace(**{**given, **changed})


@needs_detectron2
@pytest.mark.parametrize(
    ("opts", "changed", "message"),
    [
        (["MODEL.WEIGHT", "x"], {}, r"unknown config key 'MODEL.WEIGHT'.*Did you mean 'MODEL.WEIGHTS'"),
        (["MODEL.WEIGHTS", "See Instructions"], {}, "MODEL.WEIGHTS is 'See Instructions'. Say what to start from"),
        (["MODEL.ROI_HEADS.NUM_CLASSES", "80"], {}, "NUM_CLASSES is 80, but voc_2007_trainval has 20 classes"),
        (["DATASETS.TEST", "('voc_2008_test',)"], {}, "unknown data set 'voc_2008_test'"),
        (["DATASETS.TEST", "()"], {}, "exactly one data set is needed"),
        (["DATASETS.TRAIN", "()"], {}, "DATASETS.TRAIN is empty"),
        (["MODEL.RESNETS.DEPTH", "18"], {}, "ResNet-18 and 34 do not have"),
        ([], {"eval_only": True}, "--eval-only needs a detector"),
        (["OUTPUT_DIR", "nothing/here"], {"eval_only": True, "resume": True}, "--eval-only needs a detector"),
        ([], {"num_gpus": 999}, "--num-gpus is 999, PyTorch sees"),
        ([], {"num_machines": 2}, "--dist-url is auto with --num-machines 2: give tcp://HOST:PORT"),
    ],
)
def test_what_cannot_run_is_refused_before_detectron2_starts(folder, mini_root, monkeypatch, opts, changed, message):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    with pytest.raises(InputError, match=message):
        run(arguments(folder / "voc.yaml", *opts, **changed))


@needs_detectron2
def test_missing_data_is_refused_with_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path / 'VOC2007'} does not exist"):
        run(arguments(folder / "voc.yaml"))


@needs_detectron2
def test_weights_that_are_no_whole_backbone_are_refused(folder, mini_root, monkeypatch, trunk, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    without_res5 = {name: tensor for name, tensor in trunk.items() if "layer4" not in name}
    pickled(tmp_path / "half.pkl", without_res5, __author__="somebody", matching_heuristics=True)
    with pytest.raises(InputError, match="50 of its 265 trunk tensors are missing: layer4"):
        run(arguments(folder / "voc.yaml", "MODEL.WEIGHTS", tmp_path / "half.pkl"))
    torch.save(trunk, tmp_path / "torchvision.pth")
    with pytest.raises(InputError, match=r"clsa-convert .*torchvision\.pth .*\.pkl --to detectron2"):
        run(arguments(folder / "voc.yaml", "MODEL.WEIGHTS", tmp_path / "torchvision.pth"))


@needs_detectron2
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.FORMAT", "BGR"),
        ("MODEL.PIXEL_MEAN", "[103.530, 116.280, 123.675]"),
        ("MODEL.PIXEL_STD", "[1.0, 1.0, 1.0]"),
        ("MODEL.RESNETS.STRIDE_IN_1X1", "True"),
    ],
)
def test_each_of_the_four_pixel_settings_is_checked(folder, mini_root, monkeypatch, weights, key, value):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    with pytest.raises(InputError, match=f"^{key} is "):
        run(arguments(folder / "voc.yaml", "MODEL.WEIGHTS", weights, key, value))


@needs_detectron2
class TestDetectorCheckpoints:
    """``load_detector``: a whole detector or an error."""

    @pytest.fixture
    def load(self):
        from clsa.detection.detectron2_trainer import load_detector

        return load_detector

    def test_one_that_was_trained_elsewhere_is_recorded_by_its_own_file(self, load, tmp_path):
        model = torch.nn.Linear(2, 2)
        saved = {"weight": torch.ones(2, 2), "bias": torch.zeros(2), "pixel_mean": torch.zeros(3, 1, 1)}
        torch.save({"model": saved, "iteration": 23999}, tmp_path / "moco.pth")
        origin = load(model, tmp_path / "moco.pth")
        assert torch.equal(model.weight, torch.ones(2, 2))
        assert origin["iteration"] == 24000
        assert origin["config"] is None
        assert origin["verified"] == 0
        assert origin["weights"]["file"] == str(tmp_path / "moco.pth")

    @pytest.mark.parametrize(
        "saved",
        [
            {"weight": torch.ones(2, 2)},
            {"weight": torch.ones(2, 3), "bias": torch.zeros(2)},
            {"weight": torch.ones(2, 2), "bias": torch.zeros(2), "res5.norm.bias": torch.zeros(2)},
        ],
        ids=["a tensor too few", "another shape", "a tensor too many"],
    )
    def test_one_of_another_config_is_refused(self, load, tmp_path, saved):
        torch.save({"model": saved}, tmp_path / "other.pth")
        with pytest.raises(
            InputError, match=r"does not fit the config: 1 tensors differ, the first is (bias|weight|res5)"
        ):
            load(torch.nn.Linear(2, 2), tmp_path / "other.pth")

    def test_what_is_no_detector_is_refused(self, load, tmp_path, weights):
        torch.save({"state_dict": {}}, tmp_path / "checkpoint.pth")
        with pytest.raises(InputError, match="is no detector: it has no 'model'"):
            load(torch.nn.Linear(2, 2), tmp_path / "checkpoint.pth")
        with pytest.raises(InputError, match=r"missing\.pth cannot be read as a detector's checkpoint"):
            load(torch.nn.Linear(2, 2), tmp_path / "missing.pth")
        with pytest.raises(InputError, match="cannot be read as a detector's checkpoint"):
            load(torch.nn.Linear(2, 2), weights)  # a backbone


class TestWithoutDetectron2:
    """One sentence, whether it is absent or cannot be imported."""

    def test_absent(self, monkeypatch):
        for name in ("detectron2", "detectron2.config"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            InputError, match=r"detectron2 is not installed\. Install it by its guide.*PYTHONPATH.*--engine torchvision"
        ):
            require_detectron2()

    def test_a_checkout_without_what_it_needs(self, monkeypatch, tmp_path):
        (tmp_path / "detectron2" / "config").mkdir(parents=True)
        (tmp_path / "detectron2" / "__init__.py").touch()
        (tmp_path / "detectron2" / "config" / "__init__.py").write_text("import a_package_that_nobody_has")
        for name in ("detectron2", "detectron2.config"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(InputError, match=r"cannot be imported.*a_package_that_nobody_has"):
            require_detectron2()
        for name in ("detectron2", "detectron2.config"):
            sys.modules.pop(name, None)


@needs_detectron2
def test_a_trial_bears_its_number_and_the_peak_of_the_memory_is_written(mini_root, folder):
    output = folder / "trials"
    words = ("--trials", "1", "MODEL.WEIGHTS", "", "SOLVER.MAX_ITER", "1", "SOLVER.STEPS", "()", *VOC_C4)
    script = [sys.executable, str(ROOT / "detection" / "train_net.py"), "--num-gpus", "0"]
    done = subprocess.run(
        [*script, "--config-file", str(folder / "voc.yaml"), *words, "OUTPUT_DIR", str(output)],
        env={**os.environ, "DETECTRON2_DATASETS": str(mini_root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = read_result(output / "trial_0" / "result.json")
    assert (result["seed"], result["trial"], result["engine"]) == (0, 0, "detectron2")
    assert json.loads((output / "trials.json").read_text())["mean"]["bbox/AP"] == result["values"]["bbox/AP"]
    assert json.loads((output / "trial_0" / "metrics.json").read_text().splitlines()[0])["peak_memory_mib"] > 100
    log = (output / "trial_0" / "log.txt").read_text()
    assert "iteration 1: memory" in log


@needs_detectron2
def test_several_machines_are_detectron2s_own_launch(mini_root, folder, monkeypatch):
    """It asserts that there are GPUs, so only what it is given can be looked at here: its place and its address."""
    import detectron2.engine

    given = []
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(detectron2.engine, "launch", lambda *words, **named: given.append((words, named)))
    machine = {"num_gpus": 2, "num_machines": 2, "machine_rank": 1, "dist_url": "tcp://first:29500", "trial": 3}
    run(arguments(folder / "voc.yaml", "SOLVER.IMS_PER_BATCH", "8", "OUTPUT_DIR", str(folder / "machines"), **machine))
    ((function, gpus), named) = given[0]
    assert (function.__name__, gpus) == ("run_in_each_process", 2)
    assert {key: named[key] for key in ("num_machines", "machine_rank", "dist_url")} == {
        key: machine[key] for key in ("num_machines", "machine_rank", "dist_url")
    }
    assert named["args"][2].trial == 3
