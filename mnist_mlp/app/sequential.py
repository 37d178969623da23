"""Interim analyses of a running sweep: test the cells, drop those that are worse than the best, add seeds to the rest.

With `hydra.sweeper.until_decided=true`, a sweep repeats this until all is decided: each cell differs significantly from
the best cell or is equivalent to it. At the latest, it ends with the maximum number of seeds. The levels of the
analyses are so strict that all analyses together have the error rate of a single one (see
`mnist_mlp.stats.sequential`).
"""

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
from mnist_mlp.base.interim import LOOKS_FILE, MAX_SEEDS, InterimRecord, SequentialPlan, SequentialRecord, read_looks
from mnist_mlp.base.margin import PERCENT, check_margin
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.startup import importing
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.sweeps.jobs import Job

if TYPE_CHECKING:  # importing pandas takes a second, so functions import it on demand
    import pandas as pd

SWEEPER = "hydra.sweeper"
PLACE = f"{SWEEPER}.until_decided"
KEYS = tuple(f"{SWEEPER}.{key}" for key in ("until_decided", "max_seeds", "batch", "margin"))


def read(sweeper: Mapping[str, Any]) -> SequentialPlan | None:
    """Parse and check the settings in `hydra.sweeper`; None if the number of seeds is fixed.

    Raises:
        ConfigError: A value is invalid.
    """
    is_asked = sweeper["until_decided"]
    if not isinstance(is_asked, bool):
        raise ConfigError(f"{PLACE}={is_asked}: expected true or false")
    for key in ("max_seeds", "batch"):
        if not isinstance(sweeper[key], int) or isinstance(sweeper[key], bool) or not 1 <= sweeper[key] <= MAX_SEEDS:
            raise ConfigError(f"{SWEEPER}.{key}={sweeper[key]}: expected a whole number from 1 to {MAX_SEEDS:,}")
    margin = read_margin(sweeper["margin"])
    if not is_asked:
        return None
    return SequentialPlan(margin=margin, max_seeds=sweeper["max_seeds"], batch=sweeper["batch"])


def read_margin(value: Any) -> float | None:
    """Parse `hydra.sweeper.margin`, the equivalence margin in percentage points, and return it as a fraction.

    Raises:
        ConfigError: The value is neither null nor a number in (0, 100).
    """
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < PERCENT:
        raise ConfigError(f"{SWEEPER}.margin={value}: expected null or percentage points in (0, 100), such as 0.2")
    return value / PERCENT


class Seeds(NamedTuple):
    """Seeds by which the replicates of a cell are identified, the same for all cells.

    With `ONCE` and a confirmation, these are confirming seeds. Otherwise they are the values of `seed` on the command
    line, and the values that are added to them.

    Attributes:
        initial: Initial seeds.
        all: Initial seeds, then the seeds that may be added, up to the maximum of the plan.
    """

    initial: list[int]
    all: list[int]


def seeds_of(search: Sequence[Job], confirmation: Confirmation | None, plan: SequentialPlan, select: str) -> Seeds:
    """Return the seeds of a sweep with interim analyses.

    Additional seeds count up from the largest initial seed. With a confirmation, they skip seeds that have another use:

    - With `ONCE`, the seeds of the search.
    - With `EACH`, the listed confirming seeds, and each seed whose own confirming seed (`FRESH` more) is listed.

    Args:
        search: Jobs of the command line.
        confirmation: Settings of the confirmation; None if selections are not confirmed.
        plan: Plan of the interim analyses.
        select: Mode of selection: `EACH` (one per seed) or `ONCE` (one per cell).
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
        confirmation: Settings of the confirmation; None if selections are not confirmed.
        plan: Plan of the interim analyses.
        compare: Compared keys.
        select: Mode of selection: `EACH` (one per seed) or `ONCE` (one per cell).

    Returns:
        Announcement for the log.

    Raises:
        UserError: The design is unsuitable, or the directory has interim analyses of another plan or other jobs.
    """
    check_conditions(search, compare, PLACE)
    cells = cells_of(search, compare)
    _check_jobs(search, compare, len(cells), plan, confirmation)
    seeds = seeds_of(search, confirmation, plan, select)
    _check_maximum(seeds, plan)
    if last := recorded_analyses(directory):
        _check_same_plan(directory, last, plan, seeds, cells)
    if confirmation is None:
        check_same_jobs(directory, search)
    elif last and last.looks:
        _check_same_candidates(directory, search, select)
    return (
        f"{PLACE}: then up to {plan.max_seeds - len(seeds.initial)} additional seeds for each of {len(cells)} cells, "
        f"{plan.batch} at a time, until all is decided"
    )


