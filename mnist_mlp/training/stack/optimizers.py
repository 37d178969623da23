"""How the optimizers of a stack's runs take their steps: by a formula, or by their own, together or each alone.

The optimizers that `mnist_mlp.training.rules` knows share passes over the parameters of many runs (see
`mnist_mlp.training.stack.updates`). Of any other each run's steps on its own parameters, which lie in the stack as
views; and where it acts on each element alone, one step is that of all runs of a setting, as for such an optimizer
their parameters are no more than further elements.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mnist_mlp.training.cpu import updates
from mnist_mlp.training.optimizers import acts_elementwise, put_back
from mnist_mlp.training.rules import Rule, rule_of
from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.seeds import default_state
from mnist_mlp.training.stack.blueprint import VERIFIED_STEPS, Blueprint, groups_with_parameters, is_elementwise
from mnist_mlp.training.stack.compiled import Wrap
from mnist_mlp.training.stack.parameters import Parameters
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.updates import Block

log = logging.getLogger(__name__)

BY_FORMULA, TOGETHER, ALONE = "by formula", "by one optimizer of all runs of a setting", "by an optimizer of its own"


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
    """How the optimizer of one run takes its steps. Runs of equal kinds step together, except for `ALONE`.

    Attributes:
        how: `BY_FORMULA`, `TOGETHER` or `ALONE`.
        what: Names of the formulas, or the optimizer with all its settings.
        refuted: Name of an optimizer that claims to act elementwise, but does not; empty for others.
    """

    how: str
    what: str
    refuted: str = field(default="", compare=False)


def kind_of(run: Run) -> Kind:
    """Return how the optimizer of a run takes its steps in a stack, from the run as built on the CPU."""
    optimizer = run.optimizer
    if updates.suits(optimizer):
        rules = [_rule(group, optimizer) for group in groups_with_parameters(optimizer)]
        return Kind(BY_FORMULA, " ".join(rule.formula.__name__ for rule in rules))
    # An optimizer that has state, or that refers to more than plain data, cannot be made for other parameters.
    settings = settings_of(run)
    is_fresh = not (optimizer.state or updates.has_hooks(optimizer))
    if not (settings and is_fresh and acts_elementwise(optimizer)):
        return Kind(ALONE, "")
    if not is_elementwise(Blueprint(optimizer)):
        return Kind(ALONE, "", refuted=type(optimizer).__name__)
    return Kind(TOGETHER, settings)


def warn_of_refuted(kinds: Iterable[Kind]) -> None:
    """Warn once of each optimizer that wrongly claims to act elementwise."""
    for name in sorted({kind.refuted for kind in kinds if kind.refuted}):
        log.warning(
            "%s: %d steps of two runs at once differ from those of each run alone, so the optimizer does not act "
            "elementwise. Each run's optimizer steps separately, which is slower.",
            name,
            VERIFIED_STEPS,
        )


def settings_of(run: Run) -> str | None:
    """Return a text that is equal for runs whose optimizers do the same to equal parameters; None if unknown."""
    try:
        return f"{Blueprint(run.optimizer)} {run.schedule}"
    except TypeError:
        return None


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
                rules = {
                    row: _rule(groups_with_parameters(runs[row].optimizer)[number], runs[row].optimizer)
                    for row in set(alike)
                }
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
    made = Blueprint(optimizer).make([p for p, _, _ in places])
    return OwnSteps(made, rates.of(made), rows, places)
