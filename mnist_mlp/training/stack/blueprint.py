"""Copies of an optimizer for other parameters, and the test of whether it acts on each element alone."""

import copy
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.training.optimizers import set_mode

VERIFIED_STEPS = 20


class Blueprint:
    """Class and settings of an optimizer, without its parameters. Equal blueprints make equal optimizers.

    An optimizer may keep settings as attributes, besides those of its groups.

    Args:
        optimizer: Optimizer without state.

    Raises:
        TypeError: A setting is more than numbers, text and containers of them. It could refer to parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        attributes = {key: value for key, value in vars(optimizer).items() if key not in ("param_groups", "state")}
        groups = [{k: v for k, v in group.items() if k != "params"} for group in groups_with_parameters(optimizer)]
        self._key = type(optimizer), str(_plain([groups, attributes]))
        self._attributes, self._groups = copy.deepcopy(attributes), copy.deepcopy(groups)

    @property
    def groups(self) -> int:
        """Number of groups that have parameters."""
        return len(self._groups)

    def __str__(self) -> str:
        return " ".join(map(str, self._key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blueprint) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def make(self, parameters: Sequence[nn.Parameter]) -> Optimizer:
        """Make an optimizer that has taken no step.

        Args:
            parameters: One parameter per group.
        """
        made: Optimizer = object.__new__(self._key[0])
        vars(made).update(copy.deepcopy(self._attributes))
        made.state = defaultdict(dict)
        made.param_groups = [
            {**group, "params": [p]} for group, p in zip(copy.deepcopy(self._groups), parameters, strict=True)
        ]
        return made


def groups_with_parameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the parameter groups that are not empty."""
    return [group for group in optimizer.param_groups if group["params"]]


def _plain(value: object) -> object:
    """Replace tensors by lists and mappings by sorted pairs, so that the `repr` distinguishes values.

    Raises:
        TypeError: The value is more than numbers, text and containers of them.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.tolist()
    if isinstance(value, Mapping):
        return [(key, _plain(value[key])) for key in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    raise TypeError(f"{type(value).__name__} is not plain data")


@functools.cache  # the result depends on the blueprint alone, and takes as long as many steps of a stack
def is_elementwise(blueprint: Blueprint) -> bool:
    """Return whether steps of two runs' parameters at once equal those of each run alone, in an experiment.

    The gradients of one run are a thousand times those of the other, which reveals a dependence on other elements. The
    parameters of a run alone are matrices, which reveals a dependence on shapes.
    """
    random = torch.Generator().manual_seed(0)
    shape = (blueprint.groups, 2, 4, 8)  # groups, runs, a matrix

    def draw() -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64) * torch.tensor([1.0, 1e3])[:, None, None]

    start = draw()
    both = [nn.Parameter(group.flatten(1)) for group in start.clone()]
    alone = [[nn.Parameter(group[run].clone()) for group in start] for run in (0, 1)]
    try:
        optimizers = [blueprint.make(both), *(blueprint.make(run) for run in alone)]
        for made in optimizers:
            set_mode(made, training=True)
        for _ in range(VERIFIED_STEPS):
            gradients = draw()
            for group, gradient in enumerate(gradients):
                both[group].grad = gradient.flatten(1)
                for run in (0, 1):
                    alone[run][group].grad = gradient[run].clone()
            for made in optimizers:
                made.step()
        for made in optimizers:
            set_mode(made, training=False)
    except Exception:  # a user-defined optimizer may not support these parameters; it keeps its original ones
        return False
    moved = any(not torch.equal(group, before.flatten(1)) for group, before in zip(both, start, strict=True))
    return moved and all(
        torch.allclose(both[group][run], alone[run][group].flatten(), rtol=1e-6, atol=1e-9)
        for group in range(len(both))
        for run in (0, 1)
    )
