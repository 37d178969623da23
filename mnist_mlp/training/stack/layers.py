"""Layers of R networks of one architecture: batched matmuls, hand-written backward passes.

Activations have shape (R, features, batch), with one image per column, as in `mnist_mlp.training.fused.backprop`. No
operation mixes runs, so a run with a non-finite loss does not affect the others. A step can be captured as a CUDA
graph: its tensors have the same shapes each time, and nothing is read back from the device.

All modules between two matmuls form one `Segment`, which can be compiled to a single pass.
"""

# ruff: noqa: D102 - `Layer` documents the passes of all layers

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn

from mnist_mlp.training.stack.parameters import Parameter, Parameters
from mnist_mlp.training.stack.parts import PARTS, Part, Tensors
from mnist_mlp.training.stack.torch_compile import Wrap, eager


class Layer(Protocol):
    """Linear layer of all R networks, or all modules between two linear layers.

    Attributes:
        features: Number of output features.
    """

    features: int

    def forward(self, x: Tensor) -> Tensor:
        """Map the input to the output in training mode, both of shape (R, features, batch)."""

    def backward(self, gradient: Tensor, needs_input_grad: bool) -> Tensor:
        """Map the gradient with respect to the output to the gradient with respect to the input.

        Writes the gradients with respect to the layer's parameters. The result is undefined without `needs_input_grad`.
        """

    def evaluate(self, x: Tensor) -> Tensor:
        """Map the input to the output in evaluation mode.

        The first dimension of the input is R, or 1 if all runs have the same input.
        """


class Linear:
    """Linear layer, W x + b."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.weight, self.bias = parameters["weight"], parameters.get("bias")
        self.features = self.weight.values.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.evaluate(x)

    def evaluate(self, x: Tensor) -> Tensor:
        weight = self.weight.values
        x = x.expand(len(weight), -1, -1)
        if self.bias is None:
            return torch.bmm(weight, x)
        return torch.baddbmm(self.bias.values[:, :, None], weight, x)

    def backward(self, gradient: Tensor, needs_input_grad: bool) -> Tensor:
        torch.bmm(gradient, self.x.transpose(1, 2), out=self.weight.gradients)
        if self.bias is not None:
            torch.sum(gradient, dim=2, out=self.bias.gradients)
        return torch.bmm(self.weight.values.transpose(1, 2), gradient) if needs_input_grad else gradient


class Segment:
    """All modules between two linear layers.

    Args:
        parts: Parts of the segment, in their order.
        features: Number of features of the activations.
        wrap: Function that compiles the passes, or returns them as they are.
        batch: Batch size of the compiled passes. A batch of another size, the last of an epoch, runs uncompiled.
    """

    tensors: list[Tensors]  # of each part, in the current step
    saved: list[Tensors]  # of each part, for the backward pass

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

    def backward(self, gradient: Tensor, needs_input_grad: bool) -> Tensor:
        function = self._fast_backward if gradient.shape[2] == self.batch else self._backward
        grad_input: Tensor
        grad_input, gradients = function(gradient, self.tensors, self.saved)
        for part, of_part in zip(self.parts, gradients, strict=True):
            for there, here in zip(part.gradients, of_part, strict=True):
                there.copy_(here)
        return grad_input

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
    """Return the layers of networks whose modules have the same types, sizes and settings.

    Args:
        models: Models of the runs, in the order of the rows.
        parameters: Parameters of the stack.
        in_features: Number of input features.
        wrap: Function that compiles the passes of segments, or returns them as they are.
        batch: Images per step.
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


def layers_to_train(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Return the layers that need a gradient: all layers, except a first one without parameters (input dropout)."""
    first = layers[0]
    is_idle = isinstance(first, Segment) and not any(part.gradients for part in first.parts)
    return layers[1:] if is_idle else layers
