"""Confirmation: retraining of the selected configurations with seeds that took no part in the selection.

The runs by which a configuration is selected overestimate its accuracy (selection bias). The bias grows with the number
of configurations tried. With `hydra.sweeper.confirm=true`, the configuration that a search seed has selected is
retrained with a fresh seed, the confirming seed. Only the retrained runs are scored (see
`mnist_mlp.analysis.selection`). `hydra.sweeper.confirm={epochs:10}` retrains under other conditions than the search.
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
from mnist_mlp.sweeps.jobs import Job, drop_duplicates

log = logging.getLogger(__name__)

PLACE = "hydra.sweeper.confirm"
SELECT = "hydra.sweeper.select"
EXAMPLE = f"{PLACE}=true, or '{PLACE}={{epochs:10}}'"
FRESH = 1_000_000  # default offset of the confirming seed from the search seed

MakeJobs = Callable[[Sequence[Sequence[str]]], list[Job]]  # from the overrides of each job to checked jobs
Replicates = Mapping[str, Mapping[int, Job]]  # scored job by cell and seed of the replicate


@dataclass(frozen=True)
class Confirmation:
    """Settings of the confirmation of selections.

    Attributes:
        seeds: Confirming seeds; None for the search seeds plus 1,000,000.
        conditions: Keys that confirming runs override, with their values.
    """

    seeds: Sequence[int] | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def seeds_for(
        self, search: Sequence[int], select: str, recorded: Mapping[int, int] = MappingProxyType({})
    ) -> dict[str, list[int]]:
        """Return the confirming seeds of each selection.

        With `ONCE`, a cell has one selection, with the key `ALL_SEEDS` and all confirming seeds. With `EACH`, it has
        one selection per search seed, with this seed (as text) as the key and one confirming seed. Listed confirming
        seeds are paired with search seeds in ascending order, but pairs of earlier commands stay.

        Args:
            search: Search seeds in ascending order; with `EACH`, as many as listed confirming seeds.
            select: Mode of selection: `EACH` or `ONCE`.
            recorded: Confirming seed of each search seed in earlier commands.
        """
        if select == ONCE:
            return {ALL_SEEDS: [seed + FRESH for seed in search] if self.seeds is None else sorted(self.seeds)}
        if self.seeds is None:
            return {str(seed): [seed + FRESH] for seed in search}
        pairs = {seed: recorded[seed] for seed in search if recorded.get(seed) in self.seeds}
        others = iter(sorted({*self.seeds} - {*pairs.values()}))
        return {str(seed): [pairs[seed] if seed in pairs else next(others)] for seed in search}

    def retraining(self, job: Job, seed: int) -> list[str]:
        """Return the overrides that retrain the configuration of a job with this confirming seed."""
        kept = [one for one in with_seed(job.overrides, seed) if configuration.key_of(one) not in self.conditions]
        return [*kept, *(override(key, value) for key, value in self.conditions.items())]


def read(tree: Any) -> Confirmation | None:
    """Parse and check `hydra.sweeper.confirm`; None if confirmation is disabled.

    Args:
        tree: True, or keys with values in plain containers; None, False or an empty value disables confirmation.

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
                f"{PLACE}: {key}={value}: expected seeds and evaluation conditions, as in "
                f"{EXAMPLE}. The selected configuration is fixed."
            )
        if key != SEED and schema.role_of(key) is Role.REPLICATE and isinstance(value, list):
            raise ConfigError(f"{PLACE}: {key}={value}: expected one seed. {SEED} varies all sources of randomness.")
        if key != SEED:
            conditions[str(key)] = value
    return Confirmation(_seeds(tree[SEED]) if SEED in tree else None, conditions)


def _seeds(given: Any) -> list[int]:
    seeds = given if isinstance(given, list) else [given]
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise ConfigError(f"{PLACE}: seed={given}: expected a list of whole numbers, as in '{PLACE}={{seed:[10,11]}}'")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"{PLACE}: seed={seeds}: expected different seeds. {_ways_out()}")
    return seeds


