"""Elementwise work in a pass or two over memory, where eager PyTorch takes one an operation."""

import logging
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger(__name__)

BACKEND = "inductor"
RECOMPILES = 64  # of one function, for stacks of other sizes and networks; PyTorch's own limit is 8

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Compiled:
    """A function of tensors, compiled by PyTorch when it is first called; itself where that does not work.

    What the compiler needs (Triton, and that a C compiler) may be missing.

    Args:
        function: it may write to its arguments.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        torch._dynamo.config.recompile_limit = max(RECOMPILES, torch._dynamo.config.recompile_limit)
        self.function = function
        self.compiled: Callable[..., Any] | None = torch.compile(function, fullgraph=True, backend=BACKEND)

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        if self.compiled is not None:
            try:
                return self.compiled(*arguments)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever it is, compiling comes before computing, so nothing has been done
                log.warning("a part of the step is not compiled, and so slower: %s", str(error).splitlines()[0])
                self.compiled = None
        return self.function(*arguments)


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is."""
    return function
