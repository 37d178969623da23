"""Elementwise work in a pass or two over memory, where eager PyTorch takes one an operation."""

import logging
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger(__name__)

BACKEND = "inductor"
SHORT = 200  # characters of an error in the log
RECOMPILES = 64  # of one function, for stacks of other sizes and networks; PyTorch's own limit is 8

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Compiled:
    """A function of tensors, compiled by PyTorch when it is first called; itself where that does not work.

    What the compiler needs (Triton, and that a C compiler) may be missing. Nothing else is tried in place of a function
    that has worked once: an error that it raises later may come when half of its work is done.

    Args:
        function: it may write to its arguments, though the first call must not matter.
    """

    works = True  # the compiler, as far as this process knows

    def __init__(self, function: Callable[..., Any]) -> None:
        torch._dynamo.config.recompile_limit = max(RECOMPILES, torch._dynamo.config.recompile_limit)
        self.function = function
        self._compiled = torch.compile(function, fullgraph=True, backend=BACKEND)
        self._is_first = True

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        if self._is_first:
            self._is_first = False
            try:
                if Compiled.works:
                    return self._compiled(*arguments)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever is missing, all can be done without
                Compiled.works = False
                log.warning("stacks run uncompiled, which is slower: %s", in_short(error))
            self._compiled = self.function
        return self._compiled(*arguments)


def in_short(error: Exception) -> str:
    """The error's kind and the beginning of what it says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:SHORT]


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is."""
    return function
