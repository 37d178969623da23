"""How the kernels are compiled."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers and arrays on its first call; what came of it is kept on disk.

    The error model is C's, as Python's check for a division by zero keeps loops from being vectorised. Of the freedoms
    of fast mathematics, sums may be taken in another order and a product and a sum may become one operation; infinities
    and NaN stay what they are, as a run that diverges must show it.
    """
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no directory to keep it in: neither the package's nor the user's can be written
        return numba.njit(**options)(function)
