"""The layers of R networks of one architecture at once: products batched over the runs, backward passes written out.

Activations have shape (R, features, batch), one image a column, as in `mnist_mlp.cpu.backprop`, whose layers these
mirror. No operation mixes two runs, so what becomes of one (a loss that is not finite) leaves the others alone. Tensors
have the same shapes at every step and nothing is read back, so that a step can be captured as a CUDA graph.
"""

# ruff: noqa: D102 - what every layer's passes do is said once, in `Layer`

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnist_mlp import dropout
from mnist_mlp.cpu.products import Linear
from mnist_mlp.model import ACTIVATIONS
from mnist_mlp.stack.parameters import Parameter, Parameters


class Layer(Protocol):
    """One module of every network."""

    def forward(self, x: Tensor) -> Tensor:
        """From the input to the output in training mode, both (R, features, batch)."""

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        """From the gradient by the output to that by the input, which is of use where `wanted`.

        Writes the gradients by the layer's parameters.
        """

    def evaluate(self, x: Tensor) -> Tensor:
        """From the input to the output in evaluation mode; the input's first dimension may be 1, for all runs."""


class LinearLayer:
    """W x + b."""

    def __init__(self, modules: Sequence[nn.Linear], parameters: Mapping[str, Parameter]) -> None:
        self.weight, self.bias = parameters["weight"], parameters.get("bias")

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.evaluate(x)

    def evaluate(self, x: Tensor) -> Tensor:
        weight = self.weight.values
        x = x.expand(len(weight), -1, -1)
        if self.bias is None:
            return torch.bmm(weight, x)
        return torch.baddbmm(self.bias.values[:, :, None], weight, x)

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        torch.bmm(gradient, self.x.transpose(1, 2), out=self.weight.gradients)
        if self.bias is not None:
            torch.sum(gradient, dim=2, out=self.bias.gradients)
        return torch.bmm(self.weight.values.transpose(1, 2), gradient) if wanted else gradient


class BatchNormLayer:
    """Batch normalisation, in training by the batch's own statistics, with PyTorch's running averages."""

    running_mean: Tensor  # (R, features)
    running_var: Tensor  # (R, features)
    num_batches_tracked: Tensor  # (R,)

    def __init__(self, modules: Sequence[nn.BatchNorm1d], parameters: Mapping[str, Parameter]) -> None:
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        self.momentum, self.eps = modules[0].momentum or 0.0, modules[0].eps
        device = self.weight.values.device
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            every = torch.stack([getattr(module, name) for module in modules]).to(device)
            setattr(self, name, every)
            for module, own in zip(modules, every, strict=True):
                setattr(module, name, own)  # a view, so that it holds the current values at any time

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[2]
        if n < 2:
            raise ValueError(f"BatchNorm cannot take {n} images")
        var, mean = torch.var_mean(x, dim=2, correction=0)
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (n / (n - 1)), self.momentum)
        self.inverse_std = torch.rsqrt(var + self.eps)
        self.normalised = (x - mean[:, :, None]) * self.inverse_std[:, :, None]
        return torch.addcmul(self.bias.values[:, :, None], self.normalised, self.weight.values[:, :, None])

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        n = gradient.shape[2]
        by_bias = torch.sum(gradient, dim=2, out=self.bias.gradients)
        by_weight = torch.sum(gradient * self.normalised, dim=2, out=self.weight.gradients)
        scale = (self.weight.values * self.inverse_std)[:, :, None]
        return (gradient - by_bias[:, :, None] / n - self.normalised * (by_weight[:, :, None] / n)) * scale

    def evaluate(self, x: Tensor) -> Tensor:
        scale = self.weight.values * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias.values - self.running_mean * scale
        return torch.addcmul(shift[:, :, None], x, scale[:, :, None])


class ReLULayer:
    """The larger of x and 0."""

    def __init__(self, modules: Sequence[nn.ReLU], parameters: Mapping[str, Parameter]) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        self.out = torch.relu(x)
        return self.out

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        return gradient.masked_fill(self.out <= 0, 0.0)

    def evaluate(self, x: Tensor) -> Tensor:
        return torch.relu(x)


class ActivationLayer:
    """Any other elementwise function, by autograd."""

    def __init__(self, modules: Sequence[nn.Module], parameters: Mapping[str, Parameter]) -> None:
        self.module = modules[0]  # they are all alike

    def forward(self, x: Tensor) -> Tensor:
        self.x = x.detach().requires_grad_()
        with torch.enable_grad():
            self.out: Tensor = self.module(self.x)
        out: Tensor = self.out.detach()
        return out

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        (by_input,) = torch.autograd.grad(self.out, self.x, gradient)
        return by_input

    def evaluate(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out


class DropoutLayer:
    """Zeroes each unit with probability p, and divides the others by 1 - p.

    Attributes:
        drawing: how its decisions come from random bits.
        kept: shape (R, features, batch): those of the step to come, which its caller sets.
    """

    kept: Tensor

    def __init__(self, modules: Sequence[nn.Dropout], parameters: Mapping[str, Parameter]) -> None:
        self.drawing = dropout.drawing(modules[0].p)

    def forward(self, x: Tensor) -> Tensor:
        self.factor = self.kept * torch.full((), self.drawing.scale, dtype=x.dtype, device=x.device)
        return x * self.factor

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        return gradient * self.factor

    def evaluate(self, x: Tensor) -> Tensor:
        return x


LAYERS: dict[type[nn.Module], Callable[[Any, Mapping[str, Parameter]], Layer]] = {
    **dict.fromkeys(ACTIVATIONS.values(), ActivationLayer),
    nn.Linear: LinearLayer,
    Linear: LinearLayer,
    nn.BatchNorm1d: BatchNormLayer,
    nn.ReLU: ReLULayer,
    nn.Dropout: DropoutLayer,
}


def layers_of(models: Sequence[nn.Sequential], parameters: Parameters) -> list[Layer]:
    """The layers of these networks, which have modules of the same types, sizes and settings."""
    positions = zip(*models, strict=True)
    return [
        LAYERS[type(modules[0])](modules, own)
        for modules, own in zip(positions, parameters.by_module(models[0]), strict=True)
    ]
