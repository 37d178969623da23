"""The optimizers' updates, each a single pass over the parameters, gradients and state.

PyTorch's own take up to eleven passes; on the CPU it has single-pass kernels for some of its optimizers only. The
formulas are those of `torch.optim`'s documentation. Hyperparameters are read from the optimizer at every step; its own
state stays empty, as what is to be remembered is kept here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RAdam, RMSprop
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from mnist_mlp.cpu.compiled import compiled

Array = Any
Group = Mapping[str, Any]
Numbers = tuple[float, ...]


class Rule(NamedTuple):
    """How one optimizer's parameter group is updated.

    Attributes:
        kernel: called with parameters, gradients, the arrays that it remembers, all flat, and the numbers, all of the
            parameters' type.
        initial: what each of those arrays is filled with at first.
        numbers: the kernel's numbers at step t, which counts from 1.
    """

    kernel: Callable[..., None]
    initial: tuple[float, ...]
    numbers: Callable[[int], Numbers]


@compiled
def _sgd(p: Array, g: Array, lr: float, weight_decay: float) -> None:
    for i in range(len(p)):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@compiled
def _momentum(
    p: Array,
    g: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    fresh: float,
    of_gradient: float,
    of_velocity: float,
    weight_decay: float,
) -> None:
    for i in range(len(p)):
        gradient = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + fresh * gradient
        p[i] -= lr * (of_gradient * gradient + of_velocity * velocity[i])


def sgd(group: Group) -> Rule:
    """Gradient descent, with Polyak's or Nesterov's momentum (Sutskever et al. 2013)."""
    if group["momentum"] == 0:
        return Rule(_sgd, (), lambda t: (group["lr"], group["weight_decay"]))

    def numbers(t: int) -> Numbers:
        momentum = group["momentum"]
        fresh = 1.0 if t == 1 else 1.0 - group["dampening"]
        direction = (1.0, momentum) if group["nesterov"] else (0.0, 1.0)
        return (group["lr"], momentum, fresh, *direction, group["weight_decay"])

    return Rule(_momentum, (0.0,), numbers)


@compiled
def _adagrad(p: Array, g: Array, total: Array, lr: float, eps: float, weight_decay: float) -> None:
    for i in range(len(p)):
        gradient = g[i] + weight_decay * p[i]
        total[i] += gradient * gradient
        p[i] -= lr * gradient / (np.sqrt(total[i]) + eps)


def adagrad(group: Group) -> Rule:
    """Duchi, Hazan and Singer 2011."""
    return Rule(
        _adagrad,
        (group["initial_accumulator_value"],),
        lambda t: (group["lr"] / (1 + (t - 1) * group["lr_decay"]), group["eps"], group["weight_decay"]),
    )


@compiled
def _rmsprop(
    p: Array, g: Array, square: Array, lr: float, alpha: float, fresh: float, eps: float, weight_decay: float
) -> None:
    for i in range(len(p)):
        gradient = g[i] + weight_decay * p[i]
        square[i] = alpha * square[i] + fresh * gradient * gradient
        p[i] -= lr * gradient / (np.sqrt(square[i]) + eps)


def rmsprop(group: Group) -> Rule | None:
    """Tieleman and Hinton 2012; neither centered nor with momentum."""
    if group["centered"] or group["momentum"] != 0:
        return None
    return Rule(
        _rmsprop,
        (0.0,),
        lambda t: (group["lr"], group["alpha"], 1 - group["alpha"], group["eps"], group["weight_decay"]),
    )


@compiled
def _adadelta(
    p: Array,
    g: Array,
    square: Array,
    delta_square: Array,
    lr: float,
    rho: float,
    fresh: float,
    eps: float,
    weight_decay: float,
) -> None:
    for i in range(len(p)):
        gradient = g[i] + weight_decay * p[i]
        square[i] = rho * square[i] + fresh * gradient * gradient
        delta = np.sqrt(delta_square[i] + eps) / np.sqrt(square[i] + eps) * gradient
        delta_square[i] = rho * delta_square[i] + fresh * delta * delta
        p[i] -= lr * delta


def adadelta(group: Group) -> Rule:
    """Zeiler 2012."""
    return Rule(
        _adadelta,
        (0.0, 0.0),
        lambda t: (group["lr"], group["rho"], 1 - group["rho"], group["eps"], group["weight_decay"]),
    )


@compiled
def _adam(
    p: Array,
    g: Array,
    average: Array,
    square: Array,
    lr: float,
    fresh1: float,
    beta2: float,
    fresh2: float,
    of_root: float,
    eps: float,
    weight_decay: float,
    shrink: float,
) -> None:
    for i in range(len(p)):
        gradient = g[i] + weight_decay * p[i]
        average[i] += fresh1 * (gradient - average[i])
        square[i] = beta2 * square[i] + fresh2 * gradient * gradient
        p[i] = shrink * p[i] - lr * average[i] / (of_root * np.sqrt(square[i]) + eps)


def adam(group: Group) -> Rule | None:
    """Kingma and Ba 2015; with decoupled weight decay, Loshchilov and Hutter 2019; not AMSGrad."""
    if group["amsgrad"]:
        return None

    def numbers(t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        lr, of_root = group["lr"] / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
        return (lr, 1 - beta1, beta2, 1 - beta2, of_root, group["eps"], *_decay(group))

    return Rule(_adam, (0.0, 0.0), numbers)


def radam(group: Group) -> Rule:
    """Liu et al. 2020: Adam, but for a factor of the learning rate, and no division while the variance is unknown."""

    def numbers(t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        lr, of_root, eps = group["lr"] / (1 - beta1**t), 0.0, 1.0
        if rho > 5:
            rectification = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            lr, of_root, eps = lr * rectification * math.sqrt(1 - beta2**t), 1.0, group["eps"]
        return (lr, 1 - beta1, beta2, 1 - beta2, of_root, eps, *_decay(group))

    return Rule(_adam, (0.0, 0.0), numbers)


def _decay(group: Group) -> tuple[float, float]:
    """Weight decay as a part of the gradient, and the factor by which the weights themselves shrink."""
    if group["decoupled_weight_decay"]:
        return 0.0, 1 - group["lr"] * group["weight_decay"]
    return group["weight_decay"], 1.0


RULES: dict[type[Optimizer], Callable[[Group], Rule | None]] = {
    SGD: sgd,
    Adagrad: adagrad,
    RMSprop: rmsprop,
    Adadelta: adadelta,
    Adam: adam,
    AdamW: adam,
    RAdam: radam,
}


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
            rule = _rule(optimizer, group)
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
                rule.kernel(p.values, values, *p.remembered, *numbers)


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().reshape(-1)


def suits(optimizer: Optimizer) -> bool:
    """Whether there is a single-pass update that does what this optimizer would, and no more is asked of it."""
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
    )
    has_stepped = any(float(state.get("step", 1)) > 0 for state in optimizer.state.values())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return (
        "step" not in vars(optimizer)
        and not any(hooks)
        and not has_stepped
        and all(_rule(optimizer, group) is not None for group in optimizer.param_groups)
        and all(p.device.type == "cpu" and p.dtype in (torch.float32, torch.float64) for p in parameters)
        and all(p.is_contiguous() for p in parameters)
    )


def _rule(optimizer: Optimizer, group: Group) -> Rule | None:
    rule_of = RULES.get(type(optimizer))
    unusual = any(group.get(key) for key in ("maximize", "capturable", "differentiable"))
    return None if rule_of is None or unusual or isinstance(group["lr"], Tensor) else rule_of(group)
