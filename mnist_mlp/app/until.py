"""Seeds until it is decided: further ones for all cells but those that are worse than the best.

With `hydra.sweeper.until_decided=true`, a sweep looks at its results, adds seeds where these leave something open, and
looks again, at levels that all looks share (see `mnist_mlp.report.analysis.looks`, which also judges them).
"""

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.app.cells import cells_of, is_tuned, names
from mnist_mlp.app.confirm import EXAMPLE, SEED, Plan, confirming
from mnist_mlp.run import configuration
from mnist_mlp.run.choices import add_confirmed
from mnist_mlp.run.errors import ConfigError, UserError
from mnist_mlp.run.looks import LOOKS_FILE, MOST_SEEDS, Look, Looks, read_looks, write_looks
from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import FINISHED, Job

if TYPE_CHECKING:  # else what takes long to import is left until it is needed
    import pandas as pd

log = logging.getLogger(__name__)

SWEEPER = "hydra.sweeper"
PLACE = f"{SWEEPER}.until_decided"
KEYS = tuple(f"{SWEEPER}.{key}" for key in ("until_decided", "max_seeds", "batch", "margin"))
PER_CENT = 100


@dataclass(frozen=True)
class Until:
    """When to stop adding seeds.

    Attributes:
        max_seeds: the most a cell gets.
        batch: how many are added at a time.
        margin: cells whose accuracies differ by less than this fraction are equivalent; None where nobody asks.
    """

    max_seeds: int
    batch: int
    margin: float | None


def read(sweeper: Mapping[str, Any]) -> Until | None:
    """What the sweeper's settings say, checked; None where seeds are as given.

    Raises:
        ConfigError: a value is none.
    """
    is_asked, margin = sweeper["until_decided"], sweeper["margin"]
    if not isinstance(is_asked, bool):
        raise ConfigError(f"{PLACE}={is_asked}: allowed are true, false")
    for key in ("max_seeds", "batch"):
        if not isinstance(sweeper[key], int) or isinstance(sweeper[key], bool) or not 1 <= sweeper[key] <= MOST_SEEDS:
            raise ConfigError(f"{SWEEPER}.{key}={sweeper[key]}: allowed are whole numbers from 1 to {MOST_SEEDS:,}")
    if margin is not None:
        if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 < margin < PER_CENT:
            raise ConfigError(
                f"{SWEEPER}.margin={margin}: allowed are null and percentage points, greater than 0, as in 0.2"
            )
        if not is_asked:
            raise ConfigError(f"{SWEEPER}.margin={margin}: seeds are as given; allowed with it is {PLACE}=true")
        margin /= PER_CENT
    return Until(sweeper["max_seeds"], sweeper["batch"], margin) if is_asked else None


def phases(
    directory: Path,
    before: Iterator[list[Job]],
    until: Until | None,
    confirmation: Mapping[str, Sequence[Any]],
    plan: Plan,
    dry_run: bool = False,
) -> Iterator[list[Job]]:
    """The phases of a sweep; then, batch by batch, further seeds of the last one's jobs.

    Args:
        directory: of the sweep.
        before: the phases: a first one, and then another if its choices are confirmed and all its jobs have a result.
        until: when to stop; None for no further seeds.
        confirmation: what confirms the choices (see `confirm.read`); empty for nothing.
        plan: makes jobs of overrides, each checked.
        dry_run: leaves `looks.json` and `choices.json` as they are.

    Raises:
        UserError: these jobs leave nothing to decide, or have been looked at with other settings.
    """
    if until is None:
        if (directory / LOOKS_FILE).exists():
            raise UserError(
                f"{directory} holds a sweep that added seeds until it was decided; allowed is {PLACE}=true again, or "
                "another hydra.sweep.dir=DIR"
            )
        yield from before
        return
    jobs = next(before)
    used = {seed for job in jobs for seed in configuration.seeds(job.config).values()}
    cells = cells_of(jobs, PLACE)
    _check(jobs, len(cells), until, confirmation)
    given = sorted(confirmation.get(SEED) or _seeds(jobs))
    _check_seeds(given, until)
    further = (seed for seed in count(max(given) + 1) if seed not in used)
    seeds = [*given, *islice(further, until.max_seeds - len(given))]
    last = _last_looks(directory)
    if last:
        _check_looks(directory, last, until, seeds, len(given), cells)
    if not confirmation:
        check_looked(directory, jobs)
    log.info(
        "%s: then up to %d further seeds for each of %d cells, %d at a time, until it is decided",
        PLACE,
        until.max_seeds - len(given),
        len(cells),
        until.batch,
    )
    yield jobs
    if confirmation:
        jobs = next(before, [])
        if not jobs:
            return
        if not dry_run:
            begin(directory, until, jobs)
        yield jobs
    taken = last.looks if last else []
    yield from _looking(directory, jobs, until, seeds, taken, bool(confirmation), plan, dry_run)


