"""Storage of a stack's parameters: a matrix with one row per run, so that an update is a single pass over it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ALIGNMENT = 32  # elements; a parameter starts at a multiple of it, for wide loads and fast matmuls

Groups = Sequence[Sequence[int]]


def groups_of(model: nn.Module, optimizer: Optimizer) -> Groups:
    """Return the indices of the model's parameters in each non-empty parameter group of its optimizer."""
    numbers = {p: number for number, p in enumerate(model.parameters())}
    return [[numbers[p] for p in group["params"]] for group in optimizer.param_groups if group["params"]]


class Parameter(NamedTuple):
    """One parameter of all runs, as views of the stack: values and gradients of shape (R, *shape)."""

    values: Tensor
    gradients: Tensor


class Parameters:
    """Parameters of R models of one architecture.

    The parameters of the models become views of this storage, so that they always have the trained values.

    Args:
        models: R models with parameters of the same shapes and dtype.
        device: Device of the storage.
        groups: Indices of a model's parameters in each parameter group of its optimizer; None for a single group.

    Attributes:
        values: Values of shape (R, P), one row per run; P includes padding between the parameters.
        gradients: Gradients of shape (R, P).
        columns: Columns of each parameter group in `values` and `gradients`.
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
        """Yield the parameters of each module, for all runs, by their names in the module.

        Args:
            model: Model of any run.
        """
        places = iter(self._places)
        for module in model:
            yield {name: self._view(*next(places)) for name, _ in module.named_parameters()}

    def of_run(self, row: int) -> Iterator[Parameter]:
        """Yield the parameters of one run in the order of its model, with values and gradients of their shapes."""
        for start, shape in self._places:
            values, gradients = self._view(start, shape)
            yield Parameter(values[row], gradients[row])

    def _view(self, start: int, shape: torch.Size) -> Parameter:
        part = slice(start, start + shape.numel())
        return Parameter(self.values[:, part].unflatten(1, shape), self.gradients[:, part].unflatten(1, shape))
