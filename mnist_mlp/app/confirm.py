"""Confirmation: what a search chose for each cell is trained anew, on seeds that took no part in the choice.

The mean of the runs that a setting was chosen by flatters it, the more settings were tried the more. So
`hydra.sweeper.confirm={seed:[10,11,12],epochs:10}` trains the chosen settings once more, and the report scores those
runs alone.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from mnist_mlp.app.cells import cells_of, check_conditions, names, table_with_results, tuned_keys_of
from mnist_mlp.app.grids import check_known, key_of, override
from mnist_mlp.run import configuration, schema
from mnist_mlp.run.choices import CHOICES_FILE, Candidate, Choice, read_choices
from mnist_mlp.run.errors import ConfigError, UserError
from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.record import finite
from mnist_mlp.run.schema import Role
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import FINISHED, Job, distinct, status_of

log = logging.getLogger(__name__)

PLACE = "hydra.sweeper.confirm"
EXAMPLE = f"'{PLACE}={{seed:[10,11,12],epochs:10}}'"
SEED = "seed"

MakeJobs = Callable[[Sequence[Sequence[str]]], list[Job]]  # checked jobs, from the overrides of each


class Selection(NamedTuple):
    """What a search selects.

    Attributes:
        choices: Choice for each cell, by the cell's name.
        jobs: Jobs that confirm the choices.
    """

    choices: dict[str, Choice]
    jobs: list[Job]


def read(tree: Any) -> dict[str, list[Any]]:
    """The values of each key that a confirmation gives, checked; empty where there is none.

    Args:
        tree: key to value, in plain containers; None or empty for no confirmation.

    Raises:
        ConfigError: it is no such tree.
    """
    if not tree and tree != 0:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{PLACE}={tree}: allowed are seeds and what is measured, as in {EXAMPLE}")
    for key, value in tree.items():
        if isinstance(value, Mapping):
            raise ConfigError(f"{PLACE}: {key}={value}: allowed are single settings, such as seeds.weights: 3")
        check_known(PLACE, key, value)
        if key in schema.GROUPS or schema.role_of(key) not in (Role.REPLICATE, Role.MEASURED_ON):
            raise ConfigError(
                f"{PLACE}: {key}={value}: what the search has chosen stays; allowed are seeds and what is measured, as "
                f"in {EXAMPLE}"
            )
    given = {
        str(key): value if isinstance(value, list) and schema.role_of(key) is Role.REPLICATE else [value]
        for key, value in tree.items()
    }
    seeds = given.get(SEED, [])
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise ConfigError(f"{PLACE}: seed={tree.get(SEED)}: allowed is a list of whole numbers, as in {EXAMPLE}")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"{PLACE}: seed={seeds}: a seed is there twice")
    return given


def check(directory: Path, search: Sequence[Job], given: Mapping[str, Sequence[Any]], make_jobs: MakeJobs) -> None:
    """Check, before anything is trained, that the selections of a search can be confirmed.

    Args:
        directory: Sweep directory.
        search: Jobs of the search.
        given: Values of each key that the confirmation gives (see `read`).
        make_jobs: Makes checked jobs from overrides.

    Raises:
        UserError: There is nothing to select, a seed is in both, or a job could not work.
    """
    check_conditions(search, PLACE)
    cells = cells_of(search)
    if not tuned_keys_of(search):
        raise UserError(
            f"{PLACE}: the sweep tries one setting in each cell, so there is nothing to choose and confirm; allowed is "
            "a search, such as optim.lr=1e-3,1e-2"
        )
    # Whatever is selected, it is confirmed by jobs like these.
    likely = make_jobs(
        [overrides for of_cell in cells.values() for overrides in confirming(of_cell[0].overrides, given)]
    )
    _refuse_seeds_of(search, likely)
    distinct([*search, *likely], directory)
    log.info("%s: then %d jobs train anew what is chosen for %d cells", PLACE, len(likely), len(cells))


def select(
    directory: Path, search: Sequence[Job], given: Mapping[str, Sequence[Any]], make_jobs: MakeJobs
) -> Selection:
    """Select a configuration for each cell, and make the jobs that confirm it.

    A selection on record that was made among more jobs, by an earlier and wider command, stays. If the configuration
    that it selected is not in this search, this search has nothing to confirm for that cell.

    Args:
        directory: Sweep directory.
        search: Jobs of the search, all of them finished.
        given: As in `check`.
        make_jobs: As in `check`.
    """
    with importing():
        from mnist_mlp.report.analysis.roles import CELL, rank_settings

    in_order = sorted(search, key=lambda job: str(job.directory))  # as the report reads them
    runs, tuned = table_with_results(in_order), tuned_keys_of(in_order)
    configurations, ranked = rank_settings(runs, tuned)
    recorded: Mapping[str, Choice] = {}
    with suppress(Unreadable):  # a missing file, or a damaged one, which is written again
        recorded = read_choices(directory / CHOICES_FILE)
    choices, jobs = {}, list[Job]()
    for cell, rows in ranked.groupby(CELL, sort=True):
        candidates, evaluated = [], []
        for number, mean, n in zip(rows["setting"], rows["mean"], rows["n"], strict=True):
            of_candidate = runs[configurations == number]
            (setting,) = of_candidate[tuned].head(1).to_dict("records")
            evaluated.append([in_order[row] for row in of_candidate.index])
            tried = names(evaluated[-1], directory)
            candidates.append(Candidate({str(key): v for key, v in setting.items()}, float(mean), int(n), tried))
        choice = Choice(candidates[0].setting, candidates, ())
        if _covers(wider := recorded.get(str(cell)), choice, directory):
            assert wider is not None
            choice = replace(wider, confirmed=())
        settings = [finite(dict(candidate.setting)) for candidate in candidates]
        if (selected := finite(dict(choice.setting))) in settings:
            first, *_ = evaluated[settings.index(selected)]
            retrained = make_jobs(confirming(first.overrides, given))
            jobs += retrained
            choice = replace(choice, confirmed=names(retrained, directory))
        choices[str(cell)] = choice
    return Selection(choices, distinct(jobs, directory))


def _covers(recorded: Choice | None, choice: Choice, directory: Path) -> bool:
    """Return whether a choice on record was made among the jobs of this choice and others, which all have a result."""
    if recorded is None:
        return False
    theirs, ours = ({job for candidate in of.candidates for job in candidate.jobs} for of in (recorded, choice))
    return theirs > ours and all(status_of(directory / job) in FINISHED for job in theirs - ours)


def confirming(overrides: Sequence[str], given: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """The overrides of the jobs that train a setting anew, from those of a job of the search."""
    kept = [one for one in overrides if key_of(one) not in given and schema.role_of(key_of(one)) is not Role.REPLICATE]
    values = [[override(key, value) for value in of] for key, of in given.items()]
    return [[*kept, *new] for new in product(*values)]


def _refuse_seeds_of(search: Sequence[Job], confirm: Sequence[Job]) -> None:
    used = {stream for job in search for stream in configuration.seeds(job.config).items()}
    for job in confirm:
        for source, seed in configuration.seeds(job.config).items():
            if (source, seed) in used:
                key = SEED if job.config.get("seeds", {}).get(source) is None else f"seeds.{source}"
                raise UserError(
                    f"{PLACE}: {key}={seed} is one of the search's, whose runs a setting is chosen by; allowed are "
                    "others"
                )
