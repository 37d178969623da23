"""Ctrl-C handlers for this process and its workers."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mnist_mlp.base.environ import environment_variables

INTERRUPTED = 130  # exit status of a process that SIGINT ended, by the convention of shells


def end_on_interrupt() -> None:
    """Exit immediately on Ctrl-C, with one line on standard error.

    Python's KeyboardInterrupt prints a traceback during imports, aborts the process inside PyTorch's C++ code, and is
    swallowed by some packages. There is nothing to clean up, since results are written atomically.
    """

    def end(number: int, frame: object) -> None:
        os.write(2, b"\ninterrupted\n")
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup, which ignores it
        signal.signal(signal.SIGINT, end)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C in a worker: its parent process ends the worker and informs the user."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:
            return  # only the main thread may set handlers, and it has its own


@contextmanager
def shield_workers(leave: Callable[[], object]) -> Iterator[None]:
    """Handle Ctrl-C in this process only; child processes do not see it.

    A terminal sends SIGINT to all processes, and children that are still importing would print tracebacks. A child
    inherits the signal mask of the thread that starts it, so all threads block SIGINT and one thread waits for it.

    Args:
        leave: Handler, called in another thread.
    """
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows, where there is nothing to inherit
        yield
        return
    import threading
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as joblib_tracker

    ended = threading.Event()

    def wait() -> None:
        signal.sigwait({signal.SIGINT})
        if not ended.is_set():
            leave()

    # Resource trackers clean up after killed workers, and would report that as leaks.
    filters = [*filter(None, [os.environ.get("PYTHONWARNINGS")]), "ignore:resource_tracker:UserWarning"]
    with environment_variables(PYTHONWARNINGS=",".join(filters)):
        for tracker in (resource_tracker, joblib_tracker):
            tracker.ensure_running()  # before SIGINT is blocked, since starting a tracker unblocks it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        try:
            yield
        finally:
            ended.set()
            assert waiting.ident is not None
            signal.pthread_kill(waiting.ident, signal.SIGINT)
            waiting.join()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
