"""Trials and sweeps: what is run, skipped, refused and reported. The runs are processes; most of them only write."""

import argparse
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.configs.run_files import read_result, write_config, write_result
from clsa.detection.config import get_cfg
from clsa.detection.plot_sweep import axis_positions
from clsa.detection.series_summary import Spread, spread
from clsa.detection.sweep import folder_name, run_sweep, split_values
from clsa.detection.trials import run_trials

CONFIG = "configs/detection/mini_voc_c4_r18.yaml"


@pytest.fixture(autouse=True)
def found_by_the_processes(monkeypatch):
    """A process that is started finds ``note`` by this file's name, from the folder above."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def note(args: argparse.Namespace) -> None:
    """In place of a detector: values from the seed and the learning rate; none at a rate of 9; a line a run."""
    cfg = load_config(get_cfg(), args.config_file, args.opts)
    Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    with open(Path(cfg.OUTPUT_DIR) / "runs.txt", "a") as file:
        file.write("run\n")
    if cfg.SOLVER.BASE_LR == 9:
        raise InputError("the loss is not finite")
    write_config(cfg.OUTPUT_DIR, cfg)
    values = {"bbox/AP": 10.0 + cfg.SEED**2 + cfg.SOLVER.BASE_LR, "bbox/AP50": 20.0, "bbox/APl": None}
    write_result(
        cfg.OUTPUT_DIR,
        stage="detection",
        protocol="p",
        metric_flavour="COCO",
        values=values,
        per_class={},
        engine="torchvision",
        weights={"file": None, "sha256": None},
        dataset={"name": "some_data"},
        seed=cfg.SEED,
        trial=args.trial,
        wall_seconds=1.0,
        config=cfg,
    )


def arguments(output, *words, opts=()):
    from clsa.detection.train_net import argument_parser  # here: the processes of note() do without PyTorch

    flags = ["--engine", "torchvision", "--config-file", CONFIG, *words]
    return argument_parser().parse_args([*flags, "OUTPUT_DIR", str(output), *opts])


def detect(words):
    from clsa.detection.train_net import main

    return main(words)


def runs_of(folder: Path) -> int:
    return len((folder / "runs.txt").read_text().split())


def test_spread_by_hand():
    assert spread([1.0, 2.0, 6.0]) == Spread(3.0, 7.0**0.5)  # (4 + 1 + 9) / (3 - 1)
    assert spread([4.0]) == Spread(4.0, None)
    assert spread([1.0, None]) == spread([]) == Spread(None, None)
    assert [str(spread(v)) for v in ([1.0, 2.0, 6.0], [4.0], [None])] == ["3.00 ± 2.65", "4.00", "-"]


def test_trials_are_summed_up_and_resumed_one_by_one(tmp_path, capfd):
    run_trials(arguments(tmp_path, "--trials", "2", opts=("SOLVER.BASE_LR", "0.")), note)
    (tmp_path / "trial_1" / "result.json").unlink()
    run_trials(arguments(tmp_path, "--trials", "3", "--resume", opts=("SOLVER.BASE_LR", "0.")), note)
    assert [runs_of(tmp_path / f"trial_{k}") for k in range(3)] == [1, 2, 1]
    assert [read_result(tmp_path / f"trial_{k}" / "result.json")["trial"] for k in range(3)] == [0, 1, 2]
    record = json.loads((tmp_path / "trials.json").read_text())
    assert record["mean"] == {"bbox/AP": pytest.approx(35 / 3), "bbox/AP50": 20.0, "bbox/APl": None}  # 10, 11, 14
    assert record["std"] == {"bbox/AP": pytest.approx((13 / 3) ** 0.5), "bbox/AP50": 0.0, "bbox/APl": None}
    assert [(t["trial"], t["seed"], t["values"]["bbox/AP"]) for t in record["trials"]] == [
        (0, 0, 10),
        (1, 1, 11),
        (2, 2, 14),
    ]
    assert record["trials"][2]["result"] == "trial_2/result.json"
    printed = capfd.readouterr().out
    assert "trial 0: " + str(tmp_path / "trial_0") + "/result.json stands, skipped" in printed
    assert "bbox/AP      10.00    11.00    14.00  11.67  2.08" in printed
    for k in range(3):  # as other runs leave it that came later and did not end
        other = load_config(get_cfg(), CONFIG, ["OUTPUT_DIR", str(tmp_path / f"trial_{k}"), "SOLVER.BASE_LR", "0.5"])
        write_config(tmp_path / f"trial_{k}", other)
    with pytest.raises(InputError, match=r"was started with another config:\n  SOLVER.BASE_LR: 0.0 before, 0.5 now"):
        run_trials(arguments(tmp_path, "--trials", "3", "--resume", opts=("SOLVER.BASE_LR", "0.5")), note)


@pytest.mark.parametrize(
    ("words", "used"),
    [
        (["--trials", "2"], "trial_1"),
        (["--sweep", "SOLVER.BASE_LR", "1,2"], "base_lr_2"),
        (["--sweep", "SOLVER.BASE_LR", "1,2", "--trials", "2"], "base_lr_2/trial_1"),
    ],
)
def test_a_folder_that_holds_a_run_stops_the_series_before_its_first(words, used, tmp_path):
    (tmp_path / used).mkdir(parents=True)
    (tmp_path / used / "model_final.pth").touch()
    (tmp_path / used / "last_checkpoint").write_text("model_final.pth")
    with pytest.raises(InputError, match=rf"{used} already holds checkpoints.*Give --resume to go on"):
        (run_sweep if "--sweep" in words else run_trials)(arguments(tmp_path, *words), note)
    assert not list(tmp_path.rglob("runs.txt"))


def test_the_result_of_a_checkpoint_on_the_way_is_not_that_of_the_run(tmp_path):
    words = arguments(tmp_path, "--trials", "1", "--resume")
    run_trials(words, note)
    path = tmp_path / "trial_0" / "result.json"
    result = read_result(path)
    result["details"]["iterations"] = result["config"]["SOLVER"]["MAX_ITER"] - 1
    path.write_text(json.dumps(result))
    run_trials(words, note)
    assert runs_of(tmp_path / "trial_0") == 2


def test_all_values_of_a_sweep_have_one_seed(tmp_path):
    assert run_sweep(arguments(tmp_path, "--sweep", "SOLVER.BASE_LR", "1,2"), note) == 0
    assert [run["seeds"] for run in json.loads((tmp_path / "sweep.json").read_text())["runs"]] == [[0], [0]]


def test_a_sweep_reports_the_value_that_failed_too(tmp_path, capfd):
    code = run_sweep(arguments(tmp_path, "--sweep", "SOLVER.BASE_LR", "9,2", "--trials", "2"), note)
    assert code == 1
    record = json.loads((tmp_path / "sweep.json").read_text())
    assert [(run["value"], run["folder"], run["seeds"]) for run in record["runs"]] == [
        ("9", "base_lr_9", []),
        ("2", "base_lr_2", [0, 1]),
    ]
    assert record["runs"][1]["mean"]["bbox/AP"] == 12.5
    assert "failed with exit code 1" in record["runs"][0]["failure"]
    printed = capfd.readouterr()
    assert "bbox/AP    failed  12.50 ± 0.71" in printed.out
    assert "the loss is not finite" in printed.err
    with Image.open(tmp_path / "sweep.png") as picture:
        assert picture.width == 960


@pytest.mark.parametrize(
    ("words", "opts", "message"),
    [
        (["--trials", "0"], [], "--trials is 0: at least 1"),
        (["--trials", "2"], ["SEED", "5"], "--trials 2 runs SEED 0 to 1: leave SEED out"),
        (["--trials", "2", "--eval-only"], [], "--trials trains; --eval-only does not"),
        (["--trials", "2", "--trial", "1"], [], "--trial 1 is the number of one run"),
        (["--trials", "2", "--num-machines", "2"], [], "which torchrun and several machines do not allow"),
        (["--sweep", "SOLVER.BASE_LR", "0.1"], [], "at least two different values"),
        (["--sweep", "SOLVER.BASE_LR", "0.1,0.1"], [], "at least two different values"),
        (["--sweep", "SOLVER.BASE_RL", "1,2"], [], "Did you mean 'SOLVER.BASE_LR'"),
        (["--sweep", "SOLVER.BASE_LR", "0.1,high"], [], "the command line: "),
        (["--sweep", "SEED", "1,2"], [], "--trials N varies SEED"),
        (["--sweep", "SOLVER.BASE_LR", "1,2"], ["SOLVER.BASE_LR", "3"], "has a value of its own, too"),
    ],
)
def test_what_cannot_be_a_series_stops_before_the_first_run(words, opts, message, tmp_path, capsys):
    command = ["--engine", "torchvision", "--config-file", CONFIG, *words, "OUTPUT_DIR", str(tmp_path / "out"), *opts]
    assert detect(command) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_not_under_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="SEED k OUTPUT_DIR output/trial_k, with --trial k"):
        run_trials(arguments(tmp_path, "--trials", "2"), note)


def test_values_and_folders():
    assert split_values("0.02, 0.05,1e-1") == ["0.02", "0.05", "1e-1"]
    assert split_values("(9,10),(18,20)") == ["(9,10)", "(18,20)"]
    assert folder_name("SOLVER.BASE_LR", "0.02") == "base_lr_0.02"
    assert folder_name("SOLVER.STEPS", "(9, 10)") == "steps_9_10"
    assert axis_positions(["0.02", "1e-1"]) == ([0.02, 0.1], True)
    assert axis_positions(["BN", "SyncBN"]) == ([0.0, 1.0], False)


def test_a_trial_is_the_run_that_its_seed_alone_gives(tmp_path, mini_root, monkeypatch):
    """The command itself, with a detector: one iteration, in a process of its own."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    command = ["--engine", "torchvision", "--num-gpus", "0", "--config-file", CONFIG, "--trials", "1"]
    shorter = ["SOLVER.MAX_ITER", "1", "SOLVER.STEPS", "()", "MODEL.WEIGHTS", "", "TEST.PRECISE_BN.ENABLED", "False"]
    assert detect([*command, *shorter, "OUTPUT_DIR", str(tmp_path)]) == 0
    result = read_result(tmp_path / "trial_0" / "result.json")
    assert (result["seed"], result["trial"]) == (0, 0)
    line = json.loads((tmp_path / "trial_0" / "metrics.json").read_text())
    assert line["eta_seconds"] == 0
    assert 100 < line["peak_memory_mib"] < 20_000  # PyTorch alone is some hundred
    log = (tmp_path / "trial_0" / "log.txt").read_text()
    assert "iteration 1/1  eta 0:00:00  total_loss" in log
    assert f"memory {line['peak_memory_mib']:.0f} MiB" in log
