"""Running stages: order, what is skipped, what runs again and why, resuming, failing, being killed. Real processes."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clsa.configs.command import InputError
from clsa.reproduce import locks, stamp
from clsa.reproduce.progress import Progress, clock
from clsa.reproduce.runner import ToBeContinued, run_stages
from clsa.reproduce.stage import Stage
from clsa.reproduce.status import standings


@dataclass(frozen=True)
class Script(Stage):
    """A stage whose process is a few lines of Python, with the stage's arguments, in the stage's folder."""

    code: str = ""

    def command(self, resume: bool = False) -> list[str]:
        words = ["--resume"] if resume else []
        return [sys.executable, "-c", textwrap.dedent(self.code), str(self.folder), *words, *self.arguments]


def script(output: Path, name: str, code: str, needs=(), inputs=(), **more) -> Script:
    folder = output / name
    return Script(
        kind="data",
        method="",
        name=name,
        folder=folder,
        script="clsa-data",
        arguments=more.pop("arguments", ()),
        inputs=tuple(inputs),
        outputs=(folder / "out.txt",),
        needs=tuple(needs),
        code="import sys, pathlib; folder = pathlib.Path(sys.argv[1])\n" + textwrap.dedent(code),
        **more,
    )


WRITE = "(folder / 'out.txt').write_text('made')"


def run(output: Path, *stages: Script, jobs: int = 1) -> None:
    run_stages(stages, stages, output, jobs, 1)


def log(stage: Stage) -> str:
    return (stage.folder / stamp.LOG).read_text(encoding="utf-8")


def test_stages_run_after_what_they_need_and_are_skipped_the_next_time(tmp_path, capsys) -> None:
    first = script(tmp_path, "first", "(folder / 'out.txt').write_text('1')")
    copy = "(folder / 'out.txt').write_text((folder.parent / 'first/out.txt').read_text() + '2')"
    second = script(tmp_path, "second", copy, needs=["first"], inputs=[first.outputs[0]])
    run(tmp_path, first, second)
    assert second.outputs[0].read_text() == "12"
    capsys.readouterr()
    run(tmp_path, first, second)
    shown = capsys.readouterr().out
    assert shown.count("stands, skipped") == 2
    assert "starts" not in shown


@pytest.fixture
def standing(tmp_path: Path) -> Script:
    """A stage that ran, with a config on a base and an input file."""
    (tmp_path / "base.yaml").write_text("B: 1\n")
    (tmp_path / "config.yaml").write_text("_BASE_: base.yaml\nA: 1\n")
    (tmp_path / "input.txt").write_text("input")
    files = {"inputs": [tmp_path / "input.txt"], "config_files": (tmp_path / "config.yaml",)}
    stage = script(tmp_path / "out", "stage", WRITE, **files)
    run(tmp_path / "out", stage)
    assert stamp.why_not_standing(stage, tmp_path / "out") is None
    return stage


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("input.txt", "other", "inputs changed"),
        ("config.yaml", "_BASE_: base.yaml\nA: 2\n", "config changed"),
        ("base.yaml", "B: 2\n", "config changed"),
        ("out/stage/out.txt", "tampered", "out.txt changed"),
        ("out/stage/out.txt", None, "out.txt is missing"),
        ("out/stage/stage.json", "{", "has not run"),
        ("config.yaml", "A: 1\n# a comment\n_BASE_: base.yaml\n", None),
    ],
)
def test_what_a_result_stands_on(standing, tmp_path, name, content, reason) -> None:
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    assert stamp.why_not_standing(standing, tmp_path / "out") == reason


def test_a_stage_that_does_not_stand_runs_again_in_an_empty_folder(standing, tmp_path) -> None:
    (standing.folder / "left over").touch()
    standing.inputs[0].write_text("other")
    run(tmp_path / "out", standing)
    assert stamp.why_not_standing(standing, tmp_path / "out") is None
    assert not (standing.folder / "left over").exists()


def test_other_arguments_and_another_version_are_changes(tmp_path, monkeypatch) -> None:
    stage = script(tmp_path, "stage", WRITE, arguments=("--to", str(tmp_path / "stage")))
    run(tmp_path, stage)
    other = replace(stage, arguments=("--to", str(tmp_path / "elsewhere")))
    assert stamp.why_not_standing(other, tmp_path) == "command changed"
    sibling = replace(stage, arguments=("--to", f"{tmp_path}2/stage"))  # begins like the folder, and lies outside
    assert stamp.why_not_standing(sibling, tmp_path) == "command changed"
    monkeypatch.setattr(stamp.metadata, "version", lambda name: "99")
    assert stamp.why_not_standing(stage, tmp_path) == "version changed"


def test_where_a_run_its_configs_its_data_and_its_checkpoints_lie_is_no_change(tmp_path) -> None:
    def laid_out(root: Path) -> tuple[Script, Path]:
        out, config, data, given = root / "out", root / "configs" / "a.yaml", root / "data", root / "mine.pth"
        arguments = ("--config-file", str(config), "--data", str(data / "VOC2007"), str(given), str(out / "stage"))
        outside = {"DATA": data, "CHECKPOINT": given}
        more = {"arguments": arguments, "config_files": (config,), "outside": outside, "inputs": [given]}
        return script(out, "stage", WRITE, **more), out

    here, there = tmp_path / "here", tmp_path / "there"
    (here / "configs").mkdir(parents=True)
    (here / "configs" / "a.yaml").write_text("A: 1\n")
    (here / "mine.pth").write_text("weights")
    stage, out = laid_out(here)
    run(out, stage)
    shutil.copytree(here, there)
    moved, out = laid_out(there)
    assert stamp.why_not_standing(moved, out) is None
    (there / "mine.pth").write_text("others")
    assert stamp.why_not_standing(moved, out) == "inputs changed"
    (there / "configs" / "a.yaml").rename(there / "configs" / "b.yaml")
    renamed = replace(moved, config_files=(there / "configs" / "b.yaml",))  # a config's name is the protocol's
    assert stamp.why_not_standing(renamed, out) == "command changed"
    (there / "mine.pth").unlink()
    assert stamp.why_not_standing(renamed, out) == f"its input {there / 'mine.pth'} is missing"


def test_a_folder_of_images_counts_as_the_list_of_its_files_and_sizes(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"12")
    before = stamp.fingerprint(tmp_path)
    (tmp_path / "sub" / "a.jpg").write_bytes(b"34")
    assert stamp.fingerprint(tmp_path) == before
    (tmp_path / "sub" / "a.jpg").write_bytes(b"123")
    assert stamp.fingerprint(tmp_path) != before


def test_a_failing_stage_names_itself_its_last_lines_and_its_log(tmp_path) -> None:
    stage = script(tmp_path, "broken", "print('one'); print('the reason', file=sys.stderr); sys.exit(3)")
    after = script(tmp_path, "after", WRITE, needs=["broken"])
    with pytest.raises(InputError) as caught:
        run(tmp_path, stage, after)
    message = str(caught.value)
    assert "stage broken failed: exit code 3" in message
    assert "the reason" in message
    assert str(stage.folder / "stage.log") in message
    assert not after.folder.exists()
    assert stamp.why_not_standing(stage, tmp_path) == "unfinished"


def test_a_stage_that_leaves_no_output_has_failed(tmp_path) -> None:
    with pytest.raises(InputError, match=r"stage lazy failed: it did not write out\.txt"):
        run(tmp_path, script(tmp_path, "lazy", "pass"))


UNTIL_RESUMED = """
(folder / 'last_checkpoint').write_text('checkpoint_5')
if '--resume' not in sys.argv: sys.exit('killed')
(folder / 'out.txt').write_text('resumed')
"""


def test_an_unfinished_stage_goes_on_from_its_checkpoint_but_not_from_another_ones(tmp_path) -> None:
    stage = script(tmp_path, "train", UNTIL_RESUMED, checkpoints="last_checkpoint")
    with pytest.raises(InputError, match="killed"):
        run(tmp_path, stage)
    other = replace(stage, arguments=("SEED", "1"))
    with pytest.raises(InputError, match="killed"):  # started afresh: another command than the one that was stopped
        run(tmp_path, other)
    run(tmp_path, other)
    assert stage.outputs[0].read_text() == "resumed"
    assert "(resumed)" in log(stage)
    assert stamp.read_stamp(stage.folder)["seconds"] > 0


def test_files_of_somebody_else_are_not_removed(tmp_path) -> None:
    stage = script(tmp_path, "stage", WRITE)
    stage.folder.mkdir()
    (stage.folder / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="holds files that clsa-reproduce did not write"):
        run(tmp_path, stage)
    assert (stage.folder / "thesis.tex").read_text() == "years"


def test_only_a_part_needs_the_rest_to_stand(tmp_path) -> None:
    first = script(tmp_path, "first", WRITE)
    second = script(tmp_path, "second", WRITE, needs=["first"], inputs=[first.outputs[0]])
    with pytest.raises(
        InputError, match=r"second needs first, which does not stand: has not run\. Run it first: --only data"
    ):
        run_stages([second], [first, second], tmp_path, 1, 1)
    run(tmp_path, first)
    run_stages([second], [first, second], tmp_path, 1, 1)
    assert second.outputs[0].exists()


def test_independent_stages_run_side_by_side(tmp_path) -> None:
    """Each waits for the other to have started: one after the other they would never end."""
    wait = """
    import time
    (folder / 'started').touch()
    other = folder.parent / {!r} / 'started'
    end = time.monotonic() + 20
    while not other.exists():
        if time.monotonic() > end: sys.exit('alone')
        time.sleep(0.02)
    (folder / 'out.txt').write_text(__import__('os').environ['OMP_NUM_THREADS'])
    """
    stages = [
        script(tmp_path, "a", textwrap.dedent(wait).format("b")),
        script(tmp_path, "b", textwrap.dedent(wait).format("a")),
    ]
    run_stages(stages, stages, tmp_path, 2, 3)
    assert [stage.outputs[0].read_text() for stage in stages] == ["3", "3"]


def test_a_failure_stops_the_stage_beside_it(tmp_path) -> None:
    slow = script(tmp_path, "slow", "import time; (folder / 'started').touch(); time.sleep(60)")
    fails = script(
        tmp_path,
        "fails",
        "import time\nwhile not (folder.parent / 'slow/started').exists(): time.sleep(0.02)\nsys.exit('no')",
    )
    begun = time.monotonic()
    with pytest.raises(InputError, match="stage fails failed"):
        run(tmp_path, slow, fails, jobs=2)
    assert time.monotonic() - begun < 20
    assert stamp.read_stamp(slow.folder)["state"] == "stopped"


def test_progress_bars_stay_out_of_the_log(tmp_path) -> None:
    bar = r"sys.stderr.write('\r 10% of it'); sys.stderr.write('\r 99% of it\n'); print('Ende gut ✓')"
    stage = script(tmp_path, "bar", f"{bar}\n{WRITE}")
    run(tmp_path, stage)
    assert "10%" not in log(stage)
    assert "99% of it\nEnde gut ✓\n" in log(stage)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_reproduce_runner import script
from clsa.reproduce.runner import run_stages, terminable
out = Path({out!r})
stage = script(out, 'endless', "import time, os; (folder / 'pid').write_text(str(os.getpid())); time.sleep(60)")
with terminable():
    run_stages([stage], [stage], out, 1, 1)
"""


