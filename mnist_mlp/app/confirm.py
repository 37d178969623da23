"""Confirmation: what a search selects is retrained with seeds that took no part in the selection.

The runs that a configuration is selected by flatter it, the more configurations were tried the more. So with
`hydra.sweeper.confirm=true` each seed's selection is retrained with a fresh seed, and the report scores these runs only
(see `mnist_mlp.report.analysis.selection`). `hydra.sweeper.confirm={epochs:10}` changes conditions as well.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mnist_mlp.app.cells import (
    SEED,
    cells_of,
    check_conditions,
    names,
    table_with_results,
    tuned_keys_of,
    varying_sources,
)
from mnist_mlp.app.grids import check_known, key_of, override
from mnist_mlp.run import configuration, schema
from mnist_mlp.run.choices import ALL_SEEDS, CHOICES_FILE, Candidate, Choices, Selection, read_choices
from mnist_mlp.run.errors import ConfigError, UserError
from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.record import finite
from mnist_mlp.run.schema import Role
from mnist_mlp.run.startup import importing
from mnist_mlp.run.sweep_file import EACH, ONCE
from mnist_mlp.sweeps.jobs import FINISHED, Job, distinct, status_of

log = logging.getLogger(__name__)

PLACE = "hydra.sweeper.confirm"
SELECT = "hydra.sweeper.select"
EXAMPLE = f"{PLACE}=true, or '{PLACE}={{epochs:10}}'"
FRESH = 1_000_000  # added to a search seed, it is the seed that confirms the selection

MakeJobs = Callable[[Sequence[Sequence[str]]], list[Job]]  # checked jobs, from the overrides of each
Replicates = Mapping[str, Mapping[int, Job]]  # cell, then seed of the replicate, to the job that is scored


@dataclass(frozen=True)
class Confirmation:
    """How selections are confirmed.

    Attributes:
        seeds: Confirming seeds; None for the search seeds plus 1,000,000.
        conditions: Key to the value that it has in confirming runs.
    """

    seeds: Sequence[int] | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def seeds_for(self, search: Sequence[int], select: str) -> dict[str, list[int]]:
        """Return the confirming seeds of each selection, by search seed (as text, or `ALL_SEEDS`).

        Args:
            search: Search seeds in ascending order; as many as the confirming ones if each selects for itself.
            select: `EACH` or `ONCE`.
        """
        seeds = [seed + FRESH for seed in search] if self.seeds is None else sorted(self.seeds)
        if select == ONCE:
            return {ALL_SEEDS: seeds}
        return {str(seed): [fresh] for seed, fresh in zip(search, seeds, strict=True)}


class Confirmed(NamedTuple):
    """Selections of a search, and the jobs that confirm them.

    Attributes:
        choices: Content of `choices.json`.
        scored: Jobs that confirm, by cell and seed of the replicate: the search seed, or with `once` the own seed.
        jobs: The same jobs in order.
    """

    choices: Choices
    scored: Replicates
    jobs: list[Job]


def read(tree: Any) -> Confirmation | None:
    """Read and check what a confirmation changes; None if nothing is confirmed.

    Args:
        tree: True, or key to value in plain containers; None, false or empty disables confirmation.

    Raises:
        ConfigError: The value is invalid.
    """
    if tree is True:
        return Confirmation()
    if (not tree and tree != 0) or tree is False:
        return None
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{PLACE}={tree}: expected true, or keys with values, as in {EXAMPLE}")
    conditions = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            raise ConfigError(f"{PLACE}: {key}={value}: expected single settings, such as seeds.weights: 3")
        check_known(PLACE, key, value)
        if key in schema.GROUPS or schema.role_of(key) not in (Role.REPLICATE, Role.CONDITION):
            raise ConfigError(
                f"{PLACE}: {key}={value}: what the search has selected stays. Expected seeds and conditions, as in "
                f"{EXAMPLE}"
            )
        if key != SEED and schema.role_of(key) is Role.REPLICATE and isinstance(value, list):
            raise ConfigError(f"{PLACE}: {key}={value}: expected one seed; {SEED} varies all sources of randomness")
        if key != SEED:
            conditions[str(key)] = value
    return Confirmation(_seeds(tree[SEED]) if SEED in tree else None, conditions)


def _seeds(given: Any) -> list[int]:
    seeds = given if isinstance(given, list) else [given]
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise ConfigError(f"{PLACE}: seed={given}: expected a list of whole numbers, as in '{PLACE}={{seed:[10,11]}}'")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"{PLACE}: seed={seeds}: a seed is there twice. {_ways_out()}")
    return seeds


def _ways_out() -> str:
    return (
        f"Each search seed is confirmed with one seed of its own: give as many other seeds or none, or use {SELECT}="
        f"{ONCE}, which takes any number."
    )


def search_seeds(jobs: Sequence[Job]) -> list[int]:
    """Return the seeds of a search, in ascending order."""
    return sorted({int(job.config[SEED]) for job in jobs})


def check(
    directory: Path,
    search: Sequence[Job],
    confirmation: Confirmation,
    make_jobs: MakeJobs,
    compare: Sequence[str],
    select: str,
) -> None:
    """Check, before anything is trained, that the selections of a search can be confirmed.

    Args:
        directory: Sweep directory.
        search: Jobs of the search.
        confirmation: How selections are confirmed.
        make_jobs: Makes checked jobs from overrides.
        compare: Compared keys.
        select: `EACH` or `ONCE`.

    Raises:
        UserError: There is nothing to select, a seed is in both, or a job could not work.
    """
    if both := sorted({*compare} & {*confirmation.conditions}):
        raise UserError(
            f"{PLACE}: {both[0]} is compared, so the search gives its values. Expected it here or in "
            "hydra.sweeper.compare, not in both"
        )
    check_conditions(search, compare, PLACE)
    if apart := varying_sources(search):
        raise UserError(
            f"{PLACE}: {apart[0]} varies in the search. A selection is confirmed with a fresh {SEED}, which varies all "
            f"sources of randomness: vary {SEED} instead"
        )
    if not tuned_keys_of(search, compare):
        raise UserError(
            f"{PLACE}: the sweep tries one setting in each cell, so there is nothing to select and confirm; allowed is "
            "a search, such as optim.lr=1e-3,1e-2"
        )
    seeds = search_seeds(search)
    if select == EACH and confirmation.seeds is not None and len(confirmation.seeds) != len(seeds):
        raise UserError(
            f"{PLACE}: seed={list(confirmation.seeds)}: expected {len(seeds)}, as many as the search has. {_ways_out()}"
        )
    # Whatever is selected, it is confirmed by jobs like these.
    cells = cells_of(search, compare)
    fresh = [seed for of in confirmation.seeds_for(seeds, select).values() for seed in of]
    likely = make_jobs(
        [_confirming(of_cell[0], seed, confirmation) for of_cell in cells.values() for seed in fresh],
    )
    _refuse_seeds_of(search, likely)
    distinct([*search, *likely], directory)
    log.info("%s: then %d jobs retrain what is selected for %d cells", PLACE, len(likely), len(cells))


def select(
    directory: Path,
    search: Sequence[Job],
    confirming_seeds: Mapping[str, Sequence[int]],
    confirmation: Confirmation,
    make_jobs: MakeJobs,
    compare: Sequence[str],
    tuned: Sequence[str],
    how: str,
) -> Confirmed:
    """Select configurations, and make the jobs that confirm them.

    A selection on record that was made among more jobs, by an earlier and wider command, stays. If the configuration
    that it selected is not in this search, this search has nothing to confirm there.

    Args:
        directory: Sweep directory.
        search: Jobs of the search, all of them finished.
        confirming_seeds: See `Confirmation.seeds_for`.
        confirmation: How selections are confirmed.
        make_jobs: Makes checked jobs from overrides.
        compare: Compared keys.
        tuned: Tuned keys of the whole search.
        how: `EACH` or `ONCE`.
    """
    with importing():
        from mnist_mlp.report.analysis.roles import CELL, REPLICATE
        from mnist_mlp.report.analysis.selection import CANDIDATE, number_candidates, rank_candidates

    in_order = sorted(search, key=lambda job: str(job.directory))  # as the report reads them
    runs = table_with_results(in_order, compare)
    runs[[key for key in tuned if key not in runs]] = None
    runs[CANDIDATE] = number_candidates(runs, tuned)
    within = [CELL, REPLICATE] if how == EACH else [CELL]
    evaluated = {key: rows.index for key, rows in runs.groupby([*within, CANDIDATE])}
    recorded: Choices = {}
    with suppress(Unreadable):  # a missing file, or a damaged one, which is written again
        recorded = read_choices(directory / CHOICES_FILE)
    choices: dict[str, dict[str, Selection]] = {}
    wanted: list[tuple[str, str, int, list[str]]] = []  # cell, search seed, confirming seed, overrides
    for key, ranked in rank_candidates(runs, tuned, within).groupby(within, sort=True):
        cell, seed = str(key[0]), str(key[1]) if how == EACH else ALL_SEEDS
        rows = [evaluated[(*key, number)] for number in ranked[CANDIDATE]]
        candidates = [
            Candidate(
                configuration={str(k): v for k, v in runs.loc[of[0], list(tuned)].to_dict().items()},
                accuracy=float(accuracy),
                loss=float(loss),
                jobs=names([in_order[row] for row in of], directory),
            )
            for of, accuracy, loss in zip(rows, ranked["accuracy"], ranked["loss"], strict=True)
        ]
        selection = Selection(configuration=candidates[0].configuration, candidates=candidates, confirmed={})
        if wider := _wider(recorded.get(cell, {}).get(seed), selection, directory):
            selection = replace(wider, confirmed={})
        choices.setdefault(cell, {})[seed] = selection
        configurations = [finite(dict(candidate.configuration)) for candidate in candidates]
        if (selected := finite(dict(selection.configuration))) in configurations:
            job = in_order[rows[configurations.index(selected)][0]]
            wanted += [(cell, seed, fresh, _confirming(job, fresh, confirmation)) for fresh in confirming_seeds[seed]]
    jobs = jobs_for(make_jobs, [overrides for *_, overrides in wanted])
    scored: dict[str, dict[int, Job]] = {}
    for (cell, seed, fresh, _), job in zip(wanted, jobs, strict=True):
        scored.setdefault(cell, {})[fresh if seed == ALL_SEEDS else int(seed)] = job
        (name,) = names([job], directory)
        selection = choices[cell][seed]
        choices[cell][seed] = replace(selection, confirmed={**selection.confirmed, fresh: name})
    return Confirmed(choices, scored, distinct(jobs, directory))


def _wider(recorded: Selection | None, selection: Selection, directory: Path) -> Selection | None:
    """Return a selection on record if it was made among the jobs of this one and others, which all have a result."""
    if recorded is None:
        return None
    theirs, ours = {*recorded.searched}, {*selection.searched}
    is_wider = theirs > ours and all(status_of(directory / job) in FINISHED for job in theirs - ours)
    return recorded if is_wider else None


def jobs_for(make_jobs: MakeJobs, overrides: Sequence[Sequence[str]]) -> list[Job]:
    """Return the job of each of these overrides, in their order; no two may give the same job.

    Args:
        make_jobs: Makes checked jobs, in any order.
        overrides: Overrides of each job.
    """
    made = {job.overrides: job for job in make_jobs(overrides)} if overrides else {}
    return [made[tuple(one)] for one in overrides]


def with_seed(overrides: Sequence[str], seed: int) -> list[str]:
    """Return the overrides of a job with another seed."""
    return [*(one for one in overrides if key_of(one) != SEED), override(SEED, seed)]


def _confirming(job: Job, seed: int, confirmation: Confirmation) -> list[str]:
    """Return the overrides of the job that retrains the configuration of a job with another seed."""
    kept = [one for one in with_seed(job.overrides, seed) if key_of(one) not in confirmation.conditions]
    return [*kept, *(override(key, value) for key, value in confirmation.conditions.items())]


def _refuse_seeds_of(search: Sequence[Job], confirm: Sequence[Job]) -> None:
    fixed = {
        (source, seed) for job in search for source, seed in (job.config.get("seeds") or {}).items() if seed is not None
    }
    used = {stream for job in search for stream in configuration.seeds(job.config).items()} - fixed
    for job in confirm:
        for source, seed in configuration.seeds(job.config).items():
            if (source, seed) in used:
                key = SEED if (job.config.get("seeds") or {}).get(source) is None else f"seeds.{source}"
                raise UserError(f"{PLACE}: {key}={seed} is one of the search's. Expected other seeds. {_ways_out()}")
