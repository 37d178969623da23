"""Compilation of kernels by Numba, cached on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock

# Python's check for division by zero would prevent vectorization, hence NumPy's error model. Fast math may reorder
# sums and fuse multiply-adds, but must keep infinities and NaN: they are how a diverged run is detected.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}


def jit(function: Callable[..., Any]) -> Any:
    """Decorate a function of numbers and arrays: compile it once per combination of argument types, on the first call.

    Machine code is cached on disk, in `__pycache__` beside the source file or in the user's cache directory. Numba
    invalidates it by the date of the source file only: after a change of `OPTIONS`, delete the cache by hand.
    """
    try:
        dispatcher = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither cache directory is writable
        return numba.njit(**OPTIONS)(function)
    compile_ = dispatcher.compile

    def compile_alone(signature: Any) -> Any:
        # Without a lock, two processes that compile a function for different types write the same cache file.
        directory = Path(dispatcher.stats.cache_path)
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".compiling.lock"):
            return compile_(signature)

    dispatcher.compile = compile_alone
    return dispatcher
