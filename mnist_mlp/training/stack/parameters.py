"""Storage of a stack's parameters: one row per run, so that an update is one pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ALIGNMENT = 32  # elements; a parameter starts at a multiple of it, as wide loads and fast matrix products want

Groups = Sequence[Sequence[int]]


def groups_of(model: nn.Module, optimizer: Optimizer) -> Groups:
    """Which of a network's parameters, by their numbers, are in each of its optimizer's groups; all of them are."""
    numbers = {p: number for number, p in enumerate(model.parameters())}
    return [[numbers[p] for p in group["params"]] for group in optimizer.param_groups if group["params"]]


class Parameter(NamedTuple):
    """One parameter of all runs: its values and its gradients, each a view of shape (R, *shape)."""

    values: Tensor
    gradients: Tensor


class Parameters:
    """The parameters of R networks of one architecture.

    The networks' own parameters are made views into it, so they hold the trained values at any time.

    Args:
        models: R networks with parameters of the same shapes and type.
        device: where they are to be.
        groups: which of a network's parameters, by their numbers, are in each of its optimizer's groups; one of all
            unless given.

    Attributes:
        values: shape (R, P), a row a run; P is the number of parameters and of zeros between them.
        gradients: of the same shape.
        columns: of each group, in `values`.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device, groups: Groups | None = None) -> None:
        own = list(models[0].parameters())
        starts, end = {}, 0
        self.columns: list[slice] = []
        for group in groups or [range(len(own))]:
            first = end
            for number in group:
                starts[number] = end
                end += -(-own[number].numel() // ALIGNMENT) * ALIGNMENT
            self.columns.append(slice(first, end))
        self.values = torch.zeros(len(models), end, dtype=own[0].dtype, device=device)
        self.gradients = torch.zeros_like(self.values)
        self._places = [(starts[number], p.shape) for number, p in enumerate(own)]
        for row, model in enumerate(models):
            for p, (values, _) in zip(model.parameters(), self.of_run(row), strict=True):
                values.copy_(p.detach())
                p.data = values

    def by_module(self, model: nn.Sequential) -> Iterator[Mapping[str, Parameter]]:
        """For each module of one of the networks, its parameters' names and what they are in all runs."""
        places = iter(self._places)
        for module in model:
            yield {name: self._view(*next(places)) for name, _ in module.named_parameters()}

    def of_run(self, row: int) -> Iterator[Parameter]:
        """The parameters of one run, in its network's order: values and gradients of their own shapes."""
        for start, shape in self._places:
            values, gradients = self._view(start, shape)
            yield Parameter(values[row], gradients[row])

    def _view(self, start: int, shape: torch.Size) -> Parameter:
        part = slice(start, start + shape.numel())
        return Parameter(self.values[:, part].unflatten(1, shape), self.gradients[:, part].unflatten(1, shape))
