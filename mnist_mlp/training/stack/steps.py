"""Optimizer steps in a stack: by an update function for many runs, or by `optimizer.step` for each run.

An update function updates the parameters of many runs in one pass (see `mnist_mlp.training.updates.stacked`). An
optimizer without one takes its own steps on the parameters of its run, which are views of the stack's tensors.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.training.optimizers import restore_storage
from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.seeds import default_state
from mnist_mlp.training.stack.parameters import Parameters
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.torch_compile import Wrap, eager
from mnist_mlp.training.updates import fused
from mnist_mlp.training.updates.functions import UpdateSpec, spec_of
from mnist_mlp.training.updates.stacked import StackedUpdate

BY_FUNCTION, ALONE = "by update function", "by one optimizer per run"
CACHED = 2**14  # elements of each array that are updated at a time without compilation, to stay in the cache


class RunOptimizer:
    """Optimizer that takes its own steps on the parameters of one run of a stack.

    Args:
        optimizer: Optimizer of the run.
        rates: Learning rates of the run.
        row: Row of the run in the stack.
        parameters: Parameters of the run, each with its values and its gradient as views of the stack's tensors.
        random: State of PyTorch's default generator before the first step, the same as in a run that is trained alone.

    Attributes:
        lrs: Learning rates to record: the rate before the first step, then the rate of each step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rates: Rates,
        row: int,
        parameters: Sequence[tuple[nn.Parameter, Tensor, Tensor]],
        random: Tensor,
    ) -> None:
        self.optimizer, self.row = optimizer, row
        self.lrs = [rates.at(0)]
        self._rates, self._parameters, self._random = rates, parameters, random
        for p, values, _ in parameters:  # the parameters were moved to the stack's device; their state follows here
            state = optimizer.state.get(p, {})
            state.update({k: v.to(values.device) for k, v in state.items() if isinstance(v, Tensor) and v.dim()})

    def update(self) -> None:
        """Take the next step. Values and gradients stay in the storage of the stack."""
        step = len(self.lrs)  # counted from 1
        self._rates.set(step)
        for p, _, gradients in self._parameters:
            p.grad = gradients
        self._step()
        self.lrs.append(self._rates.at(step))
        restore_storage(self._parameters)

    def _step(self) -> None:
        before = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            self.optimizer.step()
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(before)


class StepMethod(NamedTuple):
    """Method by which a run takes its optimizer steps. Runs with the same method are adjacent in a stack.

    Attributes:
        how: `BY_FUNCTION` or `ALONE`.
        what: Names of the update functions; empty for `ALONE`.
    """

    how: str
    what: str


def step_method(run: Run) -> StepMethod:
    """Return the method by which a run takes its optimizer steps in a stack."""
    if not fused.supports(run.optimizer):
        return StepMethod(ALONE, "")
    specs = [_spec(group, run.optimizer) for group in groups_with_parameters(run.optimizer)]
    return StepMethod(BY_FUNCTION, " ".join(spec.function.__name__ for spec in specs))


def groups_with_parameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the parameter groups that are not empty."""
    return [group for group in optimizer.param_groups if group["params"]]


def optimizer_key(run: Run) -> str | None:
    """Return a text that is equal for runs with equal optimizers, hyperparameters and schedules.

    None means that a hyperparameter is more than plain data, so that runs cannot be compared.
    """
    groups = [{k: v for k, v in group.items() if k != "params"} for group in groups_with_parameters(run.optimizer)]
    try:
        return f"{type(run.optimizer)} {_plain(groups)} {run.schedule}"
    except TypeError:
        return None


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


def make_updates(
    runs: Sequence[Run],
    rates: Sequence[Rates],
    parameters: Parameters,
    methods: Sequence[StepMethod],
    wrap: Wrap,
) -> tuple[list[StackedUpdate], list[RunOptimizer]]:
    """Return the updates of a stack's parameters. All arguments are in the order of the stack's rows.

    Args:
        runs: Runs of the stack.
        rates: Learning rates of each run.
        parameters: Parameters of the stack.
        methods: Step method of each run; equal ones are adjacent.
        wrap: Function that compiles update functions, or returns them as they are.

    Returns:
        Updates by update functions, and optimizers that take their own steps.
    """
    blocks: list[StackedUpdate] = []
    own: list[RunOptimizer] = []
    for method, numbers in groupby(range(len(methods)), lambda number: methods[number]):
        rows = list(numbers)
        here = slice(rows[0], rows[-1] + 1)
        if method.how == BY_FUNCTION:
            by_chunks = wrap is eager and parameters.values.device.type == "cpu"
            chunk = max(1, CACHED // len(rows)) if by_chunks else None
            settings = {row: optimizer_key(runs[row]) or str(row) for row in rows}
            first = {settings[row]: row for row in reversed(rows)}
            # For each row, the first row with equal settings. They share a spec, to compute coefficients once.
            alike = [first[settings[row]] for row in rows]
            for number, columns in enumerate(parameters.columns):
                specs = {
                    row: _spec(groups_with_parameters(runs[row].optimizer)[number], runs[row].optimizer)
                    for row in set(alike)
                }
                of_rows = [rates[row] for row in alike]
                values, gradients = parameters.values[here, columns], parameters.gradients[here, columns]
                block = StackedUpdate([specs[row] for row in alike], of_rows, values, gradients, wrap, chunk)
                blocks.append(block)
        else:
            for row in rows:
                random = default_state(runs[row].seeds.dropout, runs[row].seeds.modules)
                places = zip(runs[row].model.parameters(), parameters.of_run(row), strict=True)
                own.append(
                    RunOptimizer(runs[row].optimizer, rates[row], row, [(p, *place) for p, place in places], random)
                )
    return blocks, own


def _spec(group: dict[str, object], optimizer: Optimizer) -> UpdateSpec:
    spec = spec_of(optimizer, group)
    assert spec is not None
    return spec
