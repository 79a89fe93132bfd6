"""What every ``clsa-*`` command owes its user: one clear sentence instead of a traceback, and an honest exit code."""

import functools
import os
import sys
from collections.abc import Callable, Sequence


class InputError(ValueError):
    """The user's input cannot be used. The message says what was got, what is needed and what to do."""


def command(main: Callable[[Sequence[str] | None], int | None]) -> Callable[[Sequence[str] | None], int]:
    """Wrap ``main(argv)`` of a console script: an :class:`InputError` is printed as one sentence, exit code 1.

    Any other exception keeps its traceback: it is our defect, and the traceback is what we need to be sent.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv) or 0
        except InputError as error:
            print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # `clsa-... | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit raises it again
            return 141
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    return run
