"""State of a sweep: its jobs so far, its selections, and its interim analyses.

The state follows from the request and the sweep directory alone: from the results, and from the selections that earlier
commands have recorded (see `mnist_mlp.app.select`). A running and a resumed sweep therefore behave alike. This module
writes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

from mnist_mlp.app import sequential
from mnist_mlp.app.cells import SEED, cells_of, names, tuned_keys_of
from mnist_mlp.app.confirm import FRESH, Confirmation, MakeJobs, Replicates, recorded_pairs, search_seeds, with_seed
from mnist_mlp.app.select import Confirmed, jobs_for, select
from mnist_mlp.app.sequential import Added, merge_choices
from mnist_mlp.base.choices import ALL_SEEDS, Choices, recorded_choices
from mnist_mlp.base.interim import SequentialPlan, SequentialRecord
from mnist_mlp.base.schema import COMPARED
from mnist_mlp.base.sweep_file import CONFIRM, EACH, SEARCH, SEQUENTIAL
from mnist_mlp.sweeps.jobs import Job


@dataclass(frozen=True, kw_only=True)
class Request:
    """Jobs and settings that a command requests.

    Attributes:
        directory: Sweep directory.
        search: Jobs of the command line. If selections are confirmed, these are the jobs of the search.
        confirmation: Settings of the confirmation; None if selections are not confirmed.
        sequential: Plan of the interim analyses; None if the number of seeds is fixed.
        make_jobs: Function that makes checked jobs from overrides.
        compare: Compared keys.
        select: Mode of selection: `EACH` (one per seed) or `ONCE` (one per cell, by the mean over seeds).
        margin: Equivalence margin of the report, a fraction; None disables equivalence testing.
    """

    directory: Path
    search: Sequence[Job]
    confirmation: Confirmation | None
    sequential: SequentialPlan | None
    make_jobs: MakeJobs
    compare: Sequence[str] = COMPARED
    select: str = EACH
    margin: float | None = None

    @cached_property
    def tuned(self) -> list[str]:
        """Keys whose values are selected within a cell."""
        return tuned_keys_of(self.search, self.compare)

    @property
    def phases(self) -> list[str]:
        """Phases of the sweep (search, confirmation, additional replicates), in the order in which they run."""
        return [SEARCH, *([CONFIRM] if self.confirmation else []), *([SEQUENTIAL] if self.sequential else [])]

    def confirm(self, search: Sequence[Job], seeds: Mapping[str, Sequence[int]]) -> Confirmed:
        """Select configurations by the results of search jobs, and make the confirming jobs.

        Args:
            search: Jobs of a search, all of them finished.
            seeds: Confirming seeds of each selection (see `Confirmation.seeds_for`).
        """
        assert self.confirmation is not None
        return select(
            self.directory, search, seeds, self.confirmation, self.make_jobs, self.compare, self.tuned, self.select
        )


@dataclass(frozen=True, kw_only=True)
class State:
    """State of a sweep.

    Attributes:
        phases: Jobs of each phase so far. A phase is empty until the earlier phases are complete, since its jobs
            depend on their results.
        choices: Content of `choices.json`; None before the selection.
        looks: Content of `looks.json`; None before the initial jobs are known.
        is_decided: Whether the last interim analysis left no cell active.
    """

    phases: Mapping[str, Sequence[Job]]
    choices: Choices | None = None
    looks: SequentialRecord | None = None
    is_decided: bool = False

    @property
    def jobs(self) -> list[Job]:
        """Jobs of all phases."""
        return list(chain.from_iterable(self.phases.values()))


def state_of(request: Request, have_results: Callable[[Sequence[Job]], bool]) -> State:
    """Return the current state of a sweep.

    Args:
        request: Request of the command.
        have_results: Function that returns whether all given jobs have a result.
    """
    search = list(request.search)
    state = State(phases={phase: search if phase == SEARCH else [] for phase in request.phases})
    seeds = search_seeds(search)
    initial: Replicates = {}
    if request.confirmation:
        if not have_results(search):
            return state
        pairs = recorded_pairs(recorded_choices(request.directory))
        choices, initial, jobs = request.confirm(search, request.confirmation.seeds_for(seeds, request.select, pairs))
        state = replace(state, phases={**state.phases, CONFIRM: jobs}, choices=choices)
    if request.sequential:
        cells = cells_of(search, request.compare)
        if not request.confirmation:
            initial = {cell: {int(job.config[SEED]): job for job in jobs} for cell, jobs in cells.items()}
        sequential.check_initial(request.directory, cells, initial, state.choices if request.select == EACH else None)
        if request.confirmation and request.select == EACH:
            add = partial(_add_replicates, request, have_results)
        else:
            add = partial(_add_seeds, request, initial, state.choices)
        added, looks, is_decided, choices = sequential.analyze(
            request.directory,
            initial,
            sequential.seeds_of(search, request.confirmation, request.sequential, request.select),
            request.sequential,
            request.compare,
            add,
            have_results,
        )
        state = replace(
            state,
            phases={**state.phases, SEQUENTIAL: added},
            choices=None if state.choices is None else merge_choices(state.choices, choices),
            looks=looks,
            is_decided=is_decided,
        )
    return state


def _add_seeds(
    request: Request, initial: Replicates, choices: Choices | None, wanted: Mapping[str, Sequence[int]]
) -> Added:
    """Add replicates to cells with one configuration each: one job per seed.

    If the configuration was selected once per cell (`choices` is not None), these jobs also confirm the selection.
    """
    pairs = [(cell, seed) for cell, seeds in wanted.items() for seed in seeds]
    first = {cell: next(iter(initial[cell].values())) for cell in wanted}
    jobs = jobs_for(request.make_jobs, [with_seed(first[cell].overrides, seed) for cell, seed in pairs])
    scored: dict[str, dict[int, Job]] = {}
    for (cell, seed), job in zip(pairs, jobs, strict=True):
        scored.setdefault(cell, {})[seed] = job
    added: Choices = {}
    if choices is not None:
        confirmed = {
            cell: dict(zip(of, names(list(of.values()), request.directory), strict=True)) for cell, of in scored.items()
        }
        added = {
            cell: {ALL_SEEDS: replace(choices[cell][ALL_SEEDS], confirmed=seeds)} for cell, seeds in confirmed.items()
        }
    return Added(jobs, scored, added)


def _add_replicates(
    request: Request, have_results: Callable[[Sequence[Job]], bool], wanted: Mapping[str, Sequence[int]]
) -> Added:
    """Add replicates to cells that select per seed: search all candidates with each seed, and confirm the selection."""
    cells = cells_of(request.search, request.compare)
    # One job per candidate: jobs that differ only in the seed are the same candidate.
    candidates = {cell: {tuple(with_seed(job.overrides, 0)): job for job in cells[cell]}.values() for cell in wanted}
    jobs = request.make_jobs(
        [with_seed(job.overrides, seed) for cell, seeds in wanted.items() for seed in seeds for job in candidates[cell]]
    )
    if not have_results(jobs):
        return Added(jobs, None, {})
    seeds = sorted({seed for of_cell in wanted.values() for seed in of_cell})
    choices, scored, confirming = request.confirm(jobs, {str(seed): [seed + FRESH] for seed in seeds})
    return Added([*jobs, *confirming], scored, choices)
