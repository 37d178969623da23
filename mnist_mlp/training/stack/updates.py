"""The optimizers' updates of many runs at once, whatever the learning rate and other numbers of each.

The formulas are those of `mnist_mlp.training.formulas`, on tensors of shape (runs, P); each number has shape (runs, 1).
Such an update is bound by memory. Compiled, it is one pass; on a CPU it goes through the parameters by parts that the
caches hold.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_mlp.training.formulas import Formula
from mnist_mlp.training.rules import Numbers, Rule
from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.stack.parameters import Parameters
from mnist_mlp.training.stack.torch_compile import Wrap, eager

CACHED = 2**14  # elements of each array that are updated at a time where an operation is a pass


def in_place(formula: Formula) -> Callable[..., None]:
    """A formula as an update of tensors: parameters, from gradients, tensors that are remembered, and numbers."""

    def update(p: Tensor, g: Tensor, *others: Tensor) -> None:
        new, *memory = formula(p, g, *others, torch.sqrt, torch.maximum)
        p.copy_(new)
        for old, kept in zip(others, memory, strict=False):  # after which come the numbers
            old.copy_(kept)

    return update


class Block:
    """Runs whose optimizers share a formula, neighbours in the stack; of each the parameters of one group.

    Args:
        rules: of each of these runs, all of one formula.
        rates: of each of these runs, which set what the rules read.
        parameters: of the whole stack.
        rows: of these runs.
        columns: of the group.
        wrap: makes the formula faster.

    Attributes:
        numbers: shape (count, runs): the formula's numbers at the step to come, which its caller sets.
    """

    numbers: Tensor

    def __init__(
        self,
        rules: Sequence[Rule],
        rates: Sequence[Rates],
        parameters: Parameters,
        rows: slice,
        columns: slice,
        wrap: Wrap,
    ) -> None:
        self.rules, self.rates = rules, rates
        self.values, self.gradients = parameters.values[rows, columns], parameters.gradients[rows, columns]
        initial = torch.tensor([rule.initial for rule in rules], dtype=self.values.dtype, device=self.values.device)
        self.remembered = [start[:, None].repeat(1, self.values.shape[1]) for start in initial.unbind(1)]
        self._step = wrap(in_place(rules[0].formula))
        by_parts = wrap is eager and self.values.device.type == "cpu"
        width = max(1, CACHED // len(rules)) if by_parts else self.values.shape[1]
        arrays = (self.values, self.gradients, *self.remembered)
        self._parts = list(zip(*(array.split(width, dim=1) for array in arrays), strict=True))

    def table(self, steps: range) -> np.ndarray:
        """The numbers at these steps, counted from 1: shape (steps, count, runs)."""

        def at(step: int, rule: Rule, rates: Rates) -> Numbers:
            rates.set(step)
            return rule.numbers(step)

        columns: dict[Any, np.ndarray] = {}  # runs that differ in seed or initialisation alone share theirs
        for rule, rates in zip(self.rules, self.rates, strict=True):
            if rule not in columns:
                columns[rule] = np.array([at(step, rule, rates) for step in steps])  # (steps, count)
        return np.stack([columns[rule] for rule in self.rules], axis=2)

    def update(self) -> None:
        """One step, from the parameters' gradients."""
        numbers = self.numbers.unsqueeze(-1).unbind(0)
        for part in self._parts:
            self._step(*part, *numbers)
