"""Optimizer steps of many runs at once, with a learning rate and other coefficients per run.

Parameters have shape (runs, P), and each coefficient has shape (runs, 1). A step is bound by memory bandwidth. If it is
compiled, it is a single pass over memory. If it runs uncompiled on a CPU, it processes chunks that fit into the cache.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.updates.functions import UpdateFunction, UpdateSpec


def in_place(function: UpdateFunction, coefficients: Callable[..., Any], arrays: int) -> Callable[..., None]:
    """Return a function that updates tensors in place by an update function.

    Args:
        function: Update function.
        coefficients: NamedTuple of its coefficients.
        arrays: Number of arrays of optimizer state.

    Returns:
        Function of parameters, gradients, the arrays of optimizer state, and the coefficients.
    """

    def update(p: Tensor, g: Tensor, *others: Tensor) -> None:
        state, c = others[:arrays], coefficients(*others[arrays:])
        new_p, *new_state = function(p, g, *state, c, torch.sqrt, torch.maximum)
        p.copy_(new_p)
        for old, new in zip(state, new_state, strict=True):
            old.copy_(new)

    return update


class StackedUpdate:
    """Update of one parameter group, for adjacent runs of a stack that share an update function.

    Args:
        specs: Update spec of each run, all with the same function.
        rates: Learning rates of each run. Setting a rate changes the coefficients that the run's spec returns.
        values: Parameters of shape (runs, P).
        gradients: Gradients of shape (runs, P).
        wrap: Function that compiles the update, or returns it as it is.
        chunk: Number of parameters per run that are updated at a time; None for all.

    Attributes:
        state: Arrays of optimizer state, each of shape (runs, P).
        coefficients: Coefficients of the next step, of shape (coefficients, runs), to be set by the caller.
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
        """Return the coefficients of a range of steps, counted from 1, of shape (steps, coefficients, runs)."""

        def at(step: int, spec: UpdateSpec, rates: Rates) -> tuple[float, ...]:
            rates.set(step)
            return spec.coefficients(step)

        columns: dict[Any, np.ndarray] = {}  # runs that differ only in seed or initialization share a spec
        for spec, rates in zip(self.specs, self.rates, strict=True):
            if spec not in columns:
                columns[spec] = np.array([at(step, spec, rates) for step in steps])  # (steps, coefficients)
        return np.stack([columns[spec] for spec in self.specs], axis=2)

    def update(self) -> None:
        """Take one step, using `gradients` and `coefficients`."""
        coefficients = self.coefficients.unsqueeze(-1).unbind(0)
        for chunk in self._chunks:
            self._step(*chunk, *coefficients)
