"""Two processes on the CPU (gloo): keys, queue and losses are those of one process where they must be; they stop and
start again together."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clsa.configs.launch import start_processes
from clsa.configs.loading import load_config
from clsa.configs.processes import Process
from clsa.pretrain.checkpointing import last_checkpoint, load_checkpoint
from clsa.pretrain.config import get_cfg
from clsa.pretrain.key_queue import KeyQueue
from clsa.pretrain.methods import MomentumContrast
from clsa.pretrain.train import pretrain

TESTS = Path(__file__).parent


@pytest.fixture
def small_backbone(monkeypatch):
    """In place of every ResNet."""
    build = runpy.run_path(str(TESTS.parent / "benchmarks" / "kill_resume.py"))["small_backbone"]
    monkeypatch.setattr("clsa.pretrain.networks.build_backbone", build)


def overrides(nine_images, output):
    keys = {"METHOD": "clsa_single", "DATA.TRAIN": nine_images, "OUTPUT_DIR": output, "DATA.WORKERS": 0}
    keys |= {"MODEL.DEPTH": 18, "MODEL.HEAD_HIDDEN": 8, "LOSS.QUEUE_LENGTH": 10}
    keys |= {"WEAK.SIZE": 32, "STRONG.SIZES": "(24,)"}
    keys |= {"SOLVER.BATCH_SIZE": 4, "SOLVER.MAX_ITER": 3, "SOLVER.LOG_PERIOD": 1, "SOLVER.CHECKPOINT_PERIOD": 1}
    return [str(word) for pair in keys.items() for word in pair]


@pytest.fixture(scope="module")
def under_torchrun(nine_images, tmp_path_factory):
    """What the script left: 0.pth and 1.pth of the two processes, and the run that they trained in whole/."""
    folder = tmp_path_factory.mktemp("torchrun")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [
        "--max-restarts",
        "1",
        TESTS / "pretrain_two_processes.py",
        folder,
        *overrides(nine_images, folder / "whole"),
    ]
    subprocess.run([str(word) for word in command], check=True, timeout=600)
    return folder


def test_keys_and_queue_equal_those_of_one_process(under_torchrun):
    results = [torch.load(under_torchrun / f"{rank}.pth", weights_only=True) for rank in range(2)]

    torch.manual_seed(0)
    queue = KeyQueue(10, 3)
    for step in range(7):
        queue.enqueue(torch.arange(6 * step, 6 * step + 6.0)[:, None].repeat(1, 3))
    cfg = get_cfg()
    cfg.merge_from_list(["METHOD", "moco_v2", "MODEL.DEPTH", 18, "LOSS.QUEUE_LENGTH", 10])
    alone = MomentumContrast(cfg, Process(0, 1, torch.device("cpu"))).eval()
    keys = alone.key(torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    for result in results:
        assert torch.equal(result["queue"]["keys"], queue.keys)
        assert result["queue"]["oldest"] == queue.oldest
        torch.testing.assert_close(result["keys"], keys, atol=1e-5, rtol=0)  # shuffled, embedded, put back in order
        assert result["acc1_batch"] == result["acc1_bank"] == 100.0  # query = key: each finds its own
        assert result["mean"].tolist() == [1.5]
    assert torch.equal(results[0]["keys"], results[1]["keys"])


def test_two_processes_share_the_reading_of_the_shards_headers(under_torchrun):
    pytest.importorskip("webdataset", reason="tar shards need the package webdataset")
    results = [torch.load(under_torchrun / f"shards_{rank}.pth", weights_only=True) for rank in range(2)]
    names = [(0, "a0"), (1, "a1"), (1, "b1"), (2, "a2"), (2, "b2")]
    for result in results:
        assert result["images"] == [
            (f"{under_torchrun}/{shard}.tar:{name}.jpg", f"image {name}".ljust(10 + shard)) for shard, name in names
        ]
        assert "1.tar cannot be read" in result["error"]  # whose headers only the second process has read
    assert results[0]["order"] == results[1]["order"]


def test_a_run_of_two_processes_resumes_to_the_same_bytes(nine_images, under_torchrun, tmp_path):
    shutil.copy(under_torchrun / "whole" / "checkpoint_0000001.pth", tmp_path)
    (tmp_path / "last_checkpoint").write_text("checkpoint_0000001.pth")
    start_processes(pretrain, 2, False, load_config(get_cfg(), None, overrides(nine_images, tmp_path)), True)
    whole, resumed = (load_checkpoint(last_checkpoint(folder)) for folder in (under_torchrun / "whole", tmp_path))
    assert whole["iteration"] == resumed["iteration"] == 3
    assert whole["processes"] == len(whole["rng"]) == 2
    for part in ("query", "key", "queue"):
        assert all(torch.equal(tensor, resumed[part][name]) for name, tensor in whole[part].items())
    log = (under_torchrun / "whole" / "log.txt").read_text()
    assert "2 process(es) on cpu" in log
    assert "shuffling BN: each process embeds a random share" in log
    lines = (under_torchrun / "whole" / "metrics.json").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["iteration"] for record in records] == [1, 2, 3]


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.json").read_text().splitlines()]


@pytest.mark.parametrize(
    ("norm", "micro_batches"),
    # FrozenBN: an image's embedding is its own, so it is the same in one batch, two micro-batches or two processes. BN
    # normalises over each micro-batch as over each process's batch, so those two are the same; one large batch is not.
    [("FrozenBN", 1), ("FrozenBN", 2), ("BN", 2)],
)
def test_losses_of_two_processes_are_those_of_one_with_equal_batch(
    nine_images, under_torchrun, tmp_path, small_backbone, norm, micro_batches
):
    words = [*overrides(nine_images, tmp_path), "MODEL.NORM", norm, "SOLVER.MAX_ITER", "5"]
    cfg = load_config(get_cfg(), None, [*words, "SOLVER.ACCUMULATE", str(micro_batches)])
    pretrain(Process(0, 1, torch.device("cpu")), cfg, False)
    of_two = losses(under_torchrun / norm)
    assert len(of_two) == 5
    assert losses(tmp_path) == pytest.approx(of_two, rel=1e-5)
    assert len(set(of_two)) == 5
    ours, theirs = (load_checkpoint(last_checkpoint(folder)) for folder in (tmp_path, under_torchrun / norm))
    torch.testing.assert_close(ours["queue"]["keys"], theirs["queue"]["keys"], atol=1e-5, rtol=0)


def test_a_signal_to_one_process_stops_both_after_the_same_step(under_torchrun):
    """Signalled in its second step: the answer is a step old."""
    assert [torch.load(under_torchrun / f"code_{rank}.pth") for rank in range(2)] == [75, 75]
    assert last_checkpoint(under_torchrun / "signalled").name == "checkpoint_0000003.pth"
    assert "left after step 3 of 6, go on with --resume" in (under_torchrun / "signalled" / "log.txt").read_text()


def test_torchrun_starts_a_run_again_whose_worker_was_killed(under_torchrun):
    log = (under_torchrun / "killed" / "log.txt").read_text()
    assert "steps 1 to 6" in log
    assert "steps 3 to 6" in log or "steps 4 to 6" in log  # the third step's checkpoint may have been under way
    assert last_checkpoint(under_torchrun / "killed").name == "checkpoint_0000006.pth"
    assert len(losses(under_torchrun / "killed")) == 6


def test_a_started_process_that_is_refused_says_why(tmp_path, capfd):
    with pytest.raises(SystemExit) as caught:
        start_processes(pretrain, 1, False, load_config(get_cfg(), None, overrides("/no/such", tmp_path)), False)
    assert caught.value.code == 1
    assert "error: data folder '/no/such' does not exist" in capfd.readouterr().err