def begin(directory: Path, until: Until, jobs: Sequence[Job]) -> None:
    """Write down that these jobs will be looked at, before they are trained: from now on, no report judges without."""
    if not (directory / LOOKS_FILE).exists():
        seeds = tuple(_seeds(jobs))
        write_looks(directory, Looks(until.margin, until.max_seeds, until.batch, seeds, names(jobs, directory), []))


def _looking(
    directory: Path,
    given: Sequence[Job],
    until: Until,
    seeds: Sequence[int],
    taken: Sequence[Look],
    is_confirmed: bool,
    plan: Plan,
    dry_run: bool,
) -> Iterator[list[Job]]:
    """Further jobs, those of each batch once the last have been run."""
    with importing():
        from mnist_mlp.report.analysis.looks import look_at, schedule

    jobs = cells_of(given, PLACE)
    begun = len(_seeds(given))
    record = partial(Looks, until.margin, until.max_seeds, until.batch, tuple(seeds[:begun]))
    looks: list[Look] = []
    told, playing = None, list(jobs)
    for size, level in schedule(begun, until.batch, until.max_seeds, len(jobs)):
        wanted = [
            overrides
            for cell in playing
            for overrides in confirming(jobs[cell][0].overrides, {SEED: seeds[len(jobs[cell]) : size]})
        ]
        if new := plan(wanted) if wanted else []:
            added = cells_of(new, PLACE)
            if is_confirmed and not dry_run:
                add_confirmed(directory, {cell: names(of, directory) for cell, of in added.items()})
            yield new
            for cell, of in added.items():
                jobs[cell] += of
        everything = list(chain.from_iterable(jobs.values()))
        if missing := sum(job.status() not in FINISHED for job in everything):
            log.error("%d jobs have no result; no look is taken before they have", missing)
            return
        table, images = _results(everything)
        now = Look(seeds[:size], level, playing, "", {})
        look, playing, told = look_at(table.reindex(list(jobs)), now, told, images, until.margin)
        looks.append(look)
        if not (dry_run or looks == taken[: len(looks)]):  # those that were taken before are written down
            write_looks(directory, record(names(everything, directory), looks))
        log.info("%s", _said(look, playing, is_last=size == until.max_seeds))
        if not playing:
            return


def _results(jobs: Sequence[Job]) -> "tuple[pd.DataFrame, float | None]":
    """What a report would judge: the scores, cells x seeds, and how many images they are measured on."""
    from mnist_mlp.report import compared
    from mnist_mlp.report.analysis.comparison import same_size, score_table

    _, sections = compared([job.directory for job in jobs])
    (comparison,) = sections.values()
    return score_table(comparison.scored), same_size(comparison.runs)


def _said(look: Look, playing: Sequence[str], is_last: bool) -> str:
    left = "; ".join(f"{cell}: {verdict}" for cell, verdict in look.left.items())
    found = (
        f"look at {len(look.seeds)} seeds (p below {look.level:.2g}): {look.best} leads{f' ({left})' if left else ''}"
    )
    if not playing:
        return f"{found}; all is decided"
    others = f"{len(playing) - 1} not worse"
    return f"{found}; {others}, at the most seeds" if is_last else f"{found}; {others}: all of these get further seeds"


