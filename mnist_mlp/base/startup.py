"""Startup of a process: faster imports, safe output, working directory."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper


@contextmanager
def importing() -> Iterator[None]:
    """Import large packages with the garbage collector off, and exempt their objects from later collections.

    PyTorch creates some 200,000 objects that live until exit. Scanning them repeatedly during import, and again at
    exit, takes a third of the time of a short run.
    """
    was_enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:  # else nothing new is to be kept, but garbage of earlier jobs might be
            gc.freeze()
            atexit.register(_thaw)
        if was_enabled:
            gc.enable()


def _thaw() -> None:
    """Unfreeze at exit if Triton is loaded: otherwise Triton reports the frozen objects as leaks."""
    if "triton" in sys.modules:
        gc.unfreeze()


def escape_unencodable_output() -> None:
    """Print escapes for characters that the encoding of standard output or standard error lacks, such as ×."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(OSError, ValueError):  # a stream that is closed or detached
                stream.reconfigure(errors="backslashreplace")


def enter_directory() -> None:
    """Change to the directory in the environment variable MNIST_MLP_DIRECTORY, which relative paths refer to.

    Ray calls this function in each worker: workers start in the directory where the cluster was started.
    """
    os.chdir(os.environ["MNIST_MLP_DIRECTORY"])
