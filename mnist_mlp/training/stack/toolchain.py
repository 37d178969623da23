"""Compilation and CUDA-graph capture, shared by the stacks of a sweep."""

from dataclasses import dataclass, field

from mnist_mlp.training.stack.cuda_graph import GraphCapture
from mnist_mlp.training.stack.torch_compile import Compiler


@dataclass(frozen=True)
class Toolchain:
    """Tools that make steps faster. A tool that has failed once is not tried again by any stack that shares it.

    Attributes:
        compiler: Compiler of elementwise functions.
        capture: Capture of steps as CUDA graphs.
    """

    compiler: Compiler = field(default_factory=Compiler)
    capture: GraphCapture = field(default_factory=GraphCapture)
