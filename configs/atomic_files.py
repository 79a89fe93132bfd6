"""Files that are written whole or not at all, and the removal of what killed processes leave of them."""

import contextlib
import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError

#: The name of a file that :func:`atomic_write` has not finished.
PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}\.partial")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "wb") -> Iterator[Any]:
    """Open a temporary file beside ``path``; on leaving, flush it to disk and rename it to ``path``.

    A process that is killed leaves the old file or the new one, and it may leave the temporary one, too:
    :func:`remove_leftovers`. If the block raises, nothing changes.

    Raises:
        InputError: the disk is full, or a quota or a limit of the file's size is reached.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes 0600; a shared cluster folder wants the usual rights
            os.replace(temporary, path)  # before the file is closed: the lock ends there
    except BaseException as error:
        written = os.path.getsize(temporary) if os.path.exists(temporary) else 0
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        reason = _no_room(error)
        if reason is not None:
            raise InputError(
                f"{path} cannot be written: {reason} after {written / 2**20:.0f} MiB of it. Make room on that disk and "
                "repeat the command. Nothing is lost: what was there before is still there."
            ) from error
        raise


def remove_leftovers(folder: str | os.PathLike, before: float) -> list[str]:
    """Delete temporary files of :func:`atomic_write` in ``folder`` itself whose writer was killed; their names.

    A file goes only if nobody has written to it since ``before``, in seconds since the epoch, and nobody holds the
    writer's lock, which ends with the writer. Where the file system has no locks, all stay.
    """
    removed = []
    for path in sorted(Path(folder).glob(".*.partial")):
        if not PARTIAL.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            continue
        try:
            with open(path, "r+b") as file:  # writable: NFS grants an exclusive lock on no other file
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_mtime < before:
                    path.unlink()
                    removed.append(path.name)
        except OSError:  # its writer lives, or has just finished; there are no locks; the file is not ours to delete
            continue
    return removed


def _no_room(error: BaseException | None) -> str | None:
    """The system's words for a full disk, where that is behind ``error``: ``torch.save`` raises another one over it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return os.strerror(error.errno)
        error = error.__cause__ or error.__context__
    return None
