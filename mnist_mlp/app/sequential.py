"""Interim analyses: more seeds for all cells except those that are worse than the best, until it is decided.

With `hydra.sweeper.until_decided=true`, a sweep analyzes its results, adds seeds if these leave something undecided,
and analyzes again, at significance levels that all analyses share (see `mnist_mlp.stats.sequential`).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_mlp.app.cells import (
    SEED,
    cells_of,
    check_conditions,
    names,
    table_with_results,
    tuned_keys_of,
    varying_sources,
)
from mnist_mlp.app.confirm import EXAMPLE, FRESH, Confirmation, Replicates, search_seeds
from mnist_mlp.base import configuration
from mnist_mlp.base.choices import ALL_SEEDS, Choices, recorded_choices
from mnist_mlp.base.errors import ConfigError, UserError
from mnist_mlp.base.looks import LOOKS_FILE, MOST_SEEDS, Look, Looks, SequentialPlan, read_looks
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.startup import importing
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.sweeps.jobs import Job

if TYPE_CHECKING:  # pandas is imported when it is needed: that takes a second
    import pandas as pd

SWEEPER = "hydra.sweeper"
PLACE = f"{SWEEPER}.until_decided"
KEYS = tuple(f"{SWEEPER}.{key}" for key in ("until_decided", "max_seeds", "batch", "margin"))
PERCENT = 100


def read(sweeper: Mapping[str, Any]) -> SequentialPlan | None:
    """Read and check the sweeper's settings; None if the seeds are fixed.

    Raises:
        ConfigError: A value is invalid.
    """
    is_asked, margin = sweeper["until_decided"], sweeper["margin"]
    if not isinstance(is_asked, bool):
        raise ConfigError(f"{PLACE}={is_asked}: allowed are true, false")
    for key in ("max_seeds", "batch"):
        if not isinstance(sweeper[key], int) or isinstance(sweeper[key], bool) or not 1 <= sweeper[key] <= MOST_SEEDS:
            raise ConfigError(f"{SWEEPER}.{key}={sweeper[key]}: allowed are whole numbers from 1 to {MOST_SEEDS:,}")
    if margin is not None:
        if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 < margin < PERCENT:
            raise ConfigError(
                f"{SWEEPER}.margin={margin}: allowed are null and percentage points, greater than 0, as in 0.2"
            )
        if not is_asked:
            raise ConfigError(f"{SWEEPER}.margin={margin}: seeds are as given; allowed with it is {PLACE}=true")
        margin /= PERCENT
    if not is_asked:
        return None
    return SequentialPlan(margin=margin, max_seeds=sweeper["max_seeds"], batch=sweeper["batch"])


class Seeds(NamedTuple):
    """Seeds of the replicates of each cell: search seeds, if each replicate selects for itself.

    Attributes:
        initial: Seeds before any are added.
        all: Initial seeds and those that may be added, in order: as many as the plan's maximum.
    """

    initial: list[int]
    all: list[int]


def seeds_of(search: Sequence[Job], confirmation: Confirmation | None, plan: SequentialPlan, select: str) -> Seeds:
    """Return the seeds of a sequential sweep. Added seeds count on from the largest.

    They skip the seeds that confirm listed ones or, with `once`, those of the search.

    Args:
        search: Jobs of the command line.
        confirmation: How their selections are confirmed; None if they are not.
        plan: Plan of the interim analyses.
        select: `EACH` or `ONCE`.
    """
    initial = search_seeds(search)
    used: set[int] = set()
    if confirmation and select == ONCE:
        used = {seed for job in search for seed in configuration.seeds(job.config).values()}
        (initial,) = confirmation.seeds_for(initial, select).values()
    elif confirmation:
        listed = confirmation.seeds or ()
        used = {*listed, *(seed - FRESH for seed in listed)}
    added = (seed for seed in count(max(initial) + 1) if seed not in used)
    return Seeds(initial, [*initial, *islice(added, max(0, plan.max_seeds - len(initial)))])


def check(
    directory: Path,
    search: Sequence[Job],
    confirmation: Confirmation | None,
    plan: SequentialPlan,
    compare: Sequence[str],
    select: str,
) -> str:
    """Check, before anything is trained, that seeds can be added.

    Args:
        directory: Sweep directory.
        search: Jobs of the command line.
        confirmation: How their selections are confirmed; None if they are not.
        plan: Plan of the interim analyses.
        compare: Compared keys.
        select: `EACH` or `ONCE`.

    Returns:
        What will happen, for the log.

    Raises:
        UserError: There is nothing to decide, or the directory has interim analyses of another plan.
    """
    check_conditions(search, compare, PLACE)
    cells = cells_of(search, compare)
    _check_jobs(search, compare, len(cells), plan, confirmation)
    seeds = seeds_of(search, confirmation, plan, select)
    _check_maximum(seeds, plan)
    if last := last_looks(directory):
        _check_same_plan(directory, last, plan, seeds, cells)
    if confirmation is None:
        check_same_jobs(directory, search)
    elif last and last.looks:
        _check_same_candidates(directory, search, select)
    return (
        f"{PLACE}: then up to {plan.max_seeds - len(seeds.initial)} further seeds for each of {len(cells)} cells, "
        f"{plan.batch} at a time, until it is decided"
    )


def check_initial(
    directory: Path, cells: Mapping[str, Sequence[Job]], initial: Replicates, choices: Choices | None
) -> None:
    """Check that every replicate of a search has an initial job, and was selected among the jobs of this search.

    Further replicates are searched with the candidates of this command, so earlier ones must have had the same.

    Args:
        directory: Sweep directory.
        cells: Jobs of the search, by cell.
        initial: Scored jobs of the initial seeds.
        choices: Selections, if each seed selects for itself.

    Raises:
        UserError: One has not, as a wider command has evaluated other candidates.
    """
    for cell, jobs in cells.items():
        is_same = cell in initial
        for seed, selection in (choices or {}).get(cell, {}).items():
            ours = {*names([job for job in jobs if job.config[SEED] == int(seed)], directory)}
            is_same &= not ours or ({*selection.searched} == ours and int(seed) in initial[cell])
        if not is_same:
            raise UserError(
                f"{PLACE}: expected the same candidates of {cell} for all seeds. An earlier command has searched "
                "others in this directory: repeat the wider command, or use another hydra.sweep.dir=DIR."
            )


class Added(NamedTuple):
    """Further replicates of cells.

    Attributes:
        jobs: Jobs that they need, as far as the results say.
        scored: The scored jobs among these; None as long as a job that selects has no result.
        choices: Selections that the jobs were made for; empty if nothing is selected.
    """

    jobs: list[Job]
    scored: Replicates | None
    choices: Choices


class Analyses(NamedTuple):
    """Interim analyses that the results allow, and the jobs that they call for.

    Attributes:
        jobs: Jobs of added replicates, in order.
        looks: Content of `looks.json`.
        is_decided: Whether no cell gets more seeds after the last analysis.
        choices: Selections of added replicates.
    """

    jobs: list[Job]
    looks: Looks
    is_decided: bool
    choices: Choices


def analyze(
    directory: Path,
    initial: Replicates,
    seeds: Seeds,
    plan: SequentialPlan,
    compare: Sequence[str],
    add: Callable[[Mapping[str, Sequence[int]]], Added],
    have_results: Callable[[Sequence[Job]], bool],
) -> Analyses:
    """Analyze the results of a sweep, from its first interim analysis as far as there are results.

    Args:
        directory: Sweep directory.
        initial: Scored jobs of the initial seeds.
        seeds: Seeds of each cell.
        plan: Plan of the interim analyses.
        compare: Compared keys.
        add: Makes further replicates, from the seeds that cells need.
        have_results: Whether all of these jobs are finished.
    """
    with importing():
        import pandas as pd

        from mnist_mlp.analysis.comparison import score_table
        from mnist_mlp.analysis.looks import look_at
        from mnist_mlp.stats.sequential import interim_schedule

    cells = {cell: dict(of_cell) for cell, of_cell in initial.items()}
    added, used = list[Job](), _jobs_of(initial)
    choices: Choices = {}
    images = used[0].test_images or None  # the same ones for all jobs (see `check_conditions`)
    looks, results = list[Look](), list[pd.DataFrame]()
    pairs, active = None, list(cells)
    for size, level in interim_schedule(len(seeds.initial), plan.batch, plan.max_seeds, len(cells)):
        wanted = {cell: seeds.all[len(cells[cell]) : size] for cell in active}
        new = add(wanted) if any(wanted.values()) else Added([], {}, {})
        added += new.jobs
        choices = merge_choices(choices, new.choices)
        if new.scored is None:
            break
        for cell, of_cell in new.scored.items():
            cells[cell] |= of_cell
        so_far = _jobs_of(cells)
        if not have_results(so_far):
            break
        if unread := new.scored if results else cells:
            results.append(_table_of(unread, compare))
        used, scores = so_far, score_table(pd.concat(results)).reindex(list(cells))
        now = Look(seeds.all[:size], level, active, "", {})
        look, active, pairs = look_at(scores, now, pairs, images, plan.margin)
        looks.append(look)
        if not active:
            break
    record = Looks(plan=plan, given=seeds.initial, jobs=names(used, directory), looks=looks)
    return Analyses(added, record, not active, choices)


def _jobs_of(replicates: Replicates) -> list[Job]:
    return [job for of_cell in replicates.values() for job in of_cell.values()]


def _table_of(replicates: Replicates, compare: Sequence[str]) -> "pd.DataFrame":
    """Return the table of finished jobs, each with the seed of its replicate."""
    from mnist_mlp.analysis.roles import REPLICATE

    runs = table_with_results(_jobs_of(replicates), compare)
    runs[REPLICATE] = [seed for of_cell in replicates.values() for seed in of_cell]
    return runs


def merge_choices(first: Choices, second: Choices) -> Choices:
    """Return all selections of both; a selection that is in both is confirmed by the jobs of both."""
    merged = {cell: dict(of_cell) for cell, of_cell in first.items()}
    for cell, of_cell in second.items():
        for seed, selection in of_cell.items():
            before = merged.setdefault(cell, {}).get(seed)
            confirmed = {**(before.confirmed if before else {}), **selection.confirmed}
            merged[cell][seed] = replace(selection, confirmed=confirmed)
    return merged


def described(look: Look, max_seeds: int, is_decided: bool) -> str:
    """Describe an interim analysis for the log."""
    left = "; ".join(f"{cell}: {verdict}" for cell, verdict in look.left.items())
    found = (
        f"look at {len(look.seeds)} seeds (p below {look.level:.2g}): {look.best} leads{f' ({left})' if left else ''}"
    )
    if is_decided:
        return f"{found}; all is decided"
    others = f"{len(look.cells) - len(look.left) - 1} not worse"
    if len(look.seeds) == max_seeds:
        return f"{found}; {others}, at the most seeds"
    return f"{found}; {others}: all of these get further seeds"


def _check_jobs(
    jobs: Sequence[Job], compare: Sequence[str], cells: int, plan: SequentialPlan, confirmation: Confirmation | None
) -> None:
    from mnist_mlp.stats.pairs import MOST_CELLS

    if not 2 <= cells <= MOST_CELLS:
        raise UserError(f"{PLACE}: cells={cells}; allowed are 2 to {MOST_CELLS}, each compared with each")
    if tuned_keys_of(jobs, compare) and not confirmation:
        raise UserError(
            f"{PLACE}: the sweep tries several settings in a cell, and the best may be the luckiest; allowed is "
            f"one setting a cell, or a search that is confirmed, as with {EXAMPLE}"
        )
    if apart := varying_sources(jobs):
        raise UserError(f"{PLACE}: {apart[0]} varies: further seeds are of all sources; allowed is {SEED} alone")
    images = min(job.test_images for job in jobs)
    if plan.margin is not None and plan.margin * images < 1 - 1e-9:
        raise UserError(
            f"{SWEEPER}.margin={plan.margin * PERCENT:g}: less than one of {images:,} test images; allowed are "
            f"{math.ceil(PERCENT / images * 1e4 - 1e-6) / 1e4:g} points and more"
        )


def _check_same_candidates(directory: Path, search: Sequence[Job], select: str) -> None:
    """Check that a search has the candidates that were selected from before the first interim analysis."""
    recorded = recorded_choices(directory)
    if not recorded:
        return  # written again from the same results
    seeds = {*map(str, search_seeds(search)), ALL_SEEDS}
    known = {
        job for of_cell in recorded.values() for seed, of in of_cell.items() if seed in seeds for job in of.searched
    }
    ours = {*names(search, directory)}
    if different := sorted(ours - known) or (sorted(known - ours) if select == EACH else []):
        what = "new" if different[0] in ours else "missing"
        raise UserError(
            f"{directory}: {len(different)} jobs of the search are {what}, such as {different[0]}; to change the "
            "candidates after a look would leave the verdict to luck. Repeat the same search, or use another "
            "hydra.sweep.dir=DIR."
        )


def _check_maximum(seeds: Seeds, plan: SequentialPlan) -> None:
    from mnist_mlp.stats.moderated_t import FEWEST

    least = max(len(seeds.initial) + 1, FEWEST)
    if plan.max_seeds < least:
        raise UserError(
            f"{SWEEPER}.max_seeds={plan.max_seeds}: each cell is given {len(seeds.initial)} to begin with; allowed are "
            f"{least} and more"
        )


def last_looks(directory: Path) -> Looks | None:
    """Return the interim analyses of an earlier command, if there are any.

    Raises:
        UserError: Their file is damaged.
    """
    if not (directory / LOOKS_FILE).exists():
        return None
    try:
        return read_looks(directory / LOOKS_FILE)
    except Unreadable as error:
        raise UserError(f"{directory}: {error}; allowed is to remove it, as the same looks are taken again") from error


def _check_same_plan(directory: Path, last: Looks, plan: SequentialPlan, seeds: Seeds, cells: Collection[str]) -> None:
    """Check that the earlier analyses are those that would be repeated now."""
    were = last.looks[0].cells if last.looks else cells
    seen = list(last.looks[-1].seeds) if last.looks else []
    for key, was, now in (
        (f"{SWEEPER}.max_seeds", last.plan.max_seeds, plan.max_seeds),
        (f"{SWEEPER}.batch", last.plan.batch, plan.batch),
        (
            f"{SWEEPER}.margin",
            *(None if m is None else round(m * PERCENT, 9) for m in (last.plan.margin, plan.margin)),
        ),
        (SEED, list(last.given), seeds.initial),
        (f"{SEED} (with those that are added)", seen, seeds.all[: len(seen)]),
        ("cells", ", ".join(sorted(were)), ", ".join(sorted(cells))),
    ):
        if was != now:
            raise UserError(
                f"{key}={now}: {directory} has been looked at with {was}; to change that after a look would leave the "
                "verdict to luck. Allowed is the same again, or another hydra.sweep.dir=DIR"
            )


def check_same_jobs(directory: Path, jobs: Sequence[Job]) -> None:
    """Check that the initial jobs are those of the earlier analyses, if there are any.

    Raises:
        UserError: There are other jobs.
    """
    last = last_looks(directory)
    if last and last.looks and (new := sorted({*names(jobs, directory)} - {*last.jobs})):
        raise UserError(
            f"{directory}: {len(new)} jobs are others than those that were looked at, such as {new[0]}; to change them "
            "after a look would leave the verdict to luck. Allowed is the same again, or another hydra.sweep.dir=DIR"
        )
