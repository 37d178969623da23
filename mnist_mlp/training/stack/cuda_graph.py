"""Capture and replay of a training step as a CUDA graph."""

import atexit
import logging
from collections.abc import Callable

import torch

from mnist_mlp.training.stack.torch_compile import in_short

log = logging.getLogger(__name__)

WARM_UP = 3  # calls before the capture: libraries allocate memory in their first calls, but must not during a capture


class GraphCapture:
    """Capture of functions as CUDA graphs. After a first failure, no other function is captured.

    Attributes:
        works: False once a capture has failed.
    """

    def __init__(self) -> None:
        self.works = True

    def __call__(self, function: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        """Capture the work of a function on the current CUDA device, without executing it.

        Args:
            function: Function that reads nothing back from the device.

        Returns:
            Graph to replay; None if this capture or an earlier one has failed.
        """
        if not self.works:
            return None
        before = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            # PyTorch's default stream for captures belongs to the first device that was used, maybe not to this one.
            with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
                function()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.works = False
            atexit.register(graph.reset)  # keeps the graph alive until exit, since the allocator may refer to it
            torch.cuda.set_stream(before)
            log.warning("the step is not captured as a CUDA graph, which is slower: %s", in_short(error))
            return None
        return graph


class GraphCallable:
    """Function that is called many times, and replayed as a CUDA graph after a warm-up.

    Args:
        function: Function without arguments. It uses the same memory at each call, and reads nothing back from the
            device.
        capture: Capture on the current CUDA device; None never captures.
    """

    def __init__(self, function: Callable[[], None], capture: GraphCapture | None) -> None:
        self.function = function
        self._capture = capture
        # Number of calls before the capture; None without a capture, or after it.
        self._warm_up: int | None = None if capture is None else WARM_UP
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def calls_until_fast(self) -> int:
        """Number of slow calls at the beginning: the warm-up and the capture, or the first call without a capture."""
        return 1 if self._warm_up is None else self._warm_up + 1

    def __call__(self) -> None:
        """Call the function, or replay its graph."""
        if self._warm_up == 0:
            assert self._capture is not None
            self._warm_up = None
            self._graph = self._capture(self.function)
        if self._graph is not None:
            self._graph.replay()
            return
        self.function()
        if self._warm_up:
            self._warm_up -= 1
