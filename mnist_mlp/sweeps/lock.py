"""Lock of a directory: one writing process at a time, also after a kill."""

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
LOCK_SECONDS = 0.2  # for a holder that is just leaving


class InUse(UserError):
    """Another process writes to a directory; the message names it."""


@contextmanager
def holding(directory: Path) -> Iterator[None]:
    """Be the only one that writes to a directory; the lock goes with the process, however that ends.

    Raises:
        InUse: Another process holds the directory.
        UserError: Nothing can be written there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK_FILE, timeout=LOCK_SECONDS)  # the file stays: a new one could be locked twice
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
        raise UserError(f"{directory}: nothing can be written there: {error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # the directory may be gone
            (directory / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


class Held:
    """Whether a worker's sweep still has its directory.

    A sweep that is killed at once cannot end its workers. They may finish what they do, until another sweep comes to
    the directory, which trains the same jobs.

    Args:
        directory: Sweep directory.
        holder: The sweep that launched the worker, as `holder_of` gave it; None for that which is there now.
    """

    def __init__(self, directory: Path, holder: str | None = None) -> None:
        self._directory = directory
        self._holder = holder or holder_of(directory)

    def by_another(self) -> bool:
        """Return whether another sweep has come to the directory since."""
        return holder_of(self._directory) not in (None, self._holder)


def holder_of(directory: Path) -> str | None:
    """Return an identifier of the process that holds a directory; None if it is unknown."""
    try:
        return str(json.loads((directory / HOLDER_FILE).read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _holder(directory: Path) -> str:
    try:
        holder = json.loads((directory / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']} ({holder['command']})"
    except (OSError, ValueError, KeyError):
        return "it has not said which yet"
