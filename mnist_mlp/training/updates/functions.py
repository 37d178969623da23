"""Update functions of the optimizers: the update of one element of a parameter, in the notation of the papers.

Each optimizer has three parts, one below the other:

- Coefficients: a NamedTuple of the numbers that are equal for all elements at one step.
- Update function: returns the new parameter and optimizer state. Its arguments are parameter p, gradient g, optimizer
  state (such as m and v), coefficients c, and the functions sqrt and maximum for numbers or for tensors.
- Spec: a function of a parameter group of `torch.optim`. It returns the update function, the initial optimizer state,
  and a function from step t to the coefficients.

`mnist_mlp.training.updates.fused` compiles loops of the functions for one run. `mnist_mlp.training.updates.stacked`
calls them with tensors of many runs. Differences such as 1 - beta1 are coefficients, so that they are computed in
double precision for parameters of any dtype. The formulas are those of `torch.optim`'s documentation.
"""

# ruff: noqa: D101, D103 - the names are the optimizers'

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

Group = Mapping[str, Any]
UpdateFunction = Callable[..., tuple[Any, ...]]  # of numbers or of tensors


class UpdateSpec(NamedTuple):
    """Update of one parameter group of an optimizer.

    Attributes:
        function: Update function.
        initial: Initial value of each array of the optimizer state.
        coefficients: Function that maps a step, counted from 1, to the coefficients. It reads the hyperparameters from
            the parameter group at every call, so that schedules have an effect.
    """

    function: UpdateFunction
    initial: tuple[float, ...]
    coefficients: Callable[[int], tuple[float, ...]]


# SGD, with momentum by Polyak (1964) or Nesterov (Sutskever et al. 2013)


class SGDCoefficients(NamedTuple):
    lr: float
    weight_decay: float


def sgd(p, g, c, sqrt, maximum):
    return (p - c.lr * (g + c.weight_decay * p),)


class MomentumCoefficients(NamedTuple):
    lr: float
    mu: float
    one_minus_dampening: float
    g_weight: float
    v_weight: float
    weight_decay: float


def momentum(p, g, v, c, sqrt, maximum):
    g = g + c.weight_decay * p
    v = c.mu * v + c.one_minus_dampening * g
    return p - c.lr * (c.g_weight * g + c.v_weight * v), v


def sgd_spec(group: Group) -> UpdateSpec:
    if group["momentum"] == 0:
        return UpdateSpec(sgd, (), lambda t: SGDCoefficients(group["lr"], group["weight_decay"]))

    def coefficients(t: int) -> MomentumCoefficients:
        return MomentumCoefficients(
            lr=group["lr"],
            mu=group["momentum"],
            one_minus_dampening=1.0 if t == 1 else 1.0 - group["dampening"],
            g_weight=1.0 if group["nesterov"] else 0.0,
            v_weight=group["momentum"] if group["nesterov"] else 1.0,
            weight_decay=group["weight_decay"],
        )

    return UpdateSpec(momentum, (0.0,), coefficients)


# Adagrad (Duchi, Hazan and Singer 2011)


class AdagradCoefficients(NamedTuple):
    lr: float
    eps: float
    weight_decay: float


def adagrad(p, g, v, c, sqrt, maximum):
    g = g + c.weight_decay * p
    v = v + g * g
    return p - c.lr * g / (sqrt(v) + c.eps), v


def adagrad_spec(group: Group) -> UpdateSpec:
    def coefficients(t: int) -> AdagradCoefficients:
        return AdagradCoefficients(group["lr"] / (1 + (t - 1) * group["lr_decay"]), group["eps"], group["weight_decay"])

    return UpdateSpec(adagrad, (group["initial_accumulator_value"],), coefficients)


# RMSprop (Tieleman and Hinton 2012); centered, with the variance instead of the mean square (Graves 2013)


class RMSpropCoefficients(NamedTuple):
    lr: float
    alpha: float
    one_minus_alpha: float
    eps: float
    is_centered: float  # 1 or 0
    mu: float
    weight_decay: float


def rmsprop(p, g, v, c, sqrt, maximum):
    g = g + c.weight_decay * p
    v = c.alpha * v + c.one_minus_alpha * g * g
    return p - c.lr * g / (sqrt(v) + c.eps), v


def centered_rmsprop(p, g, v, m, velocity, c, sqrt, maximum):
    g = g + c.weight_decay * p
    v = c.alpha * v + c.one_minus_alpha * g * g
    m = m + c.one_minus_alpha * (g - m)
    velocity = c.mu * velocity + g / (sqrt(v - c.is_centered * m * m) + c.eps)
    return p - c.lr * velocity, v, m, velocity