def _start_endless(out: Path) -> tuple[subprocess.Popen, int]:
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = out / "endless" / "pid"
    end = time.monotonic() + 30
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return parent, int(pid.read_text())


def test_terminating_the_run_ends_its_stages(tmp_path) -> None:
    parent, child = _start_endless(tmp_path)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert json.loads((tmp_path / "endless" / "stage.json").read_text())["state"] == "stopped"


def test_a_stage_that_outlived_a_killed_run_keeps_the_folder_locked(tmp_path, monkeypatch) -> None:
    parent, child = _start_endless(tmp_path)
    parent.kill()
    parent.wait(10)
    stage = script(tmp_path, "endless", WRITE)
    try:
        monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.2)
        with pytest.raises(InputError, match="another clsa-reproduce, or a stage that one started, is at work"):
            run(tmp_path, stage)
    finally:
        os.kill(child, signal.SIGKILL)
    monkeypatch.undo()
    run(tmp_path, stage)
    assert stage.outputs[0].read_text() == "made"


def test_the_live_line_is_redrawn_on_a_terminal_and_rare_elsewhere(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    for stream, expected in ((Terminal(), True), (io.StringIO(), False)):
        progress = Progress(4, 600, stream)
        progress._last_drawn -= 5
        progress.running([("moco_v2/pretrain", 65.2, 300, "step 40 of 560 " + "x" * 100)])
        drawn = stream.getvalue()
        assert drawn.startswith("\r\x1b[K[ 0/4] total 0:00 of about 10:00 | moco_v2/pretrain 1:05 of about") is expected
        assert len(drawn.split("\x1b[K")[-1]) < 80


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 7, 754, 3723)] == ["0:00", "0:07", "12:34", "1:02:03"]


