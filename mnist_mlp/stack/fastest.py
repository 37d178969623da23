"""Elementwise work in as few passes as the device allows."""

import logging
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger(__name__)

BACKEND = "inductor"
RECOMPILES = 64  # of one function, for stacks of other sizes and networks; beyond, PyTorch's compiler gives up at 8


def fastest(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function, compiled where the device is a CUDA one: a pass or two over memory instead of one an operation.

    Args:
        function: of tensors; it may write to them.
        device: where they are.
    """
    return Compiled(function) if device.type == "cuda" else function


class Compiled:
    """A function compiled by PyTorch when it is first called; the function itself where that does not work.

    What the compiler needs (Triton, and that a C compiler) may be missing.
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