def rmsprop_spec(group: Group) -> UpdateSpec:
    def coefficients(t: int) -> RMSpropCoefficients:
        return RMSpropCoefficients(
            lr=group["lr"],
            alpha=group["alpha"],
            one_minus_alpha=1 - group["alpha"],
            eps=group["eps"],
            is_centered=float(group["centered"]),
            mu=group["momentum"],
            weight_decay=group["weight_decay"],
        )

    if group["centered"] or group["momentum"] != 0:
        return UpdateSpec(centered_rmsprop, (0.0, 0.0, 0.0), coefficients)
    return UpdateSpec(rmsprop, (0.0,), coefficients)


# Adadelta (Zeiler 2012); u is the running mean square of delta, the update before the learning rate


class AdadeltaCoefficients(NamedTuple):
    lr: float
    rho: float
    one_minus_rho: float
    eps: float
    weight_decay: float


def adadelta(p, g, v, u, c, sqrt, maximum):
    g = g + c.weight_decay * p
    v = c.rho * v + c.one_minus_rho * g * g
    delta = sqrt(u + c.eps) / sqrt(v + c.eps) * g
    u = c.rho * u + c.one_minus_rho * delta * delta
    return p - c.lr * delta, v, u


def adadelta_spec(group: Group) -> UpdateSpec:
    def coefficients(t: int) -> AdadeltaCoefficients:
        return AdadeltaCoefficients(group["lr"], group["rho"], 1 - group["rho"], group["eps"], group["weight_decay"])

    return UpdateSpec(adadelta, (0.0, 0.0), coefficients)


# Adam (Kingma and Ba 2015) and three variants:
# - AdamW (Loshchilov and Hutter 2019): weight decay is decoupled.
# - AMSGrad (Reddi et al. 2018): the denominator never decreases.
# - RAdam (Liu et al. 2020): the learning rate is rectified, and the first steps do not divide by sqrt(v).


class AdamCoefficients(NamedTuple):
    lr: float  # divided by 1 - beta1^t, the bias correction of m
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    v_correction: float  # factor of sqrt(v): 1 / sqrt(1 - beta2^t)
    eps: float
    weight_decay: float  # coupled: added to the gradient
    shrinkage: float  # decoupled: factor of the parameter


def adam(p, g, m, v, c, sqrt, maximum):
    g = g + c.weight_decay * p
    m = m + c.one_minus_beta1 * (g - m)
    v = c.beta2 * v + c.one_minus_beta2 * g * g
    return c.shrinkage * p - c.lr * m / (c.v_correction * sqrt(v) + c.eps), m, v


def amsgrad(p, g, m, v, v_max, c, sqrt, maximum):
    g = g + c.weight_decay * p
    m = m + c.one_minus_beta1 * (g - m)
    v = c.beta2 * v + c.one_minus_beta2 * g * g
    v_max = maximum(v_max, v)
    return c.shrinkage * p - c.lr * m / (c.v_correction * sqrt(v_max) + c.eps), m, v, v_max


def _adam_coefficients(group: Group, lr: float, v_correction: float, eps: float) -> AdamCoefficients:
    beta1, beta2 = group["betas"]
    weight_decay, shrinkage = _decay(group)
    return AdamCoefficients(lr, 1 - beta1, beta2, 1 - beta2, v_correction, eps, weight_decay, shrinkage)


def _decay(group: Group) -> tuple[float, float]:
    """Return `weight_decay` and `shrinkage` of the coefficients; only one of them has an effect."""
    if group["decoupled_weight_decay"]:
        return 0.0, 1 - group["lr"] * group["weight_decay"]
    return group["weight_decay"], 1.0


def adam_spec(group: Group) -> UpdateSpec:
    def coefficients(t: int) -> AdamCoefficients:
        beta1, beta2 = group["betas"]
        return _adam_coefficients(group, group["lr"] / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t), group["eps"])

    return UpdateSpec(amsgrad if group["amsgrad"] else adam, (0.0,) * (3 if group["amsgrad"] else 2), coefficients)


