"""The layers of R networks of one architecture at once: products batched over the runs, backward passes written out.

Activations have shape (R, features, batch), one image a column, as in `mnist_mlp.cpu.backprop`. No operation mixes two
runs, so what becomes of one (a loss that is not finite) leaves the others alone. Tensors have the same shapes at every
step and nothing is read back, so that a step can be captured as a CUDA graph.

The layers between two products are one `Segment`, so that all that is to be done with an element is done in one pass.
"""

# ruff: noqa: D102 - what the layers' passes do is said once, in `Layer` and `Part`

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnist_mlp import dropout
from mnist_mlp.model import ACTIVATIONS
from mnist_mlp.stack.compiled import Wrap, eager
from mnist_mlp.stack.parameters import Parameter, Parameters

Tensors = tuple[Tensor, ...]


class Layer(Protocol):
    """A linear layer, or all between two of them, of every network."""

    def forward(self, x: Tensor) -> Tensor:
        """From the input to the output in training mode, both (R, features, batch)."""

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        """From the gradient by the output to that by the input, which is of use where `wanted`.

        Writes the gradients by the layer's parameters.
        """

    def evaluate(self, x: Tensor) -> Tensor:
        """From the input to the output in evaluation mode; the input's first dimension may be 1, for all runs."""


class Linear:
    """W x + b."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.weight, self.bias = parameters["weight"], parameters.get("bias")
        self.features = self.weight.values.shape[1]  # of the output

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
    """Batch normalisation, in training by the batch's own statistics, with PyTorch's running averages."""

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
        normalised = (x - mean[:, :, None]) * inverse_std[:, :, None]
        return torch.addcmul(bias[:, :, None], normalised, weight[:, :, None]), (normalised, inverse_std)

    def backward(self, gradient: Tensor, tensors: Tensors, saved: Tensors) -> tuple[Tensor, Tensors]:
        normalised, inverse_std = saved
        n = gradient.shape[2]
        by_weight, by_bias = (gradient * normalised).sum(dim=2), gradient.sum(dim=2)
        scale = (tensors[0] * inverse_std)[:, :, None]
        by_input = (gradient - by_bias[:, :, None] / n - normalised * (by_weight[:, :, None] / n)) * scale
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


class Segment:
    """All modules between two linear layers.

    Args:
        parts: of these, in their order.
        features: of the activations.
        wrap: makes its passes faster.
        batch: images of the steps to be fast at; a smaller last one is not worth a compilation.
    """

    tensors: list[Tensors]  # of the step that is being taken
    saved: list[Tensors]

    def __init__(self, parts: Sequence[Part], features: int, wrap: Wrap, batch: int) -> None:
        self.parts, self.features, self.batch = parts, features, batch
        wrap = wrap if all(part.can_compile for part in parts) else eager
        self._fast_forward, self._fast_backward = wrap(self._forward), wrap(self._backward)

    def forward(self, x: Tensor) -> Tensor:
        self.tensors = [part.tensors() for part in self.parts]
        function = self._fast_forward if x.shape[2] == self.batch else self._forward
        out: Tensor
        out, self.saved = function(x, self.tensors)
        return out

    def backward(self, gradient: Tensor, wanted: bool) -> Tensor:
        function = self._fast_backward if gradient.shape[2] == self.batch else self._backward
        by_input: Tensor
        by_input, gradients = function(gradient, self.tensors, self.saved)
        for part, of_part in zip(self.parts, gradients, strict=True):
            for there, here in zip(part.gradients, of_part, strict=True):
                there.copy_(here)
        return by_input

    def evaluate(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part.evaluate(x)
        return x

    def rehearse(self, like: Tensor) -> None:
        """Have both passes compiled, for as many runs as this tensor has, on its device; nothing is changed."""
        x = like.new_zeros(len(like), self.features, self.batch)
        # Parameters are rows of something larger, and only read; the copy of one would have another layout.
        tensors = [tuple(t.clone() if t.is_contiguous() else t for t in part.tensors()) for part in self.parts]
        out, saved = self._fast_forward(x, tensors)
        self._fast_backward(out, tensors, saved)

    def _forward(self, x: Tensor, tensors: list[Tensors]) -> tuple[Tensor, list[Tensors]]:
        saved: list[Tensors] = []
        for part, its in zip(self.parts, tensors, strict=True):
            x, of_part = part.forward(x, its)
            saved.append(of_part)
        return x, saved

    def _backward(self, gradient: Tensor, tensors: list[Tensors], saved: list[Tensors]) -> tuple[Tensor, list[Tensors]]:
        gradients: list[Tensors] = []
        for part, its, of_part in zip(reversed(self.parts), reversed(tensors), reversed(saved), strict=True):
            gradient, by_parameters = part.backward(gradient, its, of_part)
            gradients.append(by_parameters)
        return gradient, gradients[::-1]


PARTS: dict[type[nn.Module], Callable[[Any, Mapping[str, Parameter]], Part]] = {
    **dict.fromkeys(ACTIVATIONS.values(), Activation),
    nn.BatchNorm1d: BatchNorm,
    nn.ReLU: ReLU,
    nn.Dropout: Dropout,
}


def layers_of(
    models: Sequence[nn.Sequential], parameters: Parameters, in_features: int, wrap: Wrap, batch: int
) -> list[Linear | Segment]:
    """The layers of these networks, which have modules of the same types, sizes and settings.

    Args:
        models: of the runs, in the order of the rows.
        parameters: theirs.
        in_features: of the input.
        wrap: makes the passes of what is not linear faster.
        batch: images a step.
    """
    layers: list[Linear | Segment] = []
    width = in_features
    own = parameters.by_module(models[0])
    for is_linear, positions in groupby(zip(*models, strict=True), lambda modules: isinstance(modules[0], nn.Linear)):
        if is_linear:
            layers += [Linear(next(own)) for _ in positions]
            width = layers[-1].features
        else:
            parts = [PARTS[type(modules[0])](modules, next(own)) for modules in positions]
            layers.append(Segment(parts, width, wrap, batch))
    return layers
