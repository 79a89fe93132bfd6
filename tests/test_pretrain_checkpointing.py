"""Checkpoints are whole or absent, and are resumed only into the run that wrote them."""

import pytest
import torch

from clsa.configs.command import InputError
from clsa.configs.run_files import plain
from clsa.pretrain.checkpointing import (
    check_same_run,
    last_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    where_to_start,
)
from clsa.pretrain.config import get_cfg


def content(iteration=0, **more):
    return {"iteration": iteration, "query": {"weight": torch.arange(1000.0)}, **more}


def test_roundtrip_and_pointer(tmp_path):
    path = save_checkpoint(tmp_path, content(12))
    assert path.name == "checkpoint_0000012.pth"
    assert (tmp_path / "last_checkpoint").read_text() == "checkpoint_0000012.pth"
    loaded = load_checkpoint(last_checkpoint(tmp_path))
    assert (loaded["format"], loaded["version"], loaded["iteration"]) == ("clsa-pretrain", 1, 12)
    assert torch.equal(loaded["query"]["weight"], torch.arange(1000.0))
    assert not list(tmp_path.glob("*.partial"))


def test_keeps_the_newest_and_never_drops_the_one_it_wrote(tmp_path):
    for iteration in (10, 20, 30):
        save_checkpoint(tmp_path, content(iteration), keep=2)
    assert [path.name[-6:-4] for path in list_checkpoints(tmp_path)] == ["20", "30"]
    save_checkpoint(tmp_path, content(25), keep=1)  # after a step back to 20
    assert [path.name[-6:-4] for path in list_checkpoints(tmp_path)] == ["25", "30"]
    assert last_checkpoint(tmp_path).name == "checkpoint_0000025.pth"


def test_an_output_dir_in_use_wants_resume(tmp_path):
    assert where_to_start(tmp_path, resume=False) is None
    assert where_to_start(tmp_path, resume=True) is None
    path = save_checkpoint(tmp_path, content(3))
    assert where_to_start(tmp_path, resume=True) == path
    with pytest.raises(InputError, match=r"checkpoint_0000003.pth. Give --resume .* or another OUTPUT_DIR"):
        where_to_start(tmp_path, resume=False)


@pytest.mark.parametrize("keep_bytes", [0, 100, 3000])
def test_a_truncated_checkpoint_is_named_with_the_way_out(tmp_path, keep_bytes):
    save_checkpoint(tmp_path, content(10))
    path = save_checkpoint(tmp_path, content(20))
    path.write_bytes(path.read_bytes()[:keep_bytes])
    message = (
        r"checkpoint_0000020.pth cannot be read: it is cut off.*name of another one, such as checkpoint_0000010.pth"
    )
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


def test_a_checkpoint_that_would_run_code_is_refused_unrun(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / "checkpoint_0000001.pth"
    torch.save({"format": "clsa-pretrain", "version": 1, "iteration": Trap()}, path)
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("foreign", "message"),
    [
        ({"state_dict": {}, "arch": "resnet50"}, "not a checkpoint of clsa-pretrain: its format is None"),
        ([1, 2], "not a checkpoint of clsa-pretrain: its format is 'list'"),
        ({"format": "clsa-pretrain", "version": 2}, "has checkpoint version 2, this program reads 1"),
    ],
)
def test_foreign_checkpoints_are_refused(tmp_path, foreign, message):
    torch.save(foreign, tmp_path / "foreign.pth")
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path / "foreign.pth")


def test_a_pointer_to_nothing_is_refused(tmp_path):
    (tmp_path / "last_checkpoint").write_text("checkpoint_0000009.pth")
    with pytest.raises(
        InputError, match=r"names checkpoint_0000009.pth, which is not in that folder. There is no other"
    ):
        last_checkpoint(tmp_path)


def test_another_order_of_the_images_is_refused_and_an_older_checkpoint_says_that_it_does_not_know(tmp_path):
    saved = content(5, config=plain(get_cfg()), images=100, processes=1)
    (warning,) = check_same_run(tmp_path, saved, get_cfg(), images=100, processes=1, order_sha256="ab")
    assert warning.startswith("an older checkpoint, without the order of the images")
    saved["order_sha256"] = "ab"
    assert check_same_run(tmp_path, saved, get_cfg(), images=100, processes=1, order_sha256="ab") == []
    with pytest.raises(InputError, match=r"have other names or another order than that run's.* Resume with the"):
        check_same_run(tmp_path, saved, get_cfg(), images=100, processes=1, order_sha256="cd")


def test_only_the_same_run_is_resumed(tmp_path):
    saved = content(5, config=plain(get_cfg()), images=100, processes=2)
    cfg = get_cfg()
    assert check_same_run(tmp_path, saved, cfg, images=100, processes=2) == []
    del saved["config"]["MODEL"]["NORM"]  # written before that key existed, when there was only its default
    assert check_same_run(tmp_path, saved, cfg, images=100, processes=2) == []
    cfg.SOLVER.LR, cfg.OUTPUT_DIR = 0.01, "elsewhere"
    differences = check_same_run(tmp_path, saved, cfg, images=100, processes=1)
    assert differences[:2] == ["OUTPUT_DIR was 'output/pretrain', now 'elsewhere'", "SOLVER.LR was 0.03, now 0.01"]
    assert "2 process(es) before, 1 now" in differences[2]
    cfg.METHOD, cfg.MODEL.DEPTH, cfg.LOSS.QUEUE_LENGTH = "moco_v2", 18, 512
    with pytest.raises(InputError) as caught:
        check_same_run(tmp_path, saved, cfg, images=99, processes=2)
    for difference in (
        "METHOD was 'clsa_single', now 'moco_v2'",
        "MODEL.DEPTH was 50, now 18",
        "LOSS.QUEUE_LENGTH was 65536, now 512",
        "the data folder had 100 images, now 99",
        "Resume with the settings of that run, or start anew in another OUTPUT_DIR",
    ):
        assert difference in str(caught.value)
