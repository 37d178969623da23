"""How far a sweep is: which jobs it has by now, and what its results have decided.

Everything follows from the request and from what the directory holds: the results, and the selections of earlier and
wider commands (see `mnist_mlp.app.confirm.select`). So a sweep that runs and one that is resumed take the same way.
Nothing is written here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from mnist_mlp.app import confirm, sequential
from mnist_mlp.app.cells import cells_of, names, tuned_keys_of
from mnist_mlp.app.confirm import MakeJobs
from mnist_mlp.run.choices import Choice
from mnist_mlp.run.looks import Looks, SequentialPlan
from mnist_mlp.run.sweep_file import CONFIRM, SEARCH, SEQUENTIAL
from mnist_mlp.sweeps.jobs import Job


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command asks of a sweep.

    Attributes:
        directory: Sweep directory.
        search: Jobs of the command line: those that configurations are selected by, if the selections are confirmed.
        confirmation: Values of each key that confirms the selections; empty if nothing is confirmed.
        sequential: Plan of the interim analyses; None if the seeds are fixed.
        make_jobs: Makes checked jobs from overrides.
    """

    directory: Path
    search: Sequence[Job]
    confirmation: Mapping[str, Sequence[Any]]
    sequential: SequentialPlan | None
    make_jobs: MakeJobs

    @cached_property
    def tuned(self) -> list[str]:
        """The keys whose values are selected within a cell."""
        return tuned_keys_of(self.search)

    @property
    def phases(self) -> list[str]:
        """The phases, in the order in which they run."""
        return [SEARCH, *([CONFIRM] if self.confirmation else []), *([SEQUENTIAL] if self.sequential else [])]


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a sweep is.

    Attributes:
        phases: Phase to its jobs by now. The jobs of a phase depend on the results of those before, so a phase has none
            until these are complete.
        choices: Content of `choices.json`, by cell; None before a selection.
        looks: Content of `looks.json`; None before the initial jobs are known.
        is_decided: Whether the last interim analysis left nothing undecided.
    """

    phases: Mapping[str, Sequence[Job]]
    choices: Mapping[str, Choice] | None = None
    looks: Looks | None = None
    is_decided: bool = False

    @property
    def jobs(self) -> list[Job]:
        """The jobs of all phases."""
        return list(chain.from_iterable(self.phases.values()))


def state_of(request: Request, have_results: Callable[[Sequence[Job]], bool]) -> State:
    """Work out how far a sweep is.

    Args:
        request: What the command asks.
        have_results: Whether all of these jobs are finished.
    """
    jobs = list(request.search)
    state = State(phases={phase: jobs if phase == SEARCH else [] for phase in request.phases})
    if request.confirmation:
        if not have_results(jobs):
            return state
        choices, jobs = confirm.select(request.directory, jobs, request.confirmation, request.make_jobs)
        state = replace(state, phases={**state.phases, CONFIRM: jobs}, choices=choices)
    if request.sequential:
        sequential.check_initial(request.search, jobs)
        seeds = sequential.seeds_of(request.search, request.confirmation, request.sequential)
        added, looks, is_decided = sequential.analyze(
            request.directory, jobs, seeds, request.sequential, request.make_jobs, have_results
        )
        state = replace(
            state,
            phases={**state.phases, SEQUENTIAL: added},
            choices=_with_confirmed(state.choices, added, request.directory),
            looks=looks,
            is_decided=is_decided,
        )
    return state


def _with_confirmed(
    choices: Mapping[str, Choice] | None, added: Sequence[Job], directory: Path
) -> Mapping[str, Choice] | None:
    """Return the choices with the jobs of added seeds, which confirm them as well."""
    if not choices or not added:
        return choices
    more = {cell: names(jobs, directory) for cell, jobs in cells_of(added).items()}
    return {
        cell: replace(choice, confirmed=[*choice.confirmed, *more.get(cell, ())]) for cell, choice in choices.items()
    }
