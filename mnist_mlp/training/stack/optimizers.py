"""How the optimizers of a stack's runs take their steps: by a formula, or by their own, together or each alone.

The optimizers that `mnist_mlp.training.rules` knows share passes over the parameters of many runs (see
`mnist_mlp.training.stack.updates`). Of any other each run's steps on its own parameters, which lie in the stack as
views; and where it acts on each element alone, one step is that of all runs of a setting, as for such an optimizer
their parameters are no more than further elements.
"""

import copy
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.training.cpu import updates
from mnist_mlp.training.optimizers import acts_elementwise, put_back, set_mode
from mnist_mlp.training.rules import Rule, rule_of
from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.seeds import default_state
from mnist_mlp.training.stack.compiled import Wrap
from mnist_mlp.training.stack.parameters import Parameters
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.updates import Block

log = logging.getLogger(__name__)
_tried: dict[tuple[type[Optimizer], str], bool] = {}  # by optimizer and settings, whether they act elementwise

BY_FORMULA, TOGETHER, ALONE = "by formula", "by one optimizer of all runs of a setting", "by an optimizer of its own"
VERIFIED_STEPS = 20


class OwnSteps:
    """An optimizer that takes its own steps on what lies in a stack: one run's parameters, or those of several.

    Args:
        optimizer: of these parameters.
        rates: its.
        rows: of the stack.
        parameters: each with the parts of the stack that are its values and its gradient.
        random: the state of PyTorch's default generator from which it draws, as a run alone does; None to share the
            process' own, as those do that draw nothing.

    Attributes:
        lrs: that are recorded: before the first step, and of each step.
        ended: which of its rows have ended, counted from its first.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rates: Rates,
        rows: Sequence[int],
        parameters: Sequence[tuple[nn.Parameter, Tensor, Tensor]],
        random: Tensor | None = None,
    ) -> None:
        self.optimizer, self.rows = optimizer, rows
        self.lrs, self.ended = [rates.at(0)], list[int]()
        self._rates, self._parameters, self._random = rates, parameters, random
        for p, values, _ in parameters:  # what some remember from the beginning is where the parameter was then
            state = optimizer.state.get(p, {})
            state.update({k: v.to(values.device) for k, v in state.items() if isinstance(v, Tensor) and v.dim()})

    def update(self) -> None:
        """Take the next step. Values and gradients stay where they are, wherever the optimizer puts them."""
        step = len(self.lrs)  # counted from 1
        self._rates.set(step)
        for p, _, gradients in self._parameters:
            if self.ended and len(self.rows) > 1:  # somebody's optimizer may not like what is not finite
                gradients[self.ended] = 0.0
            p.grad = gradients
        self._step()
        self.lrs.append(self._rates.at(step))
        put_back(self._parameters)

    def _step(self) -> None:
        if self._random is None:
            self.optimizer.step()
            return
        before = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            self.optimizer.step()
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(before)


@dataclass(frozen=True, order=True)
class Kind:
    """How one run's optimizer takes its steps; runs of equal kinds do it together, but for `ALONE`.

    Attributes:
        how: `BY_FORMULA`, `TOGETHER` or `ALONE`.
        what: the formulas' names; or the optimizer with all its settings.
    """

    how: str
    what: str


def kind_of(run: Run) -> Kind:
    """How a run's optimizer, on the CPU so far, takes its steps in a stack."""
    optimizer = run.optimizer
    if updates.suits(optimizer):
        rules = [_rule(group, optimizer) for group in _groups(optimizer)]
        return Kind(BY_FORMULA, " ".join(rule.formula.__name__ for rule in rules))
    # One that remembers something already, or refers to more than numbers, cannot be made again for other parameters.
    settings = settings_of(run)
    is_fresh = not (optimizer.state or updates.has_hooks(optimizer))
    if settings and is_fresh and acts_elementwise(optimizer) and _verified(optimizer, settings):
        return Kind(TOGETHER, settings)
    return Kind(ALONE, "")


def _verified(optimizer: Optimizer, settings: str) -> bool:
    """Whether the optimizer does what it is said to do; tried, and complained of, once."""
    known = type(optimizer), settings
    if known not in _tried:
        _tried[known] = is_elementwise(optimizer)
        if not _tried[known]:
            log.warning(
                "%s: %d steps of two runs at once are not those of each alone, so it does not act on each element "
                "alone; each run's optimizer steps by itself, which is slower",
                type(optimizer).__name__,
                VERIFIED_STEPS,
            )
    return _tried[known]


def settings_of(run: Run) -> str | None:
    """Equal for runs whose optimizers do the same to equal parameters; None where that cannot be told.

    Besides its groups an optimizer may keep settings as attributes. What is no number, text or such may be anything,
    other optimizers or parameters among them.
    """
    optimizer = run.optimizer
    attributes = {key: value for key, value in vars(optimizer).items() if key not in ("param_groups", "state")}
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    try:
        return f"{type(optimizer)} {_plain([groups, attributes])} {run.schedule}"
    except TypeError:
        return None


