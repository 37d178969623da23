"""Ctrl-C: handlers for this process and its workers. Imports little, since it has to be there first."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mnist_mlp.base.environ import environment_variables

INTERRUPTED = 130  # exit status, as shells have it for SIGINT


def end_on_interrupt() -> None:
    """On Ctrl-C, have the process say so and end at once.

    Python's own way is an exception, which becomes a traceback while packages are imported, is swallowed by some of
    them, and aborts the process from within PyTorch's C++. There is nothing to unwind: results are written atomically.
    """

    def end(number: int, frame: object) -> None:
        os.write(2, b"\ninterrupted\n")
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored, as under nohup
        signal.signal(signal.SIGINT, end)


def leave_interrupts_to_the_parent() -> None:
    """Have a worker take no notice of Ctrl-C: the process that started it ends it, and tells the user."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:
            return  # a launcher of threads: only the main one may, and Ctrl-C is that one's affair


@contextmanager
def kept_from_workers(leave: Callable[[], object]) -> Iterator[None]:
    """Have Ctrl-C call a function of this process, and none of the processes that it starts take notice.

    A terminal sends it to all of them, and those that are importing just then would print tracebacks. A process
    inherits which signals its parent's thread has blocked, so all threads block this one, and one waits for it.

    Args:
        leave: called in another thread.
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

    # Resource trackers remove what stopped workers leave behind. That is no leak to warn of.
    filters = [*filter(None, [os.environ.get("PYTHONWARNINGS")]), "ignore:resource_tracker:UserWarning"]
    with environment_variables(PYTHONWARNINGS=",".join(filters)):
        for tracker in (resource_tracker, joblib_tracker):
            tracker.ensure_running()  # before the signal is blocked, since starting a tracker unblocks it
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
