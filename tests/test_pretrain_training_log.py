"""metrics.json: what a line holds, what a resumed run keeps, and losses that are not finite."""

import json
import math

import pytest
import torch

from clsa.configs.processes import Process
from clsa.pretrain.methods import Step
from clsa.pretrain.training_log import MetricsFiles, NonFiniteLoss, StepWindow, drop_lines_after

ALONE = Process(0, 1, torch.device("cpu"))


def step(contrastive, ddm=2.0):
    values = [torch.tensor(value) if value is not None else None for value in (contrastive, ddm, 50.0, 25.0)]
    return Step(*values, torch.tensor(1.5) if ddm is not None else None)


def test_a_line_holds_the_means_of_its_window():
    window = StepWindow(ALONE)
    for iteration, contrastive in ((1, 1.0), (2, 2.0)):
        window.images_arrived()
        window.add(iteration, torch.tensor(contrastive + 2.0), step(contrastive))
    record = window.close(8, beta=1.0, lr=0.1)
    assert set(record) == {
        *("loss", "loss_contrastive", "loss_ddm", "acc1_bank", "acc1_batch", "ddm_target_entropy"),
        *("beta", "lr", "images_per_second", "data_seconds", "step_seconds"),
    }
    assert (record["loss"], record["loss_contrastive"], record["loss_ddm"]) == (3.5, 1.5, 2.0)
    assert (record["acc1_bank"], record["acc1_batch"], record["ddm_target_entropy"]) == (50.0, 25.0, 1.5)
    assert record["images_per_second"] > 0
    window.add(3, torch.tensor(9.0), step(9.0, ddm=None))
    record = window.close(8, beta=None, lr=0.1)
    assert record["loss"] == 9.0
    assert record["loss_ddm"] is None
    assert record["ddm_target_entropy"] is None


def test_the_first_loss_that_is_not_finite_is_named_with_its_parts():
    window = StepWindow(ALONE)
    window.add(6, torch.tensor(3.0), step(1.0))
    window.add(7, torch.tensor(math.inf), step(1.0, ddm=math.inf))
    window.add(8, torch.tensor(math.nan), step(math.nan, ddm=math.nan))
    message = "not finite at step 7: loss inf, loss_contrastive 1, loss_ddm inf, acc1_bank 50"
    with pytest.raises(NonFiniteLoss, match=message):
        window.check_finite()


def test_a_resumed_run_drops_the_lines_that_it_will_write_again(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 5, "loss": 1.0}\n{"iteration": 10, "loss": 2.0}\n{"iteration": 15, "lo')
    drop_lines_after(path, 9)
    assert path.read_text() == '{"iteration": 5, "loss": 1.0}\n'
    files = MetricsFiles(tmp_path, 9)
    files.write({"iteration": 10, "loss": 3.0, "loss_ddm": None})
    files.close()
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [1.0, 3.0]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
