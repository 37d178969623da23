"""Matrix products on the CPU, by the faster of the two libraries that PyTorch brings.

PyTorch multiplies float32 matrices by MKL. On AMD's processors MKL leaves half of the vector unit unused: on one with
AVX-512, oneDNN takes 0.5 to 0.6 of its time for the products of this project (`benchmarks/README.md`). The choice
depends on the processor alone, never on a timing: a choice that could come out differently the next time would change
the last digit of results.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_mlp.environment import cpu_model

SMALLEST = 16  # inputs or outputs of a layer; below, starting oneDNN takes longer than the product

Product = Callable[[Tensor, Tensor], Tensor]


@functools.cache
def library() -> str:
    """Which library multiplies larger float32 matrices here: "oneDNN", or "PyTorch" for its own choice."""
    has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "oneDNN" if has_onednn and has_avx512 and cpu_model().startswith("AMD") else "PyTorch"


def product_for(weight: Tensor) -> Product:
    """The faster way to compute `a @ b.T` where one of a (m, k) and b (n, k) is this weight, or has its size.

    It has no gradient; the result, of shape (m, n), is contiguous.

    Args:
        weight: (out, in), on the CPU.
    """
    return _by_onednn if _suits_onednn(weight) else _by_pytorch


def _by_pytorch(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b.t())


def _by_onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")
    return out


def _suits_onednn(weight: Tensor) -> bool:
    return library() == "oneDNN" and weight.dtype == torch.float32 and min(weight.shape) >= SMALLEST


class Linear(nn.Linear):
    """PyTorch's linear layer; where no gradient is wanted on a CPU, by the faster library."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_features) to (batch, out_features)."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or not _suits_onednn(self.weight):
            return F.linear(x, self.weight, self.bias)
        return _by_onednn(x, self.weight, self.bias)
