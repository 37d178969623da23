"""Which formula each optimizer updates by, and with what numbers.

An update of all the optimizers here acts on every element alone: from the parameter, its gradient, what the optimizer
remembers and a few numbers that are the same for all elements. A rule says which formula it is, what the memory starts
from, and what the numbers are at a step; `mnist_mlp.training.cpu.updates` and `mnist_mlp.training.stack.updates` take
the steps. Hyperparameters are read from the optimizer's parameter group at every step.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from mnist_mlp.training import formulas
from mnist_mlp.training.formulas import Formula

Group = Mapping[str, Any]
Numbers = tuple[float, ...]


class Rule(NamedTuple):
    """How one optimizer's parameter group is updated.

    Attributes:
        formula: what becomes of one element.
        initial: what each of the remembered arrays is filled with at first.
        numbers: the formula's numbers at step t, which counts from 1.
    """

    formula: Formula
    initial: tuple[float, ...]
    numbers: Callable[[int], Numbers]


def sgd(group: Group) -> Rule:
    """Gradient descent, with Polyak's or Nesterov's momentum (Sutskever et al. 2013)."""
    if group["momentum"] == 0:
        return Rule(formulas.sgd, (), lambda t: (group["lr"], group["weight_decay"]))

    def numbers(t: int) -> Numbers:
        momentum = group["momentum"]
        fresh = 1.0 if t == 1 else 1.0 - group["dampening"]
        direction = (1.0, momentum) if group["nesterov"] else (0.0, 1.0)
        return (group["lr"], momentum, fresh, *direction, group["weight_decay"])

    return Rule(formulas.momentum, (0.0,), numbers)


def adagrad(group: Group) -> Rule:
    """Duchi, Hazan and Singer 2011."""
    return Rule(
        formulas.adagrad,
        (group["initial_accumulator_value"],),
        lambda t: (group["lr"] / (1 + (t - 1) * group["lr_decay"]), group["eps"], group["weight_decay"]),
    )


def rmsprop(group: Group) -> Rule:
    """Tieleman and Hinton 2012; centered, by the variance instead of the mean square, Graves 2013."""

    def numbers(t: int) -> Numbers:
        further = (float(group["centered"]), group["momentum"]) if is_general else ()
        return (group["lr"], group["alpha"], 1 - group["alpha"], group["eps"], *further, group["weight_decay"])

    is_general = group["centered"] or group["momentum"] != 0
    formula = formulas.centered_rmsprop if is_general else formulas.rmsprop
    return Rule(formula, (0.0, 0.0, 0.0) if is_general else (0.0,), numbers)


def adadelta(group: Group) -> Rule:
    """Zeiler 2012."""
    return Rule(
        formulas.adadelta,
        (0.0, 0.0),
        lambda t: (group["lr"], group["rho"], 1 - group["rho"], group["eps"], group["weight_decay"]),
    )


def adam(group: Group) -> Rule:
    """Kingma and Ba 2015; with decoupled weight decay, Loshchilov and Hutter 2019; AMSGrad, Reddi et al. 2018."""

    def numbers(t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        lr, of_root = group["lr"] / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
        return (lr, 1 - beta1, beta2, 1 - beta2, of_root, group["eps"], *_decay(group))

    if group["amsgrad"]:
        return Rule(formulas.amsgrad, (0.0, 0.0, 0.0), numbers)
    return Rule(formulas.adam, (0.0, 0.0), numbers)


def nadam(group: Group) -> Rule:
    """Dozat 2016, "Incorporating Nesterov Momentum into Adam"; its momentum grows over the steps."""
    products = [1.0]  # of the momenta up to each step

    def momentum(t: int) -> float:
        return float(group["betas"][0] * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])))

    def numbers(t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        while len(products) <= t + 1:
            products.append(products[-1] * momentum(len(products)))
        of_gradient = group["lr"] * (1 - momentum(t)) / (1 - products[t])
        of_average = group["lr"] * momentum(t + 1) / (1 - products[t + 1])
        of_root = 1 / math.sqrt(1 - beta2**t)
        return (of_gradient, of_average, 1 - beta1, beta2, 1 - beta2, of_root, group["eps"], *_decay(group))

    return Rule(formulas.nadam, (0.0, 0.0), numbers)


def adamax(group: Group) -> Rule:
    """Kingma and Ba 2015, section 7.1: Adam by the largest gradient instead of the mean square."""

    def numbers(t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        return (group["lr"] / (1 - beta1**t), 1 - beta1, beta2, group["eps"], group["weight_decay"])

    return Rule(formulas.adamax, (0.0, 0.0), numbers)


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

    return Rule(formulas.adam, (0.0, 0.0), numbers)


def _decay(group: Group) -> tuple[float, float]:
    """Weight decay as a part of the gradient, and the factor by which the weights themselves shrink."""
    if group["decoupled_weight_decay"]:
        return 0.0, 1 - group["lr"] * group["weight_decay"]
    return group["weight_decay"], 1.0


RULES: dict[type[Optimizer], Callable[[Group], Rule]] = {
    SGD: sgd,
    Adagrad: adagrad,
    RMSprop: rmsprop,
    Adadelta: adadelta,
    Adam: adam,
    AdamW: adam,
    Adamax: adamax,
    NAdam: nadam,
    RAdam: radam,
}


def rule_of(optimizer: Optimizer, group: Group) -> Rule | None:
    """The rule of one of an optimizer's parameter groups; None where there is none that does the same."""
    make = RULES.get(type(optimizer))
    unusual = any(group.get(key) for key in ("maximize", "capturable", "differentiable"))
    return None if make is None or unusual or isinstance(group["lr"], Tensor) else make(group)
