"""What the terminal shows while stages run: one line per stage as it ends, and below it one line that lives."""

import shutil
import sys
import time
from typing import TextIO


class Progress:
    """Counts stages and prints. On a terminal the live line is redrawn; elsewhere it is printed every 30 seconds."""

    def __init__(self, total: int, expected_seconds: float, stream: TextIO | None = None) -> None:
        """``expected_seconds`` of all stages that are to run; 0 where it is not known."""
        self.total = total
        self.finished = 0
        self.expected_seconds = expected_seconds
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.started = time.monotonic()
        self._last_drawn = self.started

    def stage_over(self, name: str, what: str) -> None:
        """A stage has ended, or was skipped: ``what`` happened, and how long it took."""
        self.finished += 1
        self.say(f"[{self.finished:>2}/{self.total}] {name:<44} {what}")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._write(("\r\x1b[K" if self.live else "") + line + "\n")

    def running(self, stages: list[tuple[str, float, float, str]]) -> None:
        """Redraw the live line. ``stages``: name, elapsed and expected seconds, last words of its output."""
        now = time.monotonic()
        if now - self._last_drawn < (0.5 if self.live else 30):
            return
        self._last_drawn = now
        parts = [f"{name} {_of(elapsed, expected)}" for name, elapsed, expected, _ in stages]
        whole = f"total {_of(now - self.started, self.expected_seconds)}"
        line = f"[{self.finished:>2}/{self.total}] {whole} | {' | '.join(parts)}"
        if len(stages) == 1 and stages[0][3]:
            line += f" | {stages[0][3]}"
        if self.live:
            width = shutil.get_terminal_size().columns
            self._write(f"\r\x1b[K{line[: width - 1]}")
        else:
            self._write(line[:200] + "\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def clock(seconds: float) -> str:
    """``0:07``, ``12:34``, ``1:02:03``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _of(elapsed: float, expected: float) -> str:
    return clock(elapsed) + (f" of about {clock(expected)}" if expected else "")