def radam_spec(group: Group) -> UpdateSpec:
    def coefficients(t: int) -> AdamCoefficients:
        beta1, beta2 = group["betas"]
        lr = group["lr"] / (1 - beta1**t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if rho <= 5:
            return _adam_coefficients(group, lr, v_correction=0.0, eps=1.0)
        rectification = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        return _adam_coefficients(group, lr * rectification * math.sqrt(1 - beta2**t), 1.0, group["eps"])

    return UpdateSpec(adam, (0.0, 0.0), coefficients)


# NAdam (Dozat 2016, "Incorporating Nesterov Momentum into Adam"), whose momentum increases over the steps


class NAdamCoefficients(NamedTuple):
    g_lr: float
    m_lr: float
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    v_correction: float
    eps: float
    weight_decay: float
    shrinkage: float


def nadam(p, g, m, v, c, sqrt, maximum):
    g = g + c.weight_decay * p
    m = m + c.one_minus_beta1 * (g - m)
    v = c.beta2 * v + c.one_minus_beta2 * g * g
    return c.shrinkage * p - (c.g_lr * g + c.m_lr * m) / (c.v_correction * sqrt(v) + c.eps), m, v


def nadam_spec(group: Group) -> UpdateSpec:
    mu_products = [1.0]  # product of the momenta up to each step

    def mu(t: int) -> float:
        return float(group["betas"][0] * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])))

    def coefficients(t: int) -> NAdamCoefficients:
        beta1, beta2 = group["betas"]
        while len(mu_products) <= t + 1:
            mu_products.append(mu_products[-1] * mu(len(mu_products)))
        weight_decay, shrinkage = _decay(group)
        return NAdamCoefficients(
            g_lr=group["lr"] * (1 - mu(t)) / (1 - mu_products[t]),
            m_lr=group["lr"] * mu(t + 1) / (1 - mu_products[t + 1]),
            one_minus_beta1=1 - beta1,
            beta2=beta2,
            one_minus_beta2=1 - beta2,
            v_correction=1 / math.sqrt(1 - beta2**t),
            eps=group["eps"],
            weight_decay=weight_decay,
            shrinkage=shrinkage,
        )

    return UpdateSpec(nadam, (0.0, 0.0), coefficients)


# Adamax (Kingma and Ba 2015, section 7.1): Adam with u, a decaying maximum of |g|, instead of the mean square


class AdamaxCoefficients(NamedTuple):
    lr: float  # divided by 1 - beta1^t
    one_minus_beta1: float
    beta2: float
    eps: float
    weight_decay: float


def adamax(p, g, m, u, c, sqrt, maximum):
    g = g + c.weight_decay * p
    m = m + c.one_minus_beta1 * (g - m)
    u = maximum(c.beta2 * u, abs(g) + c.eps)
    return p - c.lr * m / u, m, u


def adamax_spec(group: Group) -> UpdateSpec:
    def coefficients(t: int) -> AdamaxCoefficients:
        beta1, beta2 = group["betas"]
        return AdamaxCoefficients(group["lr"] / (1 - beta1**t), 1 - beta1, beta2, group["eps"], group["weight_decay"])

    return UpdateSpec(adamax, (0.0, 0.0), coefficients)


UPDATE_SPECS: dict[type[Optimizer], Callable[[Group], UpdateSpec]] = {
    SGD: sgd_spec,
    Adagrad: adagrad_spec,
    RMSprop: rmsprop_spec,
    Adadelta: adadelta_spec,
    Adam: adam_spec,
    AdamW: adam_spec,
    RAdam: radam_spec,
    NAdam: nadam_spec,
    Adamax: adamax_spec,
}


def spec_of(optimizer: Optimizer, group: Group) -> UpdateSpec | None:
    """Return the update spec of a parameter group; None if the optimizer or one of its options is not supported."""
    make = UPDATE_SPECS.get(type(optimizer))
    unusual = any(group.get(key) for key in ("maximize", "capturable", "differentiable"))
    return None if make is None or unusual or isinstance(group["lr"], Tensor) else make(group)


def loop_over(function: UpdateFunction, coefficients: Callable[..., Any], arrays: int) -> Callable[..., None]:
    """Return a loop that applies an update function to vectors in place.

    The loop is in the same file as the update functions: Numba invalidates its cache only if the loop's file changes.

    Args:
        function: Update function.
        coefficients: NamedTuple class of its coefficients.
        arrays: Number of arrays of optimizer state, at most three.

    Returns:
        Function of parameters and gradients, each of shape (n,), the arrays of optimizer state, and the coefficients as
        separate numbers.
    """
    sqrt, maximum = np.sqrt, np.maximum

    def none(p: np.ndarray, g: np.ndarray, *numbers: float) -> None:
        c = coefficients(*numbers)
        for i in range(len(p)):
            (p[i],) = function(p[i], g[i], c, sqrt, maximum)

    def one(p: np.ndarray, g: np.ndarray, s: np.ndarray, *numbers: float) -> None:
        c = coefficients(*numbers)
        for i in range(len(p)):
            p[i], s[i] = function(p[i], g[i], s[i], c, sqrt, maximum)

    def two(p: np.ndarray, g: np.ndarray, s: np.ndarray, t: np.ndarray, *numbers: float) -> None:
        c = coefficients(*numbers)
        for i in range(len(p)):
            p[i], s[i], t[i] = function(p[i], g[i], s[i], t[i], c, sqrt, maximum)

    def three(p: np.ndarray, g: np.ndarray, s: np.ndarray, t: np.ndarray, u: np.ndarray, *numbers: float) -> None:
        c = coefficients(*numbers)
        for i in range(len(p)):
            p[i], s[i], t[i], u[i] = function(p[i], g[i], s[i], t[i], u[i], c, sqrt, maximum)

    return (none, one, two, three)[arrays]
