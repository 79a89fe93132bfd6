"""Stopping when the scheduler says so: SIGTERM, or SIGUSR1, which SLURM sends ahead of the time limit.

The step under way is finished and a checkpoint written; then the process leaves with exit code 75 (``EX_TEMPFAIL``,
"try again"), which says: not done, go on with ``--resume``. All processes stop after the same step, whichever of them
was signalled.
"""

import contextlib
import signal

import torch
from torch import distributed as dist

from clsa.configs.launch import LeaveTogether
from clsa.configs.stop_signals import SIGNALS, handled

RESUME_EXIT_CODE = 75


class Interrupted(LeaveTogether):
    """Training was asked to stop and has saved its state; the exit code is 75."""

    def __init__(self) -> None:
        super().__init__(RESUME_EXIT_CODE)


class StopRequest:
    """Whether the ``processes`` of a training are to stop. In a ``with`` block, where the signals only leave a note."""

    def __init__(self, processes: int) -> None:
        self.received = False
        # On the CPU, so that no step waits for a GPU.
        self._group = dist.new_group(backend="gloo") if processes > 1 else None
        self._under_way: tuple[torch.Tensor, dist.Work] | None = None
        self._handlers = contextlib.ExitStack()

    def __enter__(self) -> "StopRequest":
        self._handlers.enter_context(handled(self._note))
        return self

    def __exit__(self, *_) -> None:
        self._handlers.close()

    def agreed(self) -> bool:
        """The same answer in every process, each of which must ask once a step.

        With several it is a step old: who was signalled is asked of all while the next step computes, so that nobody
        waits.
        """
        if self._group is None:
            return self.received
        answer = False
        if self._under_way:
            signalled, work = self._under_way
            work.wait()
            answer = bool(signalled)
        signalled = torch.tensor(int(self.received))
        self._under_way = signalled, dist.all_reduce(signalled, dist.ReduceOp.MAX, self._group, async_op=True)
        return answer

    def leave(self) -> None:
        """Raise :class:`Interrupted` once every process is here: none may end while another still writes."""
        if self._group is not None:
            self._under_way[1].wait()
            dist.barrier(self._group)
        raise Interrupted

    def _note(self, *_) -> None:
        self.received = True


def leave_signals_to_the_trainer(_worker: int) -> None:
    """For a loader's worker: a scheduler signals whole groups of processes, and the last batch is still needed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
