"""Matrix multiplication on the CPU, by the faster of the two libraries in PyTorch.

PyTorch multiplies float32 matrices by MKL. On AMD processors with AVX-512, MKL uses only half of the vector width.
oneDNN takes half as long there, for the matmuls of this project (`benchmarks/README.md`). The library is selected by
the type of the processor, never by a timing: another library changes the last digits of results, and timings might
select another one in the next run.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_mlp.base.provenance import cpu_model
from mnist_mlp.base.torch_internals import has_onednn_linear, onednn_linear

SMALLEST = 16  # inputs or outputs of a layer; for fewer, the overhead of oneDNN exceeds the gain

Product = Callable[[Tensor, Tensor], Tensor]


@functools.cache
def library() -> str:
    """Return the library that multiplies larger float32 matrices: "oneDNN", or "PyTorch" for PyTorch's default."""
    has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "oneDNN" if has_onednn_linear() and has_avx512 and cpu_model().startswith("AMD") else "PyTorch"


class Matmuls(NamedTuple):
    """Three matmuls of a linear layer in training, for CPU tensors without autograd.

    Attributes:
        forward: Output from weight (out, in) and input (in, batch): weight @ input.
        grad_weight: Gradient with respect to the weight, from the gradient with respect to the output (out, batch) and
            the input: gradient @ input.T.
        grad_input: Gradient with respect to the input, from the weight and the gradient with respect to the output:
            weight.T @ gradient, contiguous.
    """

    forward: Product
    grad_weight: Product
    grad_input: Product


PYTORCH = Matmuls(
    forward=torch.mm,
    grad_weight=lambda gradient, x: torch.mm(gradient, x.t()),
    grad_input=lambda weight, gradient: torch.mm(weight.t(), gradient),
)

# oneDNN computes x @ weight.T. Either factor of a product can take the place of x; it is faster with more rows in x.
# Transposing a large matrix takes longer than the matmul. Therefore `grad_input` computes its result with the images as
# rows, and transposes only this small result.
ONEDNN = Matmuls(
    forward=lambda weight, x: onednn_linear(weight, x.t()),
    grad_weight=onednn_linear,
    grad_input=lambda weight, gradient: onednn_linear(gradient.t(), weight.t()).t().contiguous(),
)


def matmuls_for(weight: Tensor) -> Matmuls:
    """Return the faster matmuls for a layer with this weight, of shape (out, in)."""
    return ONEDNN if _suits_onednn(weight) else PYTORCH


def _suits_onednn(weight: Tensor) -> bool:
    return library() == "oneDNN" and weight.dtype == torch.float32 and min(weight.shape) >= SMALLEST


class Linear(nn.Linear):
    """PyTorch's linear layer, but by the faster library on the CPU if autograd is off."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_features) to (batch, out_features)."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or not _suits_onednn(self.weight):
            return F.linear(x, self.weight, self.bias)
        return onednn_linear(x, self.weight, self.bias)
