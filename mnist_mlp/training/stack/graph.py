"""A step that the GPU can repeat without being told each of its operations."""

import logging
from collections.abc import Callable

import torch

from mnist_mlp.training.stack.compiled import in_short

log = logging.getLogger(__name__)

WARM_UP = 3  # calls before the capture, in which libraries make what a capture must not


class Repeated:
    """Calls a function that is to be called many times, if wanted soon as a captured graph.

    Args:
        function: without arguments; it reads and writes the same memory at each call, and reads nothing back.
        capture: whether to; the function works on the current CUDA device then.
    """

    failed: torch.cuda.CUDAGraph | None = None  # the allocator may still refer to what could not be captured

    def __init__(self, function: Callable[[], None], capture: bool) -> None:
        self.function = function
        self._warm_up: int | None = WARM_UP if capture else None  # calls left; None never captures
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def calls_until_fast(self) -> int:
        """How many calls it takes until all is prepared for those after; each does what the function does."""
        return 1 if self._warm_up is None else self._warm_up + 1

    def __call__(self) -> None:
        """Do what the function does."""
        if self._warm_up == 0:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
            return
        self.function()
        if self._warm_up:
            self._warm_up -= 1

    def _capture(self) -> None:
        """Make the graph, which executes nothing."""
        self._warm_up = None
        if Repeated.failed is not None:  # it would again
            return
        before = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            # On a stream of this device; PyTorch's own for captures belongs to whichever was the first.
            with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
                self.function()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            Repeated.failed = graph
            torch.cuda.set_stream(before)
            log.warning("the step is not captured as a CUDA graph, which is slower: %s", in_short(error))
        else:
            self._graph = graph
