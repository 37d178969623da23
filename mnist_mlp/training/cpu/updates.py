"""The optimizers' updates, each a single pass over the parameters, gradients and state.

PyTorch's own take up to eleven passes; on the CPU it has single-pass kernels for some of its optimizers only. What they
compute is in `mnist_mlp.training.formulas`. The optimizer's own state stays empty, as what is to be remembered is kept
here.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba.extending import register_jitable
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from mnist_mlp.base.numba_jit import OPTIONS, compiled
from mnist_mlp.training.formulas import Formula, over_elements
from mnist_mlp.training.rules import Rule, rule_of


@functools.cache
def kernel_of(formula: Formula, remembered: int) -> Any:
    """The compiled loop of a formula, over vectors: parameters, gradients, so many that are remembered; and numbers."""
    return compiled(over_elements(register_jitable(**OPTIONS)(formula), remembered))


@dataclass
class _Parameter:
    tensor: Tensor
    values: np.ndarray
    remembered: tuple[np.ndarray, ...]
    gradient: Tensor | None = None  # a vector's last one and its array, as it mostly stays where it is
    gradient_values: np.ndarray | None = None


class Update:
    """Does what `optimizer.step()` does, but for rounding, in a single pass.

    Args:
        optimizer: one that `suits` accepts; every parameter has a gradient at every step.

    Raises:
        ValueError: there is none for this optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.steps = 0
        self._groups: list[tuple[Rule, list[_Parameter]]] = []
        for group in optimizer.param_groups:
            rule = rule_of(optimizer, group)
            if rule is None:
                raise ValueError(f"there is no single-pass update for {optimizer}")
            parameters = []
            for p in group["params"]:
                remembered = tuple(_flat(torch.full_like(p, value)) for value in rule.initial)
                parameters.append(_Parameter(p, _flat(p), remembered))
            if parameters:  # PyTorch allows a group of none
                self._groups.append((rule, parameters))

    def __call__(self) -> None:
        """One step, from the gradients in the parameters' `grad`."""
        self.steps += 1
        for rule, parameters in self._groups:
            kernel = kernel_of(rule.formula, len(rule.initial))
            kind = parameters[0].values.dtype.type  # a double would make doubles of all that a kernel computes
            numbers = tuple(map(kind, rule.numbers(self.steps)))
            for p in parameters:
                gradient = p.tensor.grad
                assert gradient is not None
                values = p.gradient_values
                if gradient is not p.gradient:
                    values = _flat(gradient)
                    if gradient.ndim == 1:  # to hold on to a weight's would keep its memory from the next one
                        p.gradient, p.gradient_values = gradient, values
                kernel(p.values, values, *p.remembered, *numbers)


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().reshape(-1)


def has_hooks(optimizer: Optimizer) -> bool:
    """Whether somebody has asked to be called when it takes a step, or has put another step in place of its own."""
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
    )
    return any(hooks) or "step" in vars(optimizer)


def suits(optimizer: Optimizer) -> bool:
    """Whether there is a single-pass update that does what this optimizer would, and no more is asked of it."""
    has_stepped = any(float(state.get("step", 1)) > 0 for state in optimizer.state.values())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return (
        not has_hooks(optimizer)
        and not has_stepped
        and all(rule_of(optimizer, group) is not None for group in optimizer.param_groups)
        and all(p.device.type == "cpu" and p.dtype in (torch.float32, torch.float64) for p in parameters)
        and all(p.is_contiguous() for p in parameters)
    )
