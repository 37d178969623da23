"""Optimizer steps of one run on the CPU, each in a single pass over parameters, gradients and optimizer state.

PyTorch's implementations take up to eleven passes; its fused CPU kernels cover only some of its optimizers.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba.extending import register_jitable
from torch import Tensor
from torch.optim import Optimizer

from mnist_mlp.base.numba_jit import OPTIONS, jit
from mnist_mlp.base.torch_internals import has_step_hooks
from mnist_mlp.training.updates.functions import UpdateFunction, UpdateSpec, loop_over, spec_of


@functools.cache
def kernel_of(function: UpdateFunction, coefficients: Callable[..., Any], arrays: int) -> Any:
    """Compile the loop of an update function (see `loop_over`)."""
    return jit(loop_over(register_jitable(**OPTIONS)(function), coefficients, arrays))


@dataclass
class _Parameter:
    tensor: Tensor
    values: np.ndarray
    state: tuple[np.ndarray, ...]
    gradient: Tensor | None = None  # gradient at the last step, for vectors only: it mostly stays the same tensor
    gradient_values: np.ndarray | None = None  # NumPy view of this gradient


class FusedUpdate:
    """Replacement of `optimizer.step()`, equal except for rounding. `optimizer.state` is not used.

    Args:
        optimizer: Optimizer that `supports` accepts; every parameter has a gradient at every step.

    Raises:
        ValueError: The optimizer has no update function.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.steps = 0
        self._groups: list[tuple[UpdateSpec, list[_Parameter]]] = []
        for group in optimizer.param_groups:
            spec = spec_of(optimizer, group)
            if spec is None:
                raise ValueError(f"no update function for {optimizer}")
            parameters = []
            for p in group["params"]:
                state = tuple(_flat(torch.full_like(p, value)) for value in spec.initial)
                parameters.append(_Parameter(p, _flat(p), state))
            if parameters:  # PyTorch allows a group without any
                self._groups.append((spec, parameters))

    def __call__(self) -> None:
        """Take one step, using the gradients in the parameters' `grad`."""
        self.steps += 1
        for spec, parameters in self._groups:
            coefficients = spec.coefficients(self.steps)
            kernel = kernel_of(spec.function, type(coefficients), len(spec.initial))
            dtype = parameters[0].values.dtype.type  # float64 coefficients would make the kernel compute in float64
            numbers = tuple(map(dtype, coefficients))
            for p in parameters:
                gradient = p.tensor.grad
                assert gradient is not None
                values = p.gradient_values
                if gradient is not p.gradient:
                    values = _flat(gradient)
                    if gradient.ndim == 1:  # a reference to the gradient of a matrix would keep its memory from reuse
                        p.gradient, p.gradient_values = gradient, values
                kernel(p.values, values, *p.state, *numbers)


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().reshape(-1)


def has_custom_step(optimizer: Optimizer) -> bool:
    """Return whether the optimizer has step hooks or an overridden `step`."""
    return has_step_hooks(optimizer) or "step" in vars(optimizer)


def supports(optimizer: Optimizer) -> bool:
    """Return whether `FusedUpdate` can replace the steps of this optimizer."""
    has_stepped = any(float(state.get("step", 1)) > 0 for state in optimizer.state.values())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return (
        not has_custom_step(optimizer)
        and not has_stepped
        and all(spec_of(optimizer, group) is not None for group in optimizer.param_groups)
        and all(p.device.type == "cpu" and p.dtype in (torch.float32, torch.float64) for p in parameters)
        and all(p.is_contiguous() for p in parameters)
    )
