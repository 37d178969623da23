"""Output of a dry run: the current jobs, and an outline of all phases of the sweep."""

from collections import Counter
from collections.abc import Iterator, Sequence

from mnist_mlp.app.cells import COMPARE, cells_of, check_compared, replicates_of, table, varying_sources
from mnist_mlp.app.confirm import likely_jobs
from mnist_mlp.app.sequential import seeds_of
from mnist_mlp.app.state import Request, State
from mnist_mlp.base import configuration
from mnist_mlp.base.configuration import key_of
from mnist_mlp.base.schema import Role, role_of
from mnist_mlp.base.sweep_file import CONFIRM, EACH, SEARCH, SEQUENTIAL
from mnist_mlp.sweeps.jobs import Job

SHOWN_SEEDS = 6


def describe(request: Request, state: State, todo: Sequence[Job]) -> Iterator[str]:
    """Yield the lines of a dry run.

    Args:
        request: Request of the command.
        state: Current state of the sweep.
        todo: Jobs that would be launched now.
    """
    undone = {*todo}
    done = [job for job in state.jobs if job not in undone]
    for what, jobs in (("done ", done), ("to do", todo)):
        for job in jobs:
            overrides = " ".join(one for one in job.overrides if key_of(one) != "dry_run")
            yield f"{what}  {job.directory.name}  {overrides}"
    later = [] if state.phases.get(CONFIRM) or not request.confirmation else _likely(request)
    rows = [*_outline(request, state, undone, len(later)), ("time", _time(done, [*todo, *later]))]
    width = max(len(name) for name, _ in rows)
    yield from (f"{name:{width}}  {text}" for name, text in rows)


def _outline(request: Request, state: State, undone: set[Job], confirming: int) -> Iterator[tuple[str, str]]:
    import pandas as pd

    from mnist_mlp.analysis import sources
    from mnist_mlp.stats.moderated_t import FEWEST

    cells = cells_of(request.search, request.compare)
    values = table(request.search, request.compare)
    keys = ", ".join(f"{key} ({values[key].nunique(dropna=False)})" for key in request.compare)
    yield "cells", f"{len(cells)}, compared by {keys}"
    if single := check_compared(request.search, request.compare):
        yield "", f"one value only: {', '.join(single)}"
    candidates = {cell: len({_configuration(job) for job in jobs}) for cell, jobs in cells.items()}
    if request.tuned:
        counts = Counter(candidates.values())
        each = " and ".join(
            f"{number} candidates in {'each cell' if len(counts) == 1 else f'{many} cells'}"
            for number, many in sorted(counts.items(), reverse=True)
        )
        streams = pd.Series([(*configuration.seeds(job.config).values(),) for job in request.search])
        is_each = request.select == EACH and len(sources.seeds_by_source(streams)) < 2
        how = "one selection per seed" if is_each else "one selection per cell, by the mean over seeds"
        yield "tuned", f"{', '.join(request.tuned)}: {each}; {how}"
        if others := [key for key in request.tuned if not key.startswith("optim.")]:
            yield "", f"to compare {others[0]} instead: '{COMPARE}=[{','.join([*request.compare, others[0]])}]'"
    for key, seeds in replicates_of(request.search).items():
        shown = ", ".join(map(str, seeds[:SHOWN_SEEDS])) + (", ..." if len(seeds) > SHOWN_SEEDS else "")
        is_few = len(seeds) < FEWEST and not request.sequential and not varying_sources(request.search)
        few = f"; a verdict needs at least {FEWEST}" if is_few else ""
        yield "replicates", f"{len(seeds)}: {key} {shown}{few}"
    for phase in request.phases:
        jobs = state.phases[phase]
        if phase == SEARCH or jobs:
            yield phase, f"{len(jobs)} jobs, {len({*jobs} - undone)} done"
        elif phase == CONFIRM:
            yield phase, f"{confirming} jobs, once the search is complete"
    if request.sequential:
        replicates = seeds_of(request.search, request.confirmation, request.sequential, request.select)
        tunes = request.confirmation is not None and request.select == EACH
        jobs_each = len(cells) + (sum(candidates.values()) if tunes else 0)
        further = len(replicates.all) - len(replicates.initial)
        yield (
            SEQUENTIAL,
            f"up to {further} additional replicates, {request.sequential.batch} at a time, each of {jobs_each} jobs, "
            "or fewer once cells have been dropped",
        )


def _configuration(job: Job) -> tuple[str, ...]:
    """Return the overrides of a job without its seeds."""
    return tuple(one for one in job.overrides if role_of(key_of(one)) is not Role.REPLICATE)


def _likely(request: Request) -> list[Job]:
    assert request.confirmation is not None
    return likely_jobs(request.search, request.confirmation, request.make_jobs, request.compare, request.select)


def _time(done: Sequence[Job], todo: Sequence[Job]) -> str:
    finished = [(job.steps, summary["wall_seconds"]) for job in done if "wall_seconds" in (summary := job.summary())]
    steps, seconds = (sum(of) for of in zip(*finished, strict=True)) if finished else (0, 0.0)
    if finished:
        per_step = seconds / steps if steps else 0.0
        total = sum(job.steps for job in todo) * per_step or seconds / len(finished) * len(todo)
        return f"{len(todo)} to do; about {total:.0f} s on one worker, estimated from {len(done)} finished runs"
    of_steps = [job.steps * job.step_seconds for job in todo if job.step_seconds is not None]
    if len(of_steps) < len(todo) or not todo:
        return f"{len(todo)} to do; no finished run to estimate the time from"
    return f"{len(todo)} to do; at least {sum(of_steps):.0f} s on one worker, for training steps only"
