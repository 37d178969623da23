"""What Ctrl-C does. Imports next to nothing, as it has to be there before all else."""

import os
import signal

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
