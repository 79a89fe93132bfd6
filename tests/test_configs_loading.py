"""clsa.configs.loading: what is refused, with which words, and in which order the sources win."""

from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import PACKAGED, find_config, load_config


def defaults() -> CfgNode:
    return CfgNode({"SOLVER": {"BASE_LR": 0.03, "STEPS": (1, 2)}, "SEED": 0, "OUTPUT_DIR": "out"})


def test_the_command_line_wins_over_the_file_and_the_file_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SEED: 1\nSOLVER:\n  BASE_LR: 0.1\n  STEPS: (5, 6)\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSEED: 2\nSOLVER:\n  BASE_LR: 0.2\n")
    cfg = load_config(defaults(), str(tmp_path / "top.yaml"), ["SEED", "3"])
    assert cfg == CfgNode({"SOLVER": {"BASE_LR": 0.2, "STEPS": (5, 6)}, "SEED": 3, "OUTPUT_DIR": "out"})
    assert cfg.is_frozen()


@pytest.mark.parametrize(
    ("yaml", "overrides", "message"),
    [
        (
            "SOLVER:\n  BASE_LRR: 1\n",
            [],
            r"unknown config key 'SOLVER.BASE_LRR' in .*c.yaml. Did you mean 'SOLVER.BASE_LR'\?",
        ),
        ("SED: 1\n", [], r"unknown config key 'SED' in .* Did you mean 'SEED'\?"),
        ("SOLVER: 3\n", [], "unknown config key 'SOLVER'"),
        ("SEED: 1\n", ["SEDE", "1"], r"unknown config key 'SEDE' in the command line. Did you mean 'SEED'\?"),
        ("SEED: 1\n", ["SEED"], "KEY VALUE pairs, got 1 words: SEED"),
        ("SEED: [1, 2]\n", [], "c.yaml: Type mismatch"),
        ("", [], "c.yaml is empty"),
        ("SEED: {1\n", [], "cannot be read as a YAML config"),
        ("SEED: !!python/object/apply:os.getcwd []\n", [], "cannot be read as a YAML config"),
        ("_BASE_: absent.yaml\n", [], "absent.yaml"),
    ],
)
def test_what_is_refused(tmp_path: Path, yaml: str, overrides: list[str], message: str) -> None:
    (tmp_path / "c.yaml").write_text(yaml)
    with pytest.raises(InputError, match=message):
        load_config(defaults(), str(tmp_path / "c.yaml"), overrides)


def test_a_missing_file_lists_the_packaged_ones() -> None:
    with pytest.raises(InputError, match=r"config file 'nowhere.yaml' does not exist(.|\n)*configs/"):
        find_config("nowhere.yaml")


def test_packaged_configs_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = next(PACKAGED.rglob("*.yaml"))
    monkeypatch.chdir(tmp_path)
    assert find_config(str(some.relative_to(PACKAGED))) == some
    assert find_config(str(Path("configs") / some.relative_to(PACKAGED))) == some


def test_a_whole_number_serves_where_a_float_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("SOLVER:\n  BASE_LR: 1\n")
    assert load_config(defaults(), str(tmp_path / "c.yaml")).SOLVER.BASE_LR == 1.0
    cfg = load_config(defaults(), None, ["SOLVER.BASE_LR", "2", "SEED", "3", "OUTPUT_DIR", "4"])
    assert (cfg.SOLVER.BASE_LR, type(cfg.SOLVER.BASE_LR), cfg.SEED) == (2.0, float, 3)


def test_a_fraction_does_not_serve_where_a_whole_number_is_the_default() -> None:
    with pytest.raises(InputError, match="the command line: Type mismatch"):
        load_config(defaults(), None, ["SEED", "1.5"])
