"""Confirmation: retraining of the selected configurations with seeds that took no part in the selection.

The runs that a configuration is selected by flatter it, the more configurations were tried the more. So with
`hydra.sweeper.confirm=true` each seed's selection is retrained with a fresh seed, and the report scores these runs only
(see `mnist_mlp.analysis.selection`). `hydra.sweeper.confirm={epochs:10}` changes conditions as well.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mnist_mlp.app.cells import (
    SEED,
    cells_of,
    check_conditions,
    tuned_keys_of,
    varying_sources,
)
from mnist_mlp.app.grids import check_known, override
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.choices import ALL_SEEDS, Choices, recorded_choices
from mnist_mlp.base.errors import ConfigError, UserError
from mnist_mlp.base.schema import Role
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.sweeps.jobs import Job, distinct

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

    def seeds_for(
        self, search: Sequence[int], select: str, recorded: Mapping[int, int] = MappingProxyType({})
    ) -> dict[str, list[int]]:
        """Return the confirming seeds of each selection, by search seed (as text, or `ALL_SEEDS`).

        Listed seeds are paired with search seeds in ascending order; pairs on record stay.

        Args:
            search: Search seeds in ascending order; as many as listed ones if each selects for itself.
            select: `EACH` or `ONCE`.
            recorded: Search seed to its confirming seed, of earlier commands.
        """
        if select == ONCE:
            return {ALL_SEEDS: [seed + FRESH for seed in search] if self.seeds is None else sorted(self.seeds)}
        if self.seeds is None:
            return {str(seed): [seed + FRESH] for seed in search}
        pairs = {seed: recorded[seed] for seed in search if recorded.get(seed) in self.seeds}
        others = iter(sorted({*self.seeds} - {*pairs.values()}))
        return {str(seed): [pairs[seed] if seed in pairs else next(others)] for seed in search}

    def retraining(self, job: Job, seed: int) -> list[str]:
        """Return the overrides of the job that retrains the configuration of a job with another seed."""
        kept = [one for one in with_seed(job.overrides, seed) if configuration.key_of(one) not in self.conditions]
        return [*kept, *(override(key, value) for key, value in self.conditions.items())]


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
    _check_recorded(directory, seeds, confirmation, select)
    likely = likely_jobs(search, confirmation, make_jobs, compare, select)
    count = len(likely)
    if confirmation.conditions:  # with other conditions, one candidate may work and another not
        fresh = next(iter(confirmation.seeds_for(seeds, select).values()))[0]
        candidates = dict.fromkeys(tuple(confirmation.retraining(job, fresh)) for job in search)
        likely = [*likely, *make_jobs([*candidates])]
    _refuse_seeds_of(search, likely)
    distinct([*search, *likely], directory)
    cells = cells_of(search, compare)
    log.info("%s: then %d jobs retrain what is selected for %d cells", PLACE, count, len(cells))


def recorded_pairs(choices: Choices) -> dict[int, int]:
    """Return the confirming seed of each search seed on record."""
    return {
        int(seed): fresh
        for of_cell in choices.values()
        for seed, selection in of_cell.items()
        if seed != ALL_SEEDS
        for fresh in selection.confirmed
    }


def _check_recorded(directory: Path, seeds: Sequence[int], confirmation: Confirmation, select: str) -> None:
    """Check that no seed has another part in an earlier command.

    Raises:
        UserError: One has.
    """
    choices = recorded_choices(directory)
    confirming = {fresh for of_cell in choices.values() for of in of_cell.values() for fresh in of.confirmed}
    for seed in seeds:
        if seed in confirming:
            raise UserError(f"seed={seed}: it confirms a selection in {directory}. Expected other search seeds.")
    if select == ONCE:
        return
    pairs = recorded_pairs(choices)
    of_fresh = {fresh: seed for seed, fresh in pairs.items()}
    for text, (fresh,) in confirmation.seeds_for(seeds, select, pairs).items():
        if (other := of_fresh.get(fresh, int(text))) != int(text):
            raise UserError(
                f"{PLACE}: seed={fresh} confirms the selection of seed {other} in {directory}. Expected other seeds."
            )


def likely_jobs(
    search: Sequence[Job], confirmation: Confirmation, make_jobs: MakeJobs, compare: Sequence[str], select: str
) -> list[Job]:
    """Return one job for each confirmation to come, of a candidate that may be selected; see `check`."""
    cells = cells_of(search, compare).values()
    fresh = [seed for of in confirmation.seeds_for(search_seeds(search), select).values() for seed in of]
    return make_jobs([confirmation.retraining(of_cell[0], seed) for of_cell in cells for seed in fresh])


def with_seed(overrides: Sequence[str], seed: int) -> list[str]:
    """Return the overrides of a job with another seed."""
    return [*(one for one in overrides if configuration.key_of(one) != SEED), override(SEED, seed)]


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
