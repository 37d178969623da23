"""Layers of R networks of one architecture: batched matrix products, hand-written backward passes.

Activations have shape (R, features, batch), one image a column, as in `mnist_mlp.training.fused.backprop`. No operation
mixes two runs, so what becomes of one (a loss that is not finite) leaves the others alone. Tensors have the same shapes
at every step and nothing is read back, so that a step can be captured as a CUDA graph.

The layers between two products are one `Segment`, so that all that is to be done with an element is done in one pass.
"""

# ruff: noqa: D102 - what the layers' passes do is said once, in `Layer`

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn

from mnist_mlp.training.stack.parameters import Parameter, Parameters
from mnist_mlp.training.stack.parts import PARTS, Part, Tensors
from mnist_mlp.training.stack.torch_compile import Wrap, eager


class Layer(Protocol):
    """A linear layer, or all between two of them, of every network.

    Attributes:
        features: of the output.
    """

    features: int

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


def layers_of(
    models: Sequence[nn.Sequential], parameters: Parameters, in_features: int, wrap: Wrap, batch: int
) -> list[Layer]:
    """The layers of these networks, which have modules of the same types, sizes and settings.

    Args:
        models: of the runs, in the order of the rows.
        parameters: theirs.
        in_features: of the input.
        wrap: makes the passes of what is not linear faster.
        batch: images a step.
    """
    layers: list[Layer] = []
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


def trained(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Those that a gradient must reach: all but a first one without parameters, such as dropout of the inputs."""
    first = layers[0]
    is_idle = isinstance(first, Segment) and not any(part.gradients for part in first.parts)
    return layers[1:] if is_idle else layers
