"""Optimizer steps of many runs at once, whatever the learning rate and other coefficients of each.

Parameters have shape (runs, P), each coefficient (runs, 1). Such a step is bound by memory: compiled, it is one pass;
uncompiled on a CPU, it goes through the parameters by chunks that the caches hold.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.updates.functions import UpdateFunction, UpdateSpec


def in_place(function: UpdateFunction, coefficients: Callable[..., Any], arrays: int) -> Callable[..., None]:
    """Return an update of tensors in place: parameters, gradients, arrays of optimizer state, coefficients."""

    def update(p: Tensor, g: Tensor, *others: Tensor) -> None:
        state, c = others[:arrays], coefficients(*others[arrays:])
        new_p, *new_state = function(p, g, *state, c, torch.sqrt, torch.maximum)
        p.copy_(new_p)
        for old, new in zip(state, new_state, strict=True):
            old.copy_(new)

    return update


class StackedUpdate:
    """Update of runs that share an update function and are neighbors in the stack, of one parameter group of each.

    Args:
        specs: Update spec of each run, all of one function.
        rates: Learning rates of each run, which set what the specs read.
        values: Parameters, of shape (runs, P).
        gradients: Gradients, of the same shape.
        wrap: Function that makes the update faster.
        chunk: Number of parameters of each run that are updated at a time; None for all.

    Attributes:
        state: Arrays of optimizer state, each of the shape of the parameters.
        coefficients: Coefficients of the next step, of shape (coefficients, runs), which the caller sets.
    """

    coefficients: Tensor

    def __init__(
        self,
        specs: Sequence[UpdateSpec],
        rates: Sequence[Rates],
        values: Tensor,
        gradients: Tensor,
        wrap: Callable[[Callable[..., Any]], Callable[..., Any]],
        chunk: int | None = None,
    ) -> None:
        self.specs, self.rates = specs, rates
        initial = torch.tensor([spec.initial for spec in specs], dtype=values.dtype, device=values.device)
        self.state = [start[:, None].repeat(1, values.shape[1]) for start in initial.unbind(1)]
        self._step = wrap(in_place(specs[0].function, type(specs[0].coefficients(1)), len(self.state)))
        width = values.shape[1] if chunk is None else chunk
        arrays = (values, gradients, *self.state)
        self._chunks = list(zip(*(array.split(width, dim=1) for array in arrays), strict=True))

    def table(self, steps: range) -> np.ndarray:
        """Return the coefficients at these steps, counted from 1, of shape (steps, coefficients, runs)."""

        def at(step: int, spec: UpdateSpec, rates: Rates) -> tuple[float, ...]:
            rates.set(step)
            return spec.coefficients(step)

        columns: dict[Any, np.ndarray] = {}  # runs that differ in seed or initialization alone share theirs
        for spec, rates in zip(self.specs, self.rates, strict=True):
            if spec not in columns:
                columns[spec] = np.array([at(step, spec, rates) for step in steps])  # (steps, coefficients)
        return np.stack([columns[spec] for spec in self.specs], axis=2)

    def update(self) -> None:
        """Take one step, from the gradients."""
        coefficients = self.coefficients.unsqueeze(-1).unbind(0)
        for chunk in self._chunks:
            self._step(*chunk, *coefficients)
