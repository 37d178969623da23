"""Compilation of elementwise functions by `torch.compile`, with a fallback."""

import logging
from collections.abc import Callable
from typing import Any

import torch

from mnist_mlp.base.torch_internals import allow_recompilations

log = logging.getLogger(__name__)

BACKEND = "inductor"
SHORT = 200  # characters of an error message in the log
RECOMPILES = 64  # limit for one function, which stacks of other sizes or networks recompile; PyTorch's default is 8

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Compiler:
    """PyTorch's compiler. After its first failure, functions run uncompiled.

    The compiler's requirements (Triton, which needs a C compiler) may be missing.

    Attributes:
        works: False once a compilation has failed.
    """

    def __init__(self) -> None:
        self.works = True

    def __call__(self, function: Callable[..., Any]) -> "Compiled":
        """Wrap a function of tensors so that its first call compiles it."""
        return Compiled(function, self)


class Compiled:
    """Function of tensors that is compiled at its first call, or runs uncompiled if the compiler does not work.

    Only the first call falls back to the uncompiled function. A later error may leave outputs partially written.

    Args:
        function: Function to compile. It may write to its arguments, but the first call must have no lasting effect.
        compiler: Compiler to use, and to mark as failed.
    """

    def __init__(self, function: Callable[..., Any], compiler: Compiler) -> None:
        allow_recompilations(RECOMPILES)
        self.function, self.compiler = function, compiler
        self._compiled = torch.compile(function, fullgraph=True, backend=BACKEND)
        self._is_first = True

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, and compile it if this is the first call."""
        if self._is_first:
            self._is_first = False
            try:
                if self.compiler.works:
                    return self._compiled(*arguments)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # every function also runs uncompiled
                self.compiler.works = False
                log.warning("stacks run uncompiled, which is slower: %s", in_short(error))
            self._compiled = self.function
        return self._compiled(*arguments)


def in_short(error: Exception) -> str:
    """Return the type of an error and the beginning of its message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:SHORT]


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as it is, for steps without compilation."""
    return function