def _ways_out() -> str:
    return (
        "Each search seed is confirmed with another seed: give as many seeds as the search has, or none, or use "
        f"{SELECT}={ONCE}, which accepts any number."
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
        confirmation: Settings of the confirmation.
        make_jobs: Function that makes checked jobs from overrides.
        compare: Compared keys.
        select: Mode of selection: `EACH` (one per seed) or `ONCE` (one per cell).

    Raises:
        UserError: There is nothing to select, a seed is used by both search and confirmation, or a job is invalid.
    """
    if both := sorted({*compare} & {*confirmation.conditions}):
        raise UserError(
            f"{PLACE}: {both[0]}: expected keys that are not in hydra.sweeper.compare, since the search sets the "
            "values of compared keys"
        )
    check_conditions(search, compare, PLACE)
    if apart := varying_sources(search):
        raise UserError(
            f"{PLACE}: {apart[0]}: expected one value. A selection is confirmed with a fresh {SEED}, which varies all "
            f"sources of randomness; vary {SEED} instead."
        )
    if not tuned_keys_of(search, compare):
        raise UserError(
            f"{PLACE}: expected a search, such as optim.lr=1e-3,1e-2. With one configuration per cell, there is "
            "nothing to select."
        )
    seeds = search_seeds(search)
    if select == EACH and confirmation.seeds is not None and len(confirmation.seeds) != len(seeds):
        raise UserError(
            f"{PLACE}: seed={list(confirmation.seeds)}: expected {len(seeds)} seeds, as the search has. {_ways_out()}"
        )
    _check_recorded(directory, seeds, confirmation, select)
    likely = likely_jobs(search, confirmation, make_jobs, compare, select)
    count = len(likely)
    if confirmation.conditions:  # these may suit some candidates only, so all candidates are checked
        fresh = next(iter(confirmation.seeds_for(seeds, select).values()))[0]
        candidates = dict.fromkeys(tuple(confirmation.retraining(job, fresh)) for job in search)
        likely = [*likely, *make_jobs([*candidates])]
    _refuse_seeds_of(search, likely)
    drop_duplicates([*search, *likely], directory)
    cells = cells_of(search, compare)
    log.info("%s: after the search, %d jobs retrain the selections of %d cells", PLACE, count, len(cells))


def recorded_pairs(choices: Choices) -> dict[int, int]:
    """Return the recorded confirming seed of each search seed."""
    return {
        int(seed): fresh
        for of_cell in choices.values()
        for seed, selection in of_cell.items()
        if seed != ALL_SEEDS
        for fresh in selection.confirmed
    }


def _check_recorded(directory: Path, seeds: Sequence[int], confirmation: Confirmation, select: str) -> None:
    """Check that seeds have the same use as in earlier commands for the directory.

    Raises:
        UserError: A search seed was a confirming seed, or a confirming seed was paired with another search seed.
    """
    choices = recorded_choices(directory)
    confirming = {fresh for of_cell in choices.values() for of in of_cell.values() for fresh in of.confirmed}
    for seed in seeds:
        if seed in confirming:
            raise UserError(f"seed={seed}: expected another search seed. This one confirms a selection in {directory}.")
    if select == ONCE:
        return
    pairs = recorded_pairs(choices)
    of_fresh = {fresh: seed for seed, fresh in pairs.items()}
    for text, (fresh,) in confirmation.seeds_for(seeds, select, pairs).items():
        if (other := of_fresh.get(fresh, int(text))) != int(text):
            raise UserError(
                f"{PLACE}: seed={fresh}: expected another seed. It confirms that of seed {other} in {directory}."
            )


def likely_jobs(
    search: Sequence[Job], confirmation: Confirmation, make_jobs: MakeJobs, compare: Sequence[str], select: str
) -> list[Job]:
    """Return a stand-in for each confirming job, to check and count them before the search.

    The selected configuration is not known yet, so each job retrains the first candidate of its cell.
    """
    cells = cells_of(search, compare).values()
    fresh = [seed for of in confirmation.seeds_for(search_seeds(search), select).values() for seed in of]
    return make_jobs([confirmation.retraining(of_cell[0], seed) for of_cell in cells for seed in fresh])


def with_seed(overrides: Sequence[str], seed: int) -> list[str]:
    """Return the overrides of a job with another seed."""
    return [*(one for one in overrides if configuration.key_of(one) != SEED), override(SEED, seed)]


def _refuse_seeds_of(search: Sequence[Job], confirm: Sequence[Job]) -> None:
    """Check that no random stream has the same seed in search and confirmation, unless the search fixes it."""
    fixed = {
        (source, seed) for job in search for source, seed in (job.config.get("seeds") or {}).items() if seed is not None
    }
    used = {stream for job in search for stream in configuration.seeds(job.config).items()} - fixed
    for job in confirm:
        for source, seed in configuration.seeds(job.config).items():
            if (source, seed) in used:
                key = SEED if (job.config.get("seeds") or {}).get(source) is None else f"seeds.{source}"
                raise UserError(f"{PLACE}: {key}={seed}: expected a seed that the search does not use. {_ways_out()}")
