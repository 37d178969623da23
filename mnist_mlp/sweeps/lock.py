"""Lock of a directory: one writing process at a time, released even if that process is killed."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from mnist_mlp.base.errors import UserError
from mnist_mlp.base.record import write_atomically

LOCK_FILE = ".lock"
HOLDER_FILE = ".holder.json"
LOCK_SECONDS = 0.2  # timeout; a holder may be about to exit


class InUse(UserError):
    """A directory that another process is writing to; the message names the process."""


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Hold the exclusive lock of a directory, which is created if missing.

    The operating system releases the lock if the process is killed.

    Raises:
        InUse: Another process holds the lock.
        UserError: The directory is not writable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The lock file is never deleted. Otherwise, a process could lock a new file while another holds the old one.
        lock = FileLock(directory / LOCK_FILE, timeout=LOCK_SECONDS)
        lock.acquire()
        holder = {
            "process": os.getpid(),
            "host": platform.node(),
            "command": " ".join(sys.argv),
            "id": f"h{uuid4().hex}",
        }
        write_atomically(directory / HOLDER_FILE, json.dumps(holder) + "\n")
    except Timeout:
        raise InUse(f"{directory} is in use by another sweep: {_holder(directory)}") from None
    except OSError as error:
        raise UserError(f"{directory}: expected a writable directory: {error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # the directory may have been deleted
            (directory / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


class LockCheck:
    """Check by a worker that no other sweep has taken over the sweep directory.

    A sweep that is killed by SIGKILL cannot stop its workers, so they continue. Once another sweep holds the directory,
    they have to stop, since that sweep trains the same jobs.

    Args:
        directory: Sweep directory.
        holder: Identifier of the sweep that launched the worker (see `holder_of`); None for the current holder.
    """

    def __init__(self, directory: Path, holder: str | None = None) -> None:
        self._directory = directory
        self._holder = holder or holder_of(directory)

    def by_another(self) -> bool:
        """Return whether another sweep holds the directory now."""
        return holder_of(self._directory) not in (None, self._holder)


def holder_of(directory: Path) -> str | None:
    """Return the identifier of the process that holds a directory; None if unknown."""
    try:
        return str(json.loads((directory / HOLDER_FILE).read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _holder(directory: Path) -> str:
    try:
        holder = json.loads((directory / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']} ({holder['command']})"
    except (OSError, ValueError, KeyError):
        return "an unknown process"