def test_stages_run_alone_beside_each_other_leave_the_stamps_of_a_run(tmp_path) -> None:
    first = script(tmp_path, "first", WRITE)
    second = script(tmp_path, "second", WRITE, needs=["first"], inputs=[first.outputs[0]])
    third = script(tmp_path, "third", WRITE)
    plan = [first, second, third]
    with pytest.raises(InputError, match="second needs first, which does not stand: has not run"):
        run_stages([second], plan, tmp_path, 1, 1, beside_others=True)
    with locks.folder_lock(tmp_path, shared=True):  # another task of an array is at work
        for one in plan:
            run_stages([one], plan, tmp_path, 1, 1, beside_others=True)
    assert [row.state for row in standings(plan, tmp_path)] == ["done"] * 3
    before = first.outputs[0].stat().st_mtime_ns
    run(tmp_path, *plan)
    assert first.outputs[0].stat().st_mtime_ns == before


def test_one_stage_is_not_run_twice_at_a_time_nor_beside_a_whole_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.2)
    only = script(tmp_path, "only", WRITE)
    with (
        locks.stage_lock(only, tmp_path),
        pytest.raises(InputError, match="only is at work already, in another process"),
    ):
        run_stages([only], [only], tmp_path, 1, 1, beside_others=True)
    with locks.folder_lock(tmp_path), pytest.raises(InputError, match="another clsa-reproduce"):
        run_stages([only], [only], tmp_path, 1, 1, beside_others=True)


def test_a_stage_that_leaves_with_75_is_to_be_continued(tmp_path) -> None:
    code = "(folder / 'last_checkpoint').touch(); sys.exit(0 if '--resume' in sys.argv else 75)"
    saved = replace(script(tmp_path, "saved", code), checkpoints="last_checkpoint", outputs=())
    with pytest.raises(ToBeContinued, match="saved was told to end and saved its state"):
        run(tmp_path, saved)
    assert standings([saved], tmp_path)[0].state == "to do"
    run(tmp_path, saved)
    assert standings([saved], tmp_path)[0].state == "done"
