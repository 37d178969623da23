"""Confirmation: what a search chose for each cell is trained anew, on seeds that took no part in the choice.

The mean of the runs that a setting was chosen by flatters it, the more settings were tried the more. So
`hydra.sweeper.confirm={seed:[10,11,12],epochs:10}` trains the chosen settings once more, and the report scores those
runs alone.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from typing import Any

from mnist_mlp.app.cells import cells_of, is_tuned, names
from mnist_mlp.app.grids import check_known, key_of, override
from mnist_mlp.run import configuration, schema
from mnist_mlp.run.choices import CHOICES_FILE, Candidate, Choice, write_choices
from mnist_mlp.run.errors import ConfigError, UserError
from mnist_mlp.run.schema import Role
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import FINISHED, Job, distinct

log = logging.getLogger(__name__)

PLACE = "hydra.sweeper.confirm"
EXAMPLE = f"'{PLACE}={{seed:[10,11,12],epochs:10}}'"
SEED = "seed"

Plan = Callable[[Sequence[Sequence[str]]], list[Job]]  # from the overrides of each job


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


def phases(
    directory: Path,
    combinations: Sequence[Sequence[str]],
    given: Mapping[str, Sequence[Any]],
    plan: Plan,
    dry_run: bool = False,
    agree: Callable[[Sequence[Job]], None] = lambda jobs: None,
) -> Iterator[list[Job]]:
    """The jobs of a sweep; then, once these have been run, those that confirm what was chosen from them.

    Args:
        directory: of the sweep.
        combinations: overrides of each job of the search.
        given: what to confirm with (see `read`); empty for nothing.
        plan: makes jobs of overrides, each checked.
        dry_run: leaves `choices.json` as it is.
        agree: raises where the jobs that confirm must be others; called before they are written down.

    Raises:
        UserError: there is nothing to choose, a seed is in both, or a job could not work.
    """
    search = plan(combinations)
    if not given:
        if (directory / CHOICES_FILE).exists():
            raise UserError(
                f"{directory} holds a search that was confirmed; allowed is the same {PLACE} again, or another "
                "hydra.sweep.dir=DIR"
            )
        yield search
        return
    cells = cells_of(search, PLACE)
    if not is_tuned(search):
        raise UserError(
            f"{PLACE}: the sweep tries one setting in each cell, so there is nothing to choose and confirm; allowed is "
            "a search, such as optim.lr=1e-3,1e-2"
        )
    first = plan([job for of_cell in cells.values() for job in confirming(of_cell[0].overrides, given)])
    _refuse_seeds_of(search, first)
    distinct([*search, *first], directory)  # before anything is trained: whatever is chosen, it is jobs like these
    log.info("%s: then %d jobs train anew what is chosen for %d cells", PLACE, len(first), len(cells))
    yield search
    if missing := sum(job.status() not in FINISHED for job in search):
        log.error("%d jobs of the search have no result; nothing is chosen before they have", missing)
        return
    chosen, choices = choose(search, directory)
    confirm = {cell: plan(confirming(job.overrides, given)) for cell, job in chosen.items()}
    jobs = distinct(chain.from_iterable(confirm.values()), directory)
    agree(jobs)
    if not dry_run:
        named = {cell: replace(choices[cell], confirmed=names(of, directory)) for cell, of in confirm.items()}
        write_choices(directory, named)
    yield jobs


def confirming(overrides: Sequence[str], given: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """The overrides of the jobs that train a setting anew, from those of a job of the search."""
    kept = [one for one in overrides if key_of(one) not in given and schema.role_of(key_of(one)) is not Role.REPLICATE]
    values = [[override(key, value) for value in of] for key, of in given.items()]
    return [[*kept, *new] for new in product(*values)]


def choose(search: Sequence[Job], directory: Path) -> tuple[dict[str, Job], dict[str, Choice]]:
    """What the report would choose, by cell: a job of that setting, and the choice, of which nothing is confirmed.

    Args:
        search: jobs that all have a result.
        directory: of the sweep.
    """
    with importing():
        from mnist_mlp.report import compared
        from mnist_mlp.report.analysis.roles import CELL, rank_settings

    _, sections = compared([job.directory for job in search])
    (comparison,) = sections.values()
    runs, tuned = comparison.runs, comparison.tuned
    settings, ranked = rank_settings(runs, tuned)
    of_directory = {str(job.directory): job for job in search}
    jobs, choices = {}, {}
    for cell, rows in ranked.groupby(CELL, sort=True):
        candidates = []
        for number, mean, n in zip(rows["setting"], rows["mean"], rows["n"], strict=True):
            of_setting = runs[settings == number]
            (setting,) = of_setting[list(tuned)].head(1).to_dict("records")
            tried = names([of_directory[str(run)] for run in of_setting.index], directory)
            candidates.append(
                Candidate({str(key): value for key, value in setting.items()}, float(mean), int(n), tried)
            )
        jobs[str(cell)] = of_directory[str(runs.index[settings == rows["setting"].iloc[0]][0])]
        choices[str(cell)] = Choice(candidates[0].setting, candidates, ())
    return jobs, choices


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
