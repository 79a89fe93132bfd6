"""Starting several processes: what the command says and with which code it ends when they refuse, crash, stop, die."""

import subprocess
import sys

import pytest
import torch

from clsa.configs.command import InputError
from clsa.configs.launch import Machines, launch, start_processes

#: A file of its own: the new processes import what they are to do.
WORK = """
import os
import signal
import time

from clsa.configs.command import InputError
from clsa.configs.launch import LeaveTogether
from clsa.configs.stop_signals import handled


def crash(process):
    raise RuntimeError("a defect of ours")


def die(process):
    os.kill(os.getpid(), signal.SIGKILL)


def stop(process):
    received = []
    with handled(lambda number, _: received.append(number)):
        os.kill(os.getppid(), signal.SIGUSR1)
        while not received:
            time.sleep(0.01)
    raise LeaveTogether(75)


def exchange(process, path):
    import torch

    mine = torch.tensor([[1.0 + process.rank]])
    assert process.sum(mine).tolist() == [[3.0]]
    assert process.mean(mine).tolist() == [[1.5]]
    assert mine.tolist() == [[1.0 + process.rank]]
    assert process.concatenated(mine).tolist() == [[1.0], [2.0]]
    assert process.broadcast(("of", process.rank)) == ("of", 0)
    assert process.gather({process.rank}) == ([{0}, {1}] if process.is_main else None)
    norm = torch.nn.BatchNorm1d(1)
    norm.running_mean += process.rank
    process.broadcast_buffers(norm)
    assert norm.running_mean.tolist() == [0.0]
    (path / str(process.rank)).write_text(str(process.device))
    process.gather(None)  # both have written
    if process.rank == 1:
        raise InputError("no such thing")
    time.sleep(600)  # ended by the other one's failure
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "work_of_a_test.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    import work_of_a_test

    yield work_of_a_test
    del sys.modules["work_of_a_test"]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("crash", 1, "RuntimeError: a defect of ours"),
        ("die", 128 + 9, "error: process 0 was ended by SIGKILL (too little memory?)"),
        ("stop", 75, ""),
    ],
)
def test_how_a_process_ends_is_how_the_command_ends(work, name, code, said, capfd):
    with pytest.raises(SystemExit) as ended:
        start_processes(getattr(work, name), 1, False)
    assert ended.value.code == code
    error = capfd.readouterr().err
    assert said in error
    assert ("Traceback" in error) == (name == "crash")


def test_what_two_processes_tell_each_other_and_that_one_refuses(work, tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        start_processes(work.exchange, 2, False, tmp_path)
    assert [(tmp_path / name).read_text() for name in "01"] == ["cpu", "cpu"]
    assert ended.value.code == 1
    error = capfd.readouterr().err
    assert "error in process 1: no such thing" in error
    assert "Traceback" not in error


def test_alone_nothing_is_started():
    done = []
    launch(lambda process, word: done.append((process.rank, process.world_size, str(process.device), word)), 0, "x")
    assert done == [(0, 1, "cpu", "x")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((2, 2, "tcp://a:1"), "--machine-rank is 2 with --num-machines 2: .* it must be 0 to 1"),
        ((2, -1, "tcp://a:1"), "--machine-rank is -1"),
        ((0, 0, "auto"), "--machine-rank is 0 with --num-machines 0"),
        ((2, 0, "auto"), "--dist-url is auto with --num-machines 2: give tcp://HOST:PORT, a free port of machine 0"),
        ((2, 0, "tcp://a"), "--dist-url is tcp://a with"),
        ((1, 0, "file:///a"), "--dist-url is file:///a with"),
    ],
)
def test_machines_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        Machines(*given)


def test_what_cannot_be_started(monkeypatch):
    with pytest.raises(InputError, match="--num-gpus is -1, it must be 0"):
        launch(print, -1)
    with pytest.raises(InputError, match=f"999 GPUs are asked for, PyTorch sees {torch.cuda.device_count()}"):
        launch(print, 999)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="--num-machines is 2 under torchrun"):
        launch(print, 0, machines=Machines(2, 0, "tcp://localhost:29500"))


def test_a_command_line_does_not_wait_for_pytorch():
    code = "import sys, clsa.configs.launch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
