"""Elementwise parts of R networks between matrix products: BatchNorm, activations, dropout.

Activations have shape (R, features, batch). No function keeps anything or reads a tensor back, so that PyTorch's
compiler can make few passes of many.
"""

# ruff: noqa: D102 - what the parts' passes do is said once, in `Part`

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnist_mlp.network import dropout
from mnist_mlp.network.mlp import ACTIVATIONS
from mnist_mlp.training.stack.parameters import Parameter

Tensors = tuple[Tensor, ...]


class Part(Protocol):
    """One module of a segment: functions of tensors, which can be compiled.

    Attributes:
        can_compile: whether they can.
        gradients: where those by the module's parameters belong.
    """

    can_compile: bool
    gradients: Tensors

    def tensors(self) -> Tensors:
        """What the passes need besides the activations."""

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        """The output, and what the backward pass needs."""

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        """The gradient by the input, and those by the module's parameters."""

    def evaluate(self, x: Tensor) -> Tensor:
        """As in `Layer`."""


class BatchNorm:
    """Batch normalization, in training by the batch's own statistics, with PyTorch's running averages."""

    can_compile = True
    running_mean: Tensor  # (R, features)
    running_var: Tensor  # (R, features)
    num_batches_tracked: Tensor  # (R,)

    def __init__(self, modules: Sequence[nn.BatchNorm1d], parameters: Mapping[str, Parameter]) -> None:
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        self.gradients: Tensors = (self.weight.gradients, self.bias.gradients)
        self.momentum, self.eps = modules[0].momentum or 0.0, modules[0].eps
        device = self.weight.values.device
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            every = torch.stack([getattr(module, name) for module in modules]).to(device)
            setattr(self, name, every)
            for module, own in zip(modules, every, strict=True):
                setattr(module, name, own)  # a view, so that it holds the current values at any time

    def tensors(self) -> Tensors:
        averages = (self.running_mean, self.running_var, self.num_batches_tracked)
        return (self.weight.values, self.bias.values, *averages)

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        weight, bias, running_mean, running_var, num_batches_tracked = tensors
        n = x.shape[2]
        if n < 2:
            raise ValueError(f"BatchNorm cannot take {n} images")
        var, mean = torch.var_mean(x, dim=2, correction=0)
        num_batches_tracked.add_(1)
        running_mean.lerp_(mean, self.momentum)
        running_var.lerp_(var * (n / (n - 1)), self.momentum)
        inverse_std = torch.rsqrt(var + self.eps)
        normalized = (x - mean[:, :, None]) * inverse_std[:, :, None]
        return torch.addcmul(bias[:, :, None], normalized, weight[:, :, None]), (normalized, inverse_std)

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        normalized, inverse_std = saved
        n = gradient.shape[2]
        by_weight, by_bias = (gradient * normalized).sum(dim=2), gradient.sum(dim=2)
        scale = (tensors[0] * inverse_std)[:, :, None]
        by_input = (gradient - by_bias[:, :, None] / n - normalized * (by_weight[:, :, None] / n)) * scale
        return by_input, (by_weight, by_bias)

    def evaluate(self, x: Tensor) -> Tensor:
        scale = self.weight.values * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias.values - self.running_mean * scale
        return torch.addcmul(shift[:, :, None], x, scale[:, :, None])


class ReLU:
    """The larger of x and 0."""

    can_compile = True
    gradients: Tensors = ()

    def __init__(self, modules: Sequence[nn.ReLU], parameters: Mapping[str, Parameter]) -> None:
        pass

    def tensors(self) -> Tensors:
        return ()

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        out = torch.relu(x)
        return out, (out <= 0,)

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        return gradient.masked_fill(saved[0], 0.0), ()

    def evaluate(self, x: Tensor) -> Tensor:
        return torch.relu(x)


class Activation:
    """Any other elementwise function, by autograd."""

    can_compile = False
    gradients: Tensors = ()

    def __init__(self, modules: Sequence[nn.Module], parameters: Mapping[str, Parameter]) -> None:
        self.module = modules[0]  # they are all alike

    def tensors(self) -> Tensors:
        return ()

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            out: Tensor = self.module(x)
        return out.detach(), (x, out)

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        x, out = saved
        return torch.autograd.grad(out, x, gradient)[0], ()

    def evaluate(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out


class Dropout:
    """Zeroes each unit with probability p, and divides the others by 1 - p.

    Attributes:
        drawing: how its decisions come from random bits.
        kept: what its caller sets: the decisions at several steps (steps, streams, features, batch), bool; the step to
            come (1,), int64; and the stream of each run (R,), int64.
    """

    can_compile = True
    gradients: Tensors = ()
    kept: tuple[Tensor, Tensor, Tensor]

    def __init__(self, modules: Sequence[nn.Dropout], parameters: Mapping[str, Parameter]) -> None:
        self.drawing = dropout.drawing(modules[0].p)

    def tensors(self) -> Tensors:
        return self.kept

    def _times_factor(self, x: Tensor, tensors: Tensors) -> Tensor:
        steps, position, stream_of = tensors
        kept = steps.index_select(0, position).squeeze(0).index_select(0, stream_of)  # (R, features, batch)
        return torch.where(kept, x * self.drawing.scale, x * 0.0)  # not 0, as what is not a number must stay so

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        return self._times_factor(x, tensors), ()

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        return self._times_factor(gradient, tensors), ()

    def evaluate(self, x: Tensor) -> Tensor:
        return x


PARTS: dict[type[nn.Module], Callable[[Any, Mapping[str, Parameter]], Part]] = {
    **dict.fromkeys(ACTIVATIONS.values(), Activation),
    nn.BatchNorm1d: BatchNorm,
    nn.ReLU: ReLU,
    nn.Dropout: Dropout,
}
