"""Settings of a process that trains: threads, subnormal numbers, TensorFloat-32, memory."""

import functools
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")


def prepare_to_train(threads: int, tf32: bool = False) -> None:
    """Set up this process for training.

    Args:
        threads: of the CPU.
        tf32: whether a GPU's matrix products may round their factors to TensorFloat-32.
    """
    import torch

    keep_freed_memory()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    # Adam's moments of always-black pixels decay into subnormal numbers, on which the CPU is up to 100 times slower.
    torch.set_flush_denormal(True)
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = tf32


@contextmanager
def prepared_to_train(threads: int, tf32: bool = False) -> Iterator[None]:
    """Set up this process for training, and put it back as it was, but for what it does with memory.

    Args:
        threads: of the CPU.
        tf32: as for `prepare_to_train`.
    """
    import torch

    threads_before, flushed_before = torch.get_num_threads(), flushes_denormals()
    tf32_before = torch.cuda.is_available() and torch.backends.cuda.matmul.allow_tf32
    prepare_to_train(threads, tf32)
    try:
        yield
    finally:
        prepare_to_train(threads_before, tf32_before)
        torch.set_flush_denormal(flushed_before)


def prepared(results: Generator[T, None, None], threads: int, tf32: bool = False) -> Iterator[T]:
    """The same results, each computed in a process that is set up for training, and in between is as it was.

    Args:
        results: computed one by one.
        threads: of the CPU.
        tf32: as for `prepare_to_train`.
    """
    with closing(results):
        while True:
            with prepared_to_train(threads, tf32):
                try:
                    result = next(results)
                except StopIteration:
                    return
            yield result


def flushes_denormals() -> bool:
    """Whether this thread takes subnormal numbers for 0; PyTorch sets it, and does not tell."""
    return sys.float_info.min / 2 == 0


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep what a training step frees for the next step, where it is glibc.

    Else the gradients of a step are often given back to the system and taken again, a thousand pages at a time. Whether
    that happens hangs on what was imported before; where it does, a step through autograd takes twice the time.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # as in malloc.h
        mallopt(m_mmap_threshold, 32 * 2**20)
        mallopt(m_trim_threshold, 128 * 2**20)
