"""The optimizers' updates of many runs at once, whatever the learning rate and other numbers of each.

The formulas are those of `mnist_mlp.training.rules`, on arrays of shape (runs, P); each number has shape (runs, 1).
Compiled, each is one pass, which is what such an update costs: it is bound by memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from mnist_mlp.training.rules import Rule, rule_of
from mnist_mlp.training.stack.compiled import Wrap
from mnist_mlp.training.stack.parameters import Parameters

# ruff: noqa: D103 - what the formulas compute is said in `mnist_mlp.training.rules`


def sgd(p: Tensor, g: Tensor, lr: Tensor, weight_decay: Tensor) -> None:
    p.sub_(lr * (g + weight_decay * p))


def momentum(
    p: Tensor,
    g: Tensor,
    velocity: Tensor,
    lr: Tensor,
    momentum: Tensor,
    fresh: Tensor,
    of_gradient: Tensor,
    of_velocity: Tensor,
    weight_decay: Tensor,
) -> None:
    gradient = g + weight_decay * p
    velocity.mul_(momentum).add_(fresh * gradient)
    p.sub_(lr * (of_gradient * gradient + of_velocity * velocity))


def adagrad(p: Tensor, g: Tensor, total: Tensor, lr: Tensor, eps: Tensor, weight_decay: Tensor) -> None:
    gradient = g + weight_decay * p
    total.add_(gradient * gradient)
    p.sub_(lr * gradient / (total.sqrt() + eps))


def rmsprop(
    p: Tensor, g: Tensor, square: Tensor, lr: Tensor, alpha: Tensor, fresh: Tensor, eps: Tensor, weight_decay: Tensor
) -> None:
    gradient = g + weight_decay * p
    square.mul_(alpha).add_(fresh * gradient * gradient)
    p.sub_(lr * gradient / (square.sqrt() + eps))


def adadelta(
    p: Tensor,
    g: Tensor,
    square: Tensor,
    delta_square: Tensor,
    lr: Tensor,
    rho: Tensor,
    fresh: Tensor,
    eps: Tensor,
    weight_decay: Tensor,
) -> None:
    gradient = g + weight_decay * p
    square.mul_(rho).add_(fresh * gradient * gradient)
    delta = (delta_square + eps).sqrt() / (square + eps).sqrt() * gradient
    delta_square.mul_(rho).add_(fresh * delta * delta)
    p.sub_(lr * delta)


def adam(
    p: Tensor,
    g: Tensor,
    average: Tensor,
    square: Tensor,
    lr: Tensor,
    fresh1: Tensor,
    beta2: Tensor,
    fresh2: Tensor,
    of_root: Tensor,
    eps: Tensor,
    weight_decay: Tensor,
    shrink: Tensor,
) -> None:
    gradient = g + weight_decay * p
    average.add_(fresh1 * (gradient - average))
    square.mul_(beta2).add_(fresh2 * gradient * gradient)
    p.mul_(shrink).sub_(lr * average / (of_root * square.sqrt() + eps))


FORMULAS: dict[str, Callable[..., None]] = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adadelta": adadelta,
    "adam": adam,
}


class Block:
    """Runs whose optimizers share a formula; neighbours in the stack.

    Args:
        rules: of each of these runs, all of one formula.
        parameters: of the whole stack.
        first: the row of the first of these runs.
        wrap: makes the formula faster.

    Attributes:
        numbers: shape (count, runs): the formula's numbers at the step to come, which its caller sets.
    """

    numbers: Tensor

    def __init__(self, rules: Sequence[Rule], parameters: Parameters, first: int, wrap: Wrap) -> None:
        self.rules = rules
        rows = slice(first, first + len(rules))
        self.values, self.gradients = parameters.values[rows], parameters.gradients[rows]
        initial = torch.tensor([rule.initial for rule in rules], dtype=self.values.dtype, device=self.values.device)
        self.remembered = [start[:, None].repeat(1, self.values.shape[1]) for start in initial.unbind(1)]
        self.formula = wrap(FORMULAS[rules[0].formula])

    def table(self, steps: range) -> np.ndarray:
        """The numbers at these steps, counted from 1: shape (steps, count, runs)."""
        columns: dict[Any, np.ndarray] = {}  # runs that differ in seed or initialisation alone share theirs
        for rule in self.rules:
            if rule not in columns:
                columns[rule] = np.array([rule.numbers(t) for t in steps])  # (steps, count)
        return np.stack([columns[rule] for rule in self.rules], axis=2)

    def update(self) -> None:
        """One step, from the parameters' gradients."""
        self.formula(self.values, self.gradients, *self.remembered, *self.numbers.unsqueeze(-1).unbind(0))


def blocks_of(optimizers: Sequence[Optimizer], parameters: Parameters, wrap: Wrap) -> list[Block]:
    """One block for each formula; the runs of one formula stand together already (see `formula_of`).

    Args:
        optimizers: of each run, in the order of the rows.
        parameters: of the stack.
        wrap: makes the formulas faster.
    """
    known: dict[str, Rule] = {}  # equal hyperparameters give one rule, so that its numbers are computed once
    rules = []
    for optimizer in optimizers:
        (group,) = optimizer.param_groups
        settings = {key: value for key, value in group.items() if key != "params"}
        rule = rule_of(optimizer, settings)
        assert rule is not None
        rules.append(known.setdefault(f"{type(optimizer)} {sorted(settings.items())}", rule))
    blocks = []
    first = 0
    while first < len(rules):
        alike = [rule for rule in rules[first:] if rule.formula == rules[first].formula]
        blocks.append(Block(alike, parameters, first, wrap))
        first += len(alike)
    return blocks


def formula_of(optimizer: Optimizer) -> str:
    """The name of the formula by which a known optimizer of one parameter group updates."""
    (group,) = optimizer.param_groups
    rule = rule_of(optimizer, group)
    assert rule is not None
    return rule.formula
