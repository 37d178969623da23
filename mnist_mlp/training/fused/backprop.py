"""Gradients of a feed-forward network on the CPU, by hand-written backward passes.

For small networks, autograd spends more time between operations than in them. The values between layers have shape
(features, batch), with one image per column. This makes the weight the first factor of a layer's matmul, which oneDNN
computes in a fifth less time than the other order. As with autograd, the gradients are in the parameters' `grad`.
"""

# ruff: noqa: D102 - `Layer` documents the two passes of all layers

from collections.abc import Callable
from typing import Any, Protocol, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from mnist_mlp.base.torch_internals import has_global_module_hooks, has_gradient_hooks, has_hooks
from mnist_mlp.network import dropout
from mnist_mlp.network.matmul import Linear, matmuls_for
from mnist_mlp.network.mlp import ACTIVATIONS
from mnist_mlp.training.fused import kernels

Array = np.ndarray


class Layer(Protocol):
    """Forward and backward pass of one module in training mode."""

    def forward(self, x: Array) -> Array:
        """Map the input to the output, both of shape (features, batch), possibly in place."""

    def backward(self, gradient: Array, needs_input_grad: bool) -> Array:
        """Map the gradient with respect to the output to the gradient with respect to the input, possibly in place.

        Sets the gradients of the module's parameters. The return value is undefined if `needs_input_grad` is false.
        """


class Vector:
    """NumPy views of a parameter of shape (features,) and of its gradient; valid until either tensor is replaced."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.value: Array = parameter.detach().numpy()
        parameter.grad = torch.zeros_like(parameter)
        self.gradient: Array = parameter.grad.numpy()


class LinearLayer:
    """Linear layer, W x + b."""

    def __init__(self, module: nn.Linear, random: np.random.BitGenerator) -> None:
        self.parameter = module.weight
        self.weight = module.weight.detach()
        self.products = matmuls_for(self.weight)
        self.bias = None if module.bias is None else Vector(module.bias)

    def forward(self, x: Array) -> Array:
        self.x = torch.from_numpy(x)
        out: Array = self.products.forward(self.weight, self.x).numpy()
        if self.bias is not None:
            kernels.add_bias(out, self.bias.value)
        return out

    def backward(self, gradient: Array, needs_input_grad: bool) -> Array:
        if self.bias is not None:
            kernels.add_bias_backward(self.bias.gradient, gradient)
        grad_output = torch.from_numpy(gradient)
        self.parameter.grad = None  # freed first: the new gradient then reuses the memory, which is in the CPU's cache
        self.parameter.grad = self.products.grad_weight(grad_output, self.x)
        return self.products.grad_input(self.weight, grad_output).numpy() if needs_input_grad else gradient


class BatchNormLayer:
    """Batch normalization with the statistics of the batch."""

    def __init__(self, module: nn.BatchNorm1d, random: np.random.BitGenerator) -> None:
        assert module.running_mean is not None  # checked by `supports`
        assert module.running_var is not None
        assert module.num_batches_tracked is not None
        self.weight, self.bias = Vector(module.weight), Vector(module.bias)
        self.features, self.momentum, self.eps = module.num_features, module.momentum, module.eps
        self.running_mean, self.running_var = module.running_mean.numpy(), module.running_var.numpy()
        self.steps = module.num_batches_tracked.view(1).numpy()
        self.inverse_std = np.empty_like(self.weight.value)
        self.out = self.normalized = np.empty((0, 0))

    def forward(self, x: Array) -> Array:
        if len(x) != self.features or x.shape[1] < 2:
            raise ValueError(f"BatchNorm of {self.features} features: got {x.shape[1]} images of {len(x)} features")
        self.out, self.normalized = _like(x, self.out), _like(x, self.normalized)
        self.steps += 1
        kernels.batch_norm(
            self.out,
            self.normalized,
            self.inverse_std,
            self.running_mean,
            self.running_var,
            x,
            self.weight.value,
            self.bias.value,
            self.momentum,
            self.eps,
        )
        return self.out

    def backward(self, gradient: Array, needs_input_grad: bool) -> Array:
        kernels.batch_norm_backward(
            gradient,
            self.weight.gradient,
            self.bias.gradient,
            self.normalized,
            self.inverse_std,
            self.weight.value,
        )
        return gradient


class ReLULayer:
    """Rectified linear unit, max(x, 0)."""

    def __init__(self, module: nn.ReLU, random: np.random.BitGenerator) -> None:
        pass

    def forward(self, x: Array) -> Array:
        kernels.relu(x)
        self.out = x
        return x

    def backward(self, gradient: Array, needs_input_grad: bool) -> Array:
        kernels.relu_backward(gradient, self.out)
        return gradient


class ActivationLayer:
    """Any other elementwise activation, by autograd."""

    def __init__(self, module: nn.Module, random: np.random.BitGenerator) -> None:
        self.module = module

    def forward(self, x: Array) -> Array:
        self.x = torch.from_numpy(x).requires_grad_()
        with torch.enable_grad():
            self.out = self.module(self.x)
        out: Array = self.out.detach().numpy()
        return out.copy()  # the next layer may work in place, but autograd needs the output

    def backward(self, gradient: Array, needs_input_grad: bool) -> Array:
        (grad_input,) = torch.autograd.grad(self.out, self.x, torch.from_numpy(gradient))
        return np.ascontiguousarray(grad_input.numpy())


class DropoutLayer:
    """Dropout: zero each unit with probability p, and divide the others by 1 - p (see `mnist_mlp.network.dropout`)."""

    def __init__(self, module: nn.Dropout, random: np.random.BitGenerator) -> None:
        self.random = random
        self.sampler = dropout.mask_sampler(module.p)
        self.out = self.factor = np.empty((0, 0))

    def forward(self, x: Array) -> Array:
        self.out, self.factor = _like(x, self.out), _like(x, self.factor)
        kind, threshold, scale = self.sampler
        bits = self.random.random_raw(self.sampler.words(x.size)).view(kind)
        kernels.dropout(self.out, self.factor, x, bits, threshold, scale)
        return self.out

    def backward(self, gradient: Array, needs_input_grad: bool) -> Array:
        kernels.multiply(gradient, self.factor)
        return gradient


def _like(x: Array, buffer: Array) -> Array:
    """Return the buffer if it has the shape and dtype of x, else a new one. Allocation takes longer than a pass."""
    if buffer.shape == x.shape and buffer.dtype == x.dtype:
        return buffer
    # PyTorch aligns memory to the vector width. Without alignment, libraries may round differently from run to run.
    return torch.empty_like(torch.from_numpy(x)).numpy()


LAYERS: dict[type[nn.Module], Callable[[Any, np.random.BitGenerator], Layer]] = {
    **dict.fromkeys(ACTIVATIONS.values(), ActivationLayer),
    nn.Linear: LinearLayer,
    Linear: LinearLayer,
    nn.BatchNorm1d: BatchNormLayer,
    nn.ReLU: ReLULayer,
    nn.Dropout: DropoutLayer,
}


class Backprop:
    """Computation of the gradients of a batch's mean cross-entropy.

    Args:
        model: Model that `supports` accepts, in training mode.
        seed: Seed of dropout, in 0..2**32-1.
    """

    def __init__(self, model: nn.Sequential, seed: int) -> None:
        random = dropout.rng_stream(seed)
        self.layers = [LAYERS[type(module)](module, random) for module in model]
        has_parameters = [len(list(module.parameters())) > 0 for module in model]
        self.trained = self.layers[has_parameters.index(True) :] if any(has_parameters) else []
        self.grad_logits = np.empty((0, 0))

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Set the gradients of the model's parameters.

        Args:
            images: Images of shape (batch, features), of the parameters' dtype.
            labels: Labels of shape (batch,), each in 0..classes-1.

        Returns:
            Mean loss in nats, and number of images that are classified correctly.
        """
        columns = images.t()  # (features, batch)
        # A linear layer needs no copy, since its matmul reads the images as rows.
        if not isinstance(self.layers[0], LinearLayer):
            columns = columns.clone(memory_format=torch.contiguous_format)
        x: Array = columns.numpy()
        for layer in self.layers:
            x = layer.forward(x)
        gradient = self.grad_logits = _like(x, self.grad_logits)
        loss, correct = kernels.cross_entropy(gradient, x, labels.numpy())
        for layer in reversed(self.trained):  # leaves out layers before the first parameters, such as input dropout
            gradient = layer.backward(gradient, needs_input_grad=layer is not self.trained[0])
        return loss, correct


