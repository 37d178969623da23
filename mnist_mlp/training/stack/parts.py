"""Modules of R networks between matmuls, called parts: BatchNorm, activations, dropout.

Activations have shape (R, features, batch). PyTorch's compiler can fuse the passes of several parts, since a pass does
not store results in its part and reads nothing back from the device.
"""

# ruff: noqa: D102 - `Part` documents the passes of all parts

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnist_mlp.network import dropout
from mnist_mlp.network.mlp import ACTIVATIONS
from mnist_mlp.training.stack.parameters import Parameter

Tensors = tuple[Tensor, ...]


class Part(Protocol):
    """One module of a segment, of all runs, as functions of tensors.

    Attributes:
        can_compile: True if the passes can be compiled.
        gradients: Tensors to which the gradients with respect to the module's parameters are copied.
    """

    can_compile: bool
    gradients: Tensors

    def tensors(self) -> Tensors:
        """Return the tensors that the passes need besides the activations."""

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        """Return the output in training mode, and the tensors that the backward pass needs."""

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        """Return the gradients with respect to the input and with respect to the module's parameters."""

    def evaluate(self, x: Tensor) -> Tensor:
        """Map the input to the output in evaluation mode.

        The first dimension of the input is R, or 1 if all runs have the same input.
        """


class BatchNorm:
    """Batch normalization: by the statistics of the batch in training mode, else by PyTorch's running averages."""

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
                setattr(module, name, own)  # a view, so that the module always has the current values

    def tensors(self) -> Tensors:
        averages = (self.running_mean, self.running_var, self.num_batches_tracked)
        return (self.weight.values, self.bias.values, *averages)

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Tensors]:
        weight, bias, running_mean, running_var, num_batches_tracked = tensors
        n = x.shape[2]
        if n < 2:
            raise ValueError(f"BatchNorm needs at least 2 images, got {n}")
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
        grad_weight, grad_bias = (gradient * normalized).sum(dim=2), gradient.sum(dim=2)
        scale = (tensors[0] * inverse_std)[:, :, None]
        grad_input = (gradient - grad_bias[:, :, None] / n - normalized * (grad_weight[:, :, None] / n)) * scale
        return grad_input, (grad_weight, grad_bias)

    def evaluate(self, x: Tensor) -> Tensor:
        scale = self.weight.values * torch.rsqrt(self.running_var + self.eps)
        shift = self.bias.values - self.running_mean * scale
        return torch.addcmul(shift[:, :, None], x, scale[:, :, None])


class ReLU:
    """Rectified linear unit, max(x, 0)."""

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
    """Any other elementwise activation, by autograd."""

    can_compile = False
    gradients: Tensors = ()

    def __init__(self, modules: Sequence[nn.Module], parameters: Mapping[str, Parameter]) -> None:
        self.module = modules[0]  # all runs have equal modules

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
    """Dropout: zero each unit with probability p, and divide the others by 1 - p.

    Runs with equal seeds share a stream of keep masks.

    Attributes:
        sampler: Mask sampler.
        keep_masks: Three tensors, set by the caller. The first has the keep masks of several steps, bool of shape
            (steps, streams, features, batch); the second the position of the next step among them, int64 of shape (1,);
            the third the stream of each run, int64 of shape (R,).
    """

    can_compile = True
    gradients: Tensors = ()
    keep_masks: tuple[Tensor, Tensor, Tensor]

    def __init__(self, modules: Sequence[nn.Dropout], parameters: Mapping[str, Parameter]) -> None:
        self.sampler = dropout.mask_sampler(modules[0].p)

    def tensors(self) -> Tensors:
        return self.keep_masks

    def _times_factor(self, x: Tensor, tensors: Tensors) -> Tensor:
        steps, position, stream_of = tensors
        kept = steps.index_select(0, position).squeeze(0).index_select(0, stream_of)  # (R, features, batch)
        return torch.where(kept, x * self.sampler.scale, x * 0.0)  # NaN must stay NaN

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