def check_initial(
    directory: Path, cells: Mapping[str, Sequence[Job]], initial: Replicates, choices: Choices | None
) -> None:
    """Check that the initial replicates were selected from the candidates of this command's search.

    With `EACH`, additional replicates search only these candidates. Replicates with other candidates would not be
    comparable. With `ONCE`, it suffices that the selected configuration is one of them.

    Args:
        directory: Sweep directory.
        cells: Jobs of the search, by cell.
        initial: Scored jobs of the initial seeds.
        choices: Selection of each seed; None if no selection is made for single seeds.

    Raises:
        UserError: An earlier, wider command has evaluated other candidates.
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
    """Additional replicates of cells.

    Attributes:
        jobs: Jobs of the replicates that are known so far. Confirming jobs are known only after the search.
        scored: Jobs among these whose scores are analyzed; None while jobs of a search have no result.
        choices: Selections of the replicates; empty if nothing is selected.
    """

    jobs: list[Job]
    scored: Replicates | None
    choices: Choices


class Analyses(NamedTuple):
    """Interim analyses so far, and the jobs that they request.

    Attributes:
        jobs: Jobs of additional replicates, in order.
        looks: Content of `looks.json`.
        is_decided: Whether the last analysis left no cell active.
        choices: Selections of additional replicates.
    """

    jobs: list[Job]
    looks: SequentialRecord
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
    """Carry out the interim analyses in order, from the first, until results are missing or all is decided.

    Analyses of earlier rounds are repeated from their results, so that a resumed sweep makes the same decisions.

    Args:
        directory: Sweep directory.
        initial: Scored jobs of the initial seeds.
        seeds: Seeds of each cell.
        plan: Plan of the interim analyses.
        compare: Compared keys.
        add: Function that makes additional replicates. Its argument maps each cell to the seeds to add.
        have_results: Function that returns whether all given jobs have a result.
    """
    with importing():
        import pandas as pd

        from mnist_mlp.analysis.comparison import score_table
        from mnist_mlp.analysis.interim import conduct_analysis
        from mnist_mlp.stats.sequential import interim_schedule

    cells = {cell: dict(of_cell) for cell, of_cell in initial.items()}
    added, used = list[Job](), _jobs_of(initial)
    choices: Choices = {}
    images = used[0].test_images or None  # equal for all jobs (see `check_conditions`)
    looks, results = list[InterimRecord](), list[pd.DataFrame]()
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
        now = InterimRecord(seeds.all[:size], level, active, "", {})
        look, active, pairs = conduct_analysis(scores, now, pairs, images, plan.margin)
        looks.append(look)
        if not active:
            break
    record = SequentialRecord(plan=plan, given=seeds.initial, jobs=names(used, directory), looks=looks)
    return Analyses(added, record, not active, choices)


def _jobs_of(replicates: Replicates) -> list[Job]:
    return [job for of_cell in replicates.values() for job in of_cell.values()]


def _table_of(replicates: Replicates, compare: Sequence[str]) -> "pd.DataFrame":
    """Return the table of finished jobs, with the seeds of their replicates."""
    from mnist_mlp.analysis.roles import REPLICATE

    runs = table_with_results(_jobs_of(replicates), compare)
    runs[REPLICATE] = [seed for of_cell in replicates.values() for seed in of_cell]
    return runs


def merge_choices(first: Choices, second: Choices) -> Choices:
    """Return the union of selections. A selection in both is that of `second`, with the confirming jobs of both."""
    merged = {cell: dict(of_cell) for cell, of_cell in first.items()}
    for cell, of_cell in second.items():
        for seed, selection in of_cell.items():
            before = merged.setdefault(cell, {}).get(seed)
            confirmed = {**(before.confirmed if before else {}), **selection.confirmed}
            merged[cell][seed] = replace(selection, confirmed=confirmed)
    return merged


def describe(look: InterimRecord, max_seeds: int, is_decided: bool) -> str:
    """Describe an interim analysis for the log."""
    left = "; ".join(f"{cell}: {verdict}" for cell, verdict in look.left.items())
    found = (
        f"interim analysis with {len(look.seeds)} seeds (p below {look.level:.2g}): "
        f"{look.best} leads{f' ({left})' if left else ''}"
    )
    if is_decided:
        return f"{found}; all is decided"
    others = f"{len(look.cells) - len(look.left) - 1} not worse"
    if len(look.seeds) == max_seeds:
        return f"{found}; {others}, at the maximum number of seeds"
    return f"{found}; {others}: these get additional seeds"


def _check_jobs(
    jobs: Sequence[Job], compare: Sequence[str], cells: int, plan: SequentialPlan, confirmation: Confirmation | None
) -> None:
    from mnist_mlp.stats.pairs import MAX_CELLS

    if not 2 <= cells <= MAX_CELLS:
        raise UserError(f"{PLACE}: cells={cells}: expected 2 to {MAX_CELLS}, since all pairs are compared")
    if tuned_keys_of(jobs, compare) and not confirmation:
        raise UserError(
            f"{PLACE}: expected one configuration per cell, or a search that is confirmed, as with "
            f"{EXAMPLE}. Otherwise the best of several configurations may only be the luckiest."
        )
    if apart := varying_sources(jobs):
        raise UserError(
            f"{PLACE}: {apart[0]}: expected one value. Additional seeds vary all sources of randomness; vary {SEED}."
        )
    check_margin(plan.margin, min(job.test_images for job in jobs), f"{SWEEPER}.margin=")


def _check_same_candidates(directory: Path, search: Sequence[Job], select: str) -> None:
    """Check that a search has the candidates from which the recorded selections were made.

    With `ONCE`, the search may lack recorded candidates, but it may not have new ones.
    """
    recorded = recorded_choices(directory)
    if not recorded:
        return  # the file is missing or damaged, and will be restored from the same results
    seeds = {*map(str, search_seeds(search)), ALL_SEEDS}
    known = {
        job for of_cell in recorded.values() for seed, of in of_cell.items() if seed in seeds for job in of.searched
    }
    ours = {*names(search, directory)}
    if different := sorted(ours - known) or (sorted(known - ours) if select == EACH else []):
        what = "new" if different[0] in ours else "missing"
        raise UserError(
            f"{directory}: {len(different)} jobs of the search are {what}, such as {different[0]}. Candidates must not "
            "change after an interim analysis, since that invalidates its error rate. Repeat the same search, or use "
            "another hydra.sweep.dir=DIR."
        )


def _check_maximum(seeds: Seeds, plan: SequentialPlan) -> None:
    from mnist_mlp.stats.moderated_t import FEWEST

    least = max(len(seeds.initial) + 1, FEWEST)
    if plan.max_seeds < least:
        raise UserError(
            f"{SWEEPER}.max_seeds={plan.max_seeds}: each cell has {len(seeds.initial)} initially. Expected at "
            f"least {least}"
        )


def recorded_analyses(directory: Path) -> SequentialRecord | None:
    """Return the recorded interim analyses; None before the first command.

    Raises:
        UserError: `looks.json` is damaged.
    """
    if not (directory / LOOKS_FILE).exists():
        return None
    try:
        return read_looks(directory / LOOKS_FILE)
    except Unreadable as error:
        raise UserError(f"{directory}: {error}. Remove the file: the same analyses are repeated.") from error


def _check_same_plan(
    directory: Path, last: SequentialRecord, plan: SequentialPlan, seeds: Seeds, cells: Collection[str]
) -> None:
    """Check that the recorded analyses had the plan, the seeds and the cells of this command."""
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
        (f"{SEED} (with additional seeds)", seen, seeds.all[: len(seen)]),
        ("cells", ", ".join(sorted(were)), ", ".join(sorted(cells))),
    ):
        if was != now:
            raise UserError(
                f"{key}={now}: {directory} has interim analyses with {was}. Changing that now invalidates their error "
                "rate. Expected the same again, or another hydra.sweep.dir=DIR."
            )


def check_same_jobs(directory: Path, jobs: Sequence[Job]) -> None:
    """Check that recorded interim analyses, if there are any, used all of these jobs.

    Raises:
        UserError: The analyses used other jobs.
    """
    last = recorded_analyses(directory)
    if last and last.looks and (new := sorted({*names(jobs, directory)} - {*last.jobs})):
        raise UserError(
            f"{directory}: {len(new)} jobs differ from those of earlier interim analyses, such as {new[0]}. Changing "
            "them now invalidates the error rate. Expected the same again, or another hydra.sweep.dir=DIR."
        )