def supports(model: nn.Module) -> TypeGuard[nn.Sequential]:
    """Return whether `Backprop` can replace autograd for this model, with the same results except for rounding.

    The model must be an `nn.Sequential` of known layers, on the CPU, without hooks or overridden methods. All of its
    parameters must be trained, contiguous, and of one dtype, float32 or float64.
    """
    if not isinstance(model, nn.Sequential) or any(
        getattr(type(model), name) is not getattr(nn.Sequential, name)
        for name in ("forward", "train", "__call__", "__iter__")
    ):
        return False
    modules, parameters = list(model), list(model.parameters())
    return (
        len(modules) > 0
        and len(modules) == len(set(modules))
        and all(type(module) in LAYERS and _is_usual(module) for module in modules)
        and len(parameters) == sum(len(list(module.parameters())) for module in modules)
        and not has_global_module_hooks()
        and not any("forward" in vars(module) or has_hooks(module) for module in model.modules())
        and not any(map(has_gradient_hooks, parameters))
        and len({p.dtype for p in parameters}) == 1
        and all(p.dtype in (torch.float32, torch.float64) for p in parameters)
        and all(p.device.type == "cpu" and p.requires_grad and p.is_contiguous() for p in parameters)
    )


def _is_usual(module: nn.Module) -> bool:
    match module:
        case nn.Linear() | nn.ReLU():
            return True
        case nn.BatchNorm1d():
            return module.affine and module.track_running_stats and module.momentum is not None
        case nn.Dropout():
            return 0 <= module.p < 1 - 2**-16
    return not getattr(module, "inplace", False) and not list(module.parameters())
