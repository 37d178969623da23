"""Process settings for training: threads, subnormal numbers, TensorFloat-32, memory."""

import functools
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")


def apply_training_settings(threads: int, tf32: bool = False) -> None:
    """Apply the settings for training to this process.

    Args:
        threads: Number of CPU threads.
        tf32: Let matmuls on a GPU round their factors to TensorFloat-32.
    """
    import torch

    keep_freed_memory()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    # Adam's moments for always-black pixels decay to subnormal numbers, on which the CPU is up to 100 times slower.
    torch.set_flush_denormal(True)
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = tf32


@contextmanager
def training_settings(threads: int, tf32: bool = False) -> Iterator[None]:
    """Apply the settings for training, and restore the previous ones afterwards, except those of memory.

    Args:
        threads: Number of CPU threads.
        tf32: Let matmuls on a GPU round their factors to TensorFloat-32.
    """
    import torch

    threads_before, flushed_before = torch.get_num_threads(), flushes_denormals()
    tf32_before = torch.cuda.is_available() and torch.backends.cuda.matmul.allow_tf32
    apply_training_settings(threads, tf32)
    try:
        yield
    finally:
        apply_training_settings(threads_before, tf32_before)
        torch.set_flush_denormal(flushed_before)


def with_training_settings(results: Generator[T, None, None], threads: int, tf32: bool = False) -> Iterator[T]:
    """Yield results, each computed with the settings for training. The caller's settings are restored in between.

    Args:
        results: Generator that computes the results.
        threads: Number of CPU threads.
        tf32: Let matmuls on a GPU round their factors to TensorFloat-32.
    """
    with closing(results):
        while True:
            with training_settings(threads, tf32):
                try:
                    result = next(results)
                except StopIteration:
                    return
            yield result


def flushes_denormals() -> bool:
    """Return whether this thread flushes subnormal numbers to 0. PyTorch has a setter for this, but no getter."""
    return sys.float_info.min / 2 == 0


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory that a training step frees, for the next step. No effect with other C libraries.

    By default, glibc may return the memory of gradients to the system at each step and request it again, a thousand
    pages at a time. A step with autograd then takes twice the time. Earlier imports decide whether this happens.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # as in malloc.h
        mallopt(m_mmap_threshold, 32 * 2**20)
        mallopt(m_trim_threshold, 128 * 2**20)