def _plain(value: object) -> object:
    """The same of numbers, texts and containers of them, tensors as lists; their `repr` tells values apart.

    Raises:
        TypeError: there is something else in it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.tolist()
    if isinstance(value, Mapping):
        return [(key, _plain(value[key])) for key in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    raise TypeError(f"{type(value).__name__} is no setting")


def steps_of(
    runs: Sequence[Run],
    rates: Sequence[Rates],
    parameters: Parameters,
    kinds: Sequence[Kind],
    wrap: Wrap,
) -> tuple[list[Block], list[OwnSteps]]:
    """What moves the parameters of a stack at every step; all sequences are in the order of its rows.

    Args:
        runs: whose parameters lie in the stack.
        rates: of each run.
        parameters: of the stack.
        kinds: of each run; equal ones stand together.
        wrap: makes formulas faster.
    """
    blocks: list[Block] = []
    own: list[OwnSteps] = []
    for kind, numbers in groupby(range(len(kinds)), lambda number: kinds[number]):
        rows = list(numbers)
        here = slice(rows[0], rows[-1] + 1)
        if kind.how == BY_FORMULA:
            settings = {row: settings_of(runs[row]) or str(row) for row in rows}
            first = {settings[row]: row for row in reversed(rows)}
            alike = [first[settings[row]] for row in rows]  # which share their rules, so that numbers are computed once
            for number, columns in enumerate(parameters.columns):
                rules = {row: _rule(_groups(runs[row].optimizer)[number], runs[row].optimizer) for row in set(alike)}
                of_rows = [rates[row] for row in alike]
                blocks.append(Block([rules[row] for row in alike], of_rows, parameters, here, columns, wrap))
        elif kind.how == TOGETHER:
            own.append(_together(runs[rows[0]].optimizer, rates[rows[0]], parameters, rows))
        else:
            for row in rows:
                random = default_state(runs[row].seeds.dropout, runs[row].seeds.modules)
                places = zip(runs[row].model.parameters(), parameters.of_run(row), strict=True)
                own.append(
                    OwnSteps(runs[row].optimizer, rates[row], [row], [(p, *place) for p, place in places], random)
                )
    return blocks, own


def _groups(optimizer: Optimizer) -> list[dict[str, object]]:
    return [group for group in optimizer.param_groups if group["params"]]  # PyTorch allows a group of none


def _rule(group: dict[str, object], optimizer: Optimizer) -> Rule:
    rule = rule_of(optimizer, group)
    assert rule is not None
    return rule


def _together(optimizer: Optimizer, rates: Rates, parameters: Parameters, rows: Sequence[int]) -> OwnSteps:
    """One optimizer of the parameters of all these runs, which are neighbours, each group's as one."""
    here = slice(rows[0], rows[-1] + 1)
    places = [
        (
            nn.Parameter(parameters.values[here, columns]),
            parameters.values[here, columns],
            parameters.gradients[here, columns],
        )
        for columns in parameters.columns
    ]
    made = remade(optimizer, [p for p, _, _ in places])
    return OwnSteps(made, rates.of(made), rows, places)


def remade(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """An optimizer with the same settings that has taken no step, one parameter a group.

    Args:
        optimizer: one that remembers nothing so far.
        parameters: one for each group that has any.
    """
    made: Optimizer = object.__new__(type(optimizer))
    others = {key: value for key, value in vars(optimizer).items() if key not in ("param_groups", "state")}
    vars(made).update(copy.deepcopy(others))
    made.state = defaultdict(dict)
    made.param_groups = [
        {**copy.deepcopy({key: value for key, value in group.items() if key != "params"}), "params": [p]}
        for group, p in zip(_groups(optimizer), parameters, strict=True)
    ]
    return made


def is_elementwise(optimizer: Optimizer) -> bool:
    """Whether steps of two runs' parameters at once are those of each alone, in an experiment of twenty steps.

    The gradients of one are a thousand times those of the other, which shows in whatever is computed of all elements;
    alone they are matrices, which shows in whatever depends on a shape.

    Args:
        optimizer: one that remembers nothing so far.
    """
    random = torch.Generator().manual_seed(0)
    shape = (len(_groups(optimizer)), 2, 4, 8)  # groups, runs, a matrix

    def draw() -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64) * torch.tensor([1.0, 1e3])[:, None, None]

    start = draw()
    both = [nn.Parameter(group.flatten(1)) for group in start.clone()]
    alone = [[nn.Parameter(group[run].clone()) for group in start] for run in (0, 1)]
    try:
        optimizers = [remade(optimizer, both), *(remade(optimizer, run) for run in alone)]
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
    except Exception:  # somebody's code, which may not like these parameters; it gets those that it was made for
        return False
    moved = any(not torch.equal(group, before.flatten(1)) for group, before in zip(both, start, strict=True))
    return moved and all(
        torch.allclose(both[group][run], alone[run][group].flatten(), rtol=1e-6, atol=1e-9)
        for group in range(len(both))
        for run in (0, 1)
    )
