"""Several pretrainings: what is averaged first, which are taken together, and what is said of it."""

import json
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.run_files import write_result
from clsa.reproduce.gather import RunFolder, gather_folders
from clsa.reproduce.report_cli import main
from clsa.reproduce.tables import build_tables
from clsa.reproduce.trials import Sample, sample


def put(run: Path, method: str, value: float, seed: int = 0, trial: int = 0, **changes) -> None:
    """A VOC07 SVM of a run of clsa-reproduce with ``SEED seed``, and the config of the pretraining that it probes."""
    folder = run / method / "classify" / ("svm_bn_reestimated" if changes.get("reestimated") else "svm")
    pretrained = changes.get("pretrained", f"{method}{seed}{changes.get('config')}")
    source = {"method": method, "sha256": f"of {pretrained}", "format": "clsa-pretrain", "iteration": 10, "epoch": 1}
    write_result(
        folder / f"trial_{trial}" if trial else folder,
        stage="classification",
        protocol="voc07-svm-mini5",
        metric_flavour="class mAP, envelope",
        values={"mAP envelope": value},
        per_class={},
        engine="torch",
        weights={"file": "w.pth", "sha256": f"{pretrained:x<64}", "source": source, "architecture": {"depth": 18}},
        dataset={"name": "VOC2007 trainval -> test", "fingerprint": {"images": 40}, "miniature": {"seed": 0}},
        seed=changes.get("probe_seed", seed),
        trial=trial,
        wall_seconds=1.0,
        config=CfgNode({"FEATURES": CfgNode({"REESTIMATE_BN": changes.get("reestimated", False)})}),
    )
    config = {"METHOD": method, "SEED": seed, "OUTPUT_DIR": str(run), "SOLVER": {"LR": 0.1}} | changes.get("config", {})
    config["DATA"] = {"TRAIN": f"{run}/data/world/imagenet/train", "WORKERS": seed}
    if changes.get("known", True):
        (run / method / "pretrain").mkdir(parents=True, exist_ok=True)
        (run / method / "pretrain" / "config.yaml").write_text(json.dumps(config))
        (run / method / "pretrain" / "stage.json").write_text(json.dumps({"state": "done", "facts": {}}))


def table_of(*runs: Path, name: str | None = None):
    folders = [RunFolder(run, name) for run in runs]
    (table,) = build_tables(gather_folders(folders, runs[0] / "report"))
    return table


def test_trials_of_one_pretraining_are_averaged_before_anything_else() -> None:
    found = Sample((1.0, 3.0, 5.0, 7.0, 9.0), ("a", "a", "b", "b", "c"))
    assert found.groups == ((1.0, 3.0), (5.0, 7.0), (9.0,))
    assert (found.independent, found.count, found.unit) == ((2.0, 6.0, 9.0), 3, "pretrainings")
    assert found.mean == pytest.approx(17 / 3)  # not 25 / 5
    assert found.std == pytest.approx((((2 - 17 / 3) ** 2 + (6 - 17 / 3) ** 2 + (9 - 17 / 3) ** 2) / 2) ** 0.5)
    assert found.made_of == "3 pretrainings x 1 to 2 trials"
    assert not Sample((1.0, 3.0, 2.0, 2.0), ("a", "a", "b", "b")).spread_is_known  # equal means


@pytest.mark.parametrize(
    ("names", "count", "made_of"),
    [((), 4, "4 trials"), (tuple("aaaa"), 4, "4 trials"), (tuple("abcd"), 4, "4 pretrainings")]
    + [(tuple("aabb"), 2, "2 pretrainings x 2 trials")],
)
def test_what_a_sample_counts(names, count, made_of) -> None:
    found = sample([1.0, 2.0, 3.0, 5.0], names)
    assert (found.count, found.made_of, found.mean) == (count, made_of, 2.75)


def test_an_undefined_value_takes_its_pretraining_with_it() -> None:
    assert sample([1.0, None, 3.0], ["a", "b", "a"]) == Sample((1.0, 3.0), ("a", "a"))
    assert sample([None], ["a"]) is None


