"""Matrix products on the CPU, by the faster of the two libraries that PyTorch brings.

PyTorch multiplies float32 matrices by MKL. On AMD's processors MKL leaves half of the vector unit unused: on one with
AVX-512, oneDNN takes half of its time for the products of this project (`benchmarks/README.md`). The choice
depends on the processor alone, never on a timing: a choice that could come out differently the next time would change
the last digit of results.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_mlp.base.provenance import cpu_model
from mnist_mlp.base.torch_internals import has_onednn_linear, onednn_linear

SMALLEST = 16  # inputs or outputs of a layer; below, starting oneDNN takes longer than the product

Product = Callable[[Tensor, Tensor], Tensor]


@functools.cache
def library() -> str:
    """Which library multiplies larger float32 matrices here: "oneDNN", or "PyTorch" for its own choice."""
    has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "oneDNN" if has_onednn_linear() and has_avx512 and cpu_model().startswith("AMD") else "PyTorch"


class Products(NamedTuple):
    """The three products of a linear layer in training, of CPU tensors without gradients.

    Attributes:
        forward: from the weight (out, in) and the input (in, batch), weight @ input.
        by_weight: from the gradient by the output (out, batch) and the input, gradient @ input.T.
        by_input: from the weight and the gradient by the output, weight.T @ gradient, contiguous.
    """

    forward: Product
    by_weight: Product
    by_input: Product


PYTORCH = Products(
    forward=torch.mm,
    by_weight=lambda gradient, x: torch.mm(gradient, x.t()),
    by_input=lambda weight, gradient: torch.mm(weight.t(), gradient),
)

# oneDNN multiplies x @ weight.T. Any of the two may be its weight; the one that has more rows is faster as its x. It
# takes longer to turn a large matrix round than to multiply by it, so the last product has the images as its rows.
ONEDNN = Products(
    forward=lambda weight, x: onednn_linear(weight, x.t()),
    by_weight=onednn_linear,
    by_input=lambda weight, gradient: onednn_linear(gradient.t(), weight.t()).t().contiguous(),
)


def products_for(weight: Tensor) -> Products:
    """The faster ones for a layer of this weight, of shape (out, in)."""
    return ONEDNN if _suits_onednn(weight) else PYTORCH


def _suits_onednn(weight: Tensor) -> bool:
    return library() == "oneDNN" and weight.dtype == torch.float32 and min(weight.shape) >= SMALLEST


class Linear(nn.Linear):
    """PyTorch's linear layer; where no gradient is wanted on a CPU, by the faster library."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_features) to (batch, out_features)."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or not _suits_onednn(self.weight):
            return F.linear(x, self.weight, self.bias)
        return onednn_linear(x, self.weight, self.bias)
