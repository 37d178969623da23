"""Faster start of a process, without changing what it computes."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper


@contextmanager
def importing() -> Iterator[None]:
    """Import large packages without the garbage collector, and have it leave alone what they made.

    PyTorch alone makes some 200,000 objects that stay until the end. The collector goes through them again and again
    while they come, and once more at exit: a third of the time that a short run takes.
    """
    was_enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:  # else there is nothing new but a job's own garbage, which would stay for good
            gc.freeze()
            atexit.register(_thaw)
        if was_enabled:
            gc.enable()


def _thaw() -> None:
    """Let the collector have everything back at exit where Triton is there, which else prints what "leaked"."""
    if "triton" in sys.modules:
        gc.unfreeze()


def print_anything() -> None:
    """Have standard output and error escape what their encoding lacks, such as × in a terminal without UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(OSError, ValueError):  # a stream that is closed, or has become another one
                stream.reconfigure(errors="backslashreplace")


def enter_directory() -> None:
    """Work in the directory that the environment variable MNIST_MLP_DIRECTORY names, as paths may be relative to it.

    Ray calls it in each worker: those of a cluster start in whatever directory the cluster was started in.
    """
    os.chdir(os.environ["MNIST_MLP_DIRECTORY"])
