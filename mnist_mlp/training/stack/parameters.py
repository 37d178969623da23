"""Where the parameters of a stack lie: one row a run, so that an update goes through all of them in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

ALIGNMENT = 32  # elements; a parameter starts at a multiple of it, as wide loads and fast matrix products want


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

    Attributes:
        values: shape (R, P), a row a run; P is the number of parameters and of zeros between them.
        gradients: of the same shape.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
        own = list(models[0].parameters())
        starts, end = [], 0
        for p in own:
            starts.append(end)
            end += -(-p.numel() // ALIGNMENT) * ALIGNMENT
        self.values = torch.zeros(len(models), end, dtype=own[0].dtype, device=device)
        self.gradients = torch.zeros_like(self.values)
        self._places = [(start, p.shape) for start, p in zip(starts, own, strict=True)]
        for row, model in zip(self.values, models, strict=True):
            for p, (start, shape) in zip(model.parameters(), self._places, strict=True):
                view = row[start : start + shape.numel()].view(shape)
                view.copy_(p.detach())
                p.data = view

    def by_module(self, model: nn.Sequential) -> Iterator[Mapping[str, Parameter]]:
        """For each module of one of the networks, its parameters' names and what they are in all runs."""
        places = iter(self._places)
        for module in model:
            yield {name: self._view(*next(places)) for name, _ in module.named_parameters()}

    def _view(self, start: int, shape: torch.Size) -> Parameter:
        part = slice(start, start + shape.numel())
        return Parameter(self.values[:, part].unflatten(1, shape), self.gradients[:, part].unflatten(1, shape))
