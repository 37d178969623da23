"""Compilation of kernels by Numba, cached on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock

# The error model is C's, as Python's check for a division by zero keeps loops from being vectorized. Of the freedoms of
# fast mathematics, sums may be taken in another order and a product and a sum may become one operation; infinities and
# NaN stay what they are, as a run that diverges must show it.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers and arrays when it is first called with arguments of such types.

    What came of it is kept on disk, beside the function's file or in the user's cache directory. Numba looks at that
    file's date only, so the kept code must be removed by hand after a change of the options here.
    """
    try:
        dispatcher = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # no directory to keep it in: neither of the two can be written
        return numba.njit(**OPTIONS)(function)
    compile_ = dispatcher.compile

    def compile_alone(signature: Any) -> Any:
        # Two processes that compile one function for different types would take the same file for both.
        directory = Path(dispatcher.stats.cache_path)
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".compiling.lock"):
            return compile_(signature)

    dispatcher.compile = compile_alone
    return dispatcher
