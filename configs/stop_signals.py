"""The signals by which a scheduler asks for a stop: SIGTERM, and SIGUSR1, which SLURM sends ahead of the time limit."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextlib.contextmanager
def handled(handler: Callable) -> Iterator[None]:
    """Within the block :data:`SIGNALS` call ``handler(number, frame)``. In a thread that cannot have them: nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
