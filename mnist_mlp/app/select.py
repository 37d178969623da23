"""Selection of configurations by the results of a search, and the jobs that confirm the selections."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mnist_mlp.app.cells import names, table_with_results
from mnist_mlp.app.confirm import Confirmation, MakeJobs, Replicates
from mnist_mlp.run.choices import ALL_SEEDS, CHOICES_FILE, Candidate, Choices, Selection, read_choices
from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.record import finite
from mnist_mlp.run.startup import importing
from mnist_mlp.run.sweep_file import EACH
from mnist_mlp.sweeps.jobs import FINISHED, Job, distinct, status_of


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
            wanted += [(cell, seed, fresh, confirmation.retraining(job, fresh)) for fresh in confirming_seeds[seed]]
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