def _check(jobs: Sequence[Job], cells: int, until: Until, confirmation: Mapping[str, Sequence[Any]]) -> None:
    from mnist_mlp.report.analysis.pairs import MOST_CELLS

    if not 2 <= cells <= MOST_CELLS:
        raise UserError(f"{PLACE}: cells={cells}; allowed are 2 to {MOST_CELLS}, each compared with each")
    if is_tuned(jobs) and not confirmation:
        raise UserError(
            f"{PLACE}: the sweep tries several settings in a cell, and the best may be the luckiest; allowed is "
            f"one setting a cell, or a search that is confirmed, as with {EXAMPLE}"
        )
    apart: dict[str, Any] = {
        f"seeds.{source}": own for job in jobs for source, own in _streams(job) if not confirmation
    }
    apart |= {key: values for key, values in confirmation.items() if key.startswith("seeds.")}
    if apart:
        key, value = next(iter(apart.items()))
        raise UserError(f"{PLACE}: {key}={value}: further seeds are of all sources; allowed is seed alone")
    images = min(job.test_images for job in jobs)
    if until.margin is not None and until.margin * images < 1 - 1e-9:
        raise UserError(
            f"{SWEEPER}.margin={until.margin * PER_CENT:g}: less than one of {images:,} test images; allowed are "
            f"{math.ceil(PER_CENT / images * 1e4 - 1e-6) / 1e4:g} points and more"
        )


def _streams(job: Job) -> Iterator[tuple[str, int]]:
    """The sources that have another seed than the run."""
    return ((source, seed) for source, seed in configuration.seeds(job.config).items() if seed != job.config[SEED])


def _check_seeds(seeds: Sequence[int], until: Until) -> None:
    from mnist_mlp.report.analysis.contrasts import FEWEST

    least = max(len(seeds) + 1, FEWEST)
    if until.max_seeds < least:
        raise UserError(
            f"{SWEEPER}.max_seeds={until.max_seeds}: each cell is given {len(seeds)} to begin with; allowed are "
            f"{least} and more"
        )


def _last_looks(directory: Path) -> Looks | None:
    """The looks that were taken there, if any."""
    if not (directory / LOOKS_FILE).exists():
        return None
    try:
        return read_looks(directory / LOOKS_FILE)
    except Unreadable as error:
        raise UserError(f"{directory}: {error}; allowed is to remove it, as the same looks are taken again") from error


def _check_looks(
    directory: Path, last: Looks, until: Until, seeds: Sequence[int], given: int, cells: Collection[str]
) -> None:
    """See that the looks that were taken are those that would be taken again, at seeds the first of which are given."""
    were = last.looks[0].cells if last.looks else cells
    seen = list(last.looks[-1].seeds) if last.looks else []
    for key, was, now in (
        (f"{SWEEPER}.max_seeds", last.max_seeds, until.max_seeds),
        (f"{SWEEPER}.batch", last.batch, until.batch),
        (f"{SWEEPER}.margin", *(None if m is None else round(m * PER_CENT, 9) for m in (last.margin, until.margin))),
        (SEED, list(last.given), list(seeds[:given])),
        (f"{SEED} (with those that are added)", seen, list(seeds[: len(seen)])),
        ("cells", ", ".join(sorted(were)), ", ".join(sorted(cells))),
    ):
        if was != now:
            raise UserError(
                f"{key}={now}: {directory} has been looked at with {was}; to change that after a look would leave the "
                "verdict to luck. Allowed is the same again, or another hydra.sweep.dir=DIR"
            )


def check_looked(directory: Path, jobs: Sequence[Job]) -> None:
    """See that a sweep's jobs are those that were looked at, where a look was taken.

    Raises:
        UserError: there are others.
    """
    last = _last_looks(directory)
    if last and last.looks and (new := sorted({*names(jobs, directory)} - {*last.jobs})):
        raise UserError(
            f"{directory}: {len(new)} jobs are others than those that were looked at, such as {new[0]}; to change them "
            "after a look would leave the verdict to luck. Allowed is the same again, or another hydra.sweep.dir=DIR"
        )


def _seeds(jobs: Sequence[Job]) -> list[int]:
    return sorted({int(job.config[SEED]) for job in jobs})