def test_three_seeds_of_the_pretraining_are_one_row_each(tmp_path) -> None:
    """Random init with BN as initialised is better in two seeds of three, and worse in the mean."""
    for seed, plain, mended, moco in ((0, 11.0, 10.0, 18.0), (1, 11.2, 11.1, 18.3), (2, 7.0, 12.0, 17.7)):
        run = tmp_path / f"seed{seed}"
        put(run, "random_init", plain, seed)
        put(run, "random_init", mended, seed, reestimated=True)
        put(run, "moco_v2", moco, seed)
    table = table_of(*(tmp_path / f"seed{seed}" for seed in range(3)))
    random, moco = table.rows
    assert (random.label, random.made_of) == ("Random init (BN re-estimated)", "3 pretrainings")
    assert (random.values, moco.values) == ((pytest.approx(33.1 / 3),), (pytest.approx(18.0),))
    assert moco.samples[0].std == pytest.approx(0.3)
    assert table.delta_text(random, 0) == "−7.0"
    assert table.notes == (
        "Random init: 11.0 with BN re-estimated and 9.7 with BN as initialised, in the mean over seeds; the stronger "
        "of the two is shown.",
        "Random init (BN re-estimated), MoCo v2: 3 pretrainings. Mean and standard deviation are over pretrainings.",
    )


def test_pretrainings_whose_trials_differ_in_number(tmp_path) -> None:
    for seed, values in enumerate(((20.0, 22.0), (24.0,))):
        for trial, value in enumerate(values):
            put(tmp_path / f"seed{seed}", "moco_v2", value, seed, trial)
    put(tmp_path / "seed0", "clsa_single", 25.0)
    put(tmp_path / "seed0", "clsa_single", 26.0, trial=1)
    table = table_of(tmp_path / "seed0", tmp_path / "seed1")
    moco, clsa = table.rows
    assert (moco.values, moco.trials, moco.pretrainings) == ((22.5,), 2, 2)
    assert (clsa.values, clsa.trials, clsa.pretrainings) == ((25.5,), 2, 1)
    assert table.notes == (
        "MoCo v2: 2 pretrainings x 1 to 2 trials; CLSA-Single: 2 trials. Mean and standard deviation are over "
        "pretrainings, each the mean of its trials; of CLSA-Single, one pretraining, over its trials.",
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"config": {"SOLVER": {"LR": 0.2}}}),  # another recipe
        ({}, {"known": False}),  # nobody knows whether it is another one
        ({"probe_seed": 0}, {"config": {"SEED": 0}, "probe_seed": 0}),  # the same seed, and yet other weights
    ],
)
def test_what_is_not_known_to_differ_in_the_seed_alone_stays_apart(first, second, tmp_path) -> None:
    put(tmp_path / "seed0", "moco_v2", 20.0, 0, **first)
    put(tmp_path / "seed1", "moco_v2", 24.0, 1, **second)
    table = table_of(tmp_path / "seed0", tmp_path / "seed1")
    assert [row.values for row in table.rows] == [(20.0,), (24.0,)]
    assert "so there is no one baseline and no delta" in table.notes[0]


def test_one_pretraining_in_two_forms_is_one(tmp_path) -> None:
    for seed in (0, 1):  # seeds of the probe
        put(tmp_path / f"seed{seed}", "moco_v2", 20.0 + seed, seed, pretrained="one", config={"SEED": 5})
    (row,) = table_of(tmp_path / "seed0", tmp_path / "seed1").rows
    assert (row.made_of, row.values) == ("2 trials", (20.5,))


def test_a_name_for_several_methods_is_refused(tmp_path, capsys) -> None:
    put(tmp_path / "seed0", "moco_v2", 20.0)
    put(tmp_path / "seed0", "clsa_single", 22.0)
    with pytest.raises(InputError, match=r"they name 2 methods themselves: clsa_single .*; moco_v2 .*as in .*seed0"):
        table_of(tmp_path / "seed0", name="seed0")
    assert main([f"seed0={tmp_path / 'seed0'}", "--output", str(tmp_path / "report")]) == 1
    assert "Give each method's own folder, METHOD=DIR/METHOD" in capsys.readouterr().err


def test_under_one_name_the_pretrainings_are_the_draws(tmp_path) -> None:
    for seed in (0, 1):
        for trial in (0, 1):
            put(tmp_path / f"seed{seed}", "moco_v2", 20.0 + 4 * seed + trial, seed, trial, known=False)
    (row,) = table_of(tmp_path / "seed0", tmp_path / "seed1", name="mine").rows
    assert (row.made_of, row.values) == ("2 pretrainings x 2 trials", (22.5,))
    assert row.samples[0].std == pytest.approx(8**0.5)  # of 20.5 and 24.5


def test_a_folder_called_pretrain_that_is_not_of_the_run_is_not_taken_for_its_pretraining(tmp_path) -> None:
    for seed in (0, 1):
        put(tmp_path / f"seed{seed}", "moco_v2", 20.0 + seed, seed)
        (tmp_path / f"seed{seed}" / "moco_v2" / "pretrain" / "stage.json").unlink()
    assert len(table_of(tmp_path / "seed0", tmp_path / "seed1").rows) == 2
