"""Selection of configurations by the results of a search, and the jobs that confirm them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import mnist_mlp
from mnist_mlp.app.cells import names, table_with_results
from mnist_mlp.app.confirm import Confirmation, MakeJobs, Replicates
from mnist_mlp.base.choices import ALL_SEEDS, Candidate, Choices, Selection, recorded_choices, text_of
from mnist_mlp.base.startup import importing
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.sweeps.jobs import Job, drop_duplicates, is_current


class Confirmed(NamedTuple):
    """Selections of a search, and the jobs that confirm them.

    Attributes:
        choices: Content of `choices.json`.
        scored: Confirming jobs by cell and seed of the replicate: the search seed or, with `ONCE`, the confirming seed.
        jobs: Confirming jobs in order, without duplicates.
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

    Candidates that earlier commands recorded in `choices.json` take part. If a selected configuration is not in this
    search, no confirming job is made for it.

    Args:
        directory: Sweep directory.
        search: Jobs of the search, all of them finished.
        confirming_seeds: Confirming seeds of each selection (see `Confirmation.seeds_for`).
        confirmation: Settings of the confirmation.
        make_jobs: Function that makes checked jobs from overrides.
        compare: Compared keys.
        tuned: Tuned keys of the whole search.
        how: Mode of selection: `EACH` (one per seed) or `ONCE` (one per cell, by the mean over seeds).
    """
    with importing():
        from mnist_mlp.analysis.selection import CANDIDATE, number_candidates, rank_candidates, selecting_groups

    in_order = sorted(search, key=lambda job: str(job.directory))  # the order of the report
    recorded = recorded_choices(directory)
    keys = list(dict.fromkeys([*tuned, *_tuned_keys(recorded)]))  # an earlier command may have tuned other keys
    runs = table_with_results(in_order, compare)
    runs[[key for key in keys if key not in runs]] = None
    runs[CANDIDATE] = number_candidates(runs, keys)
    within = selecting_groups(how)
    evaluated = {key: rows.index for key, rows in runs.groupby([*within, CANDIDATE])}
    choices: dict[str, dict[str, Selection]] = {}
    wanted: list[tuple[str, str, int, list[str]]] = []  # cell, search seed, confirming seed, overrides
    for key, ranked in rank_candidates(runs, keys, within).groupby(within, sort=True):
        cell, seed = str(key[0]), str(key[1]) if how == EACH else ALL_SEEDS
        rows = [evaluated[(*key, number)] for number in ranked[CANDIDATE]]
        candidates = [
            Candidate(
                configuration={str(k): v for k, v in runs.loc[of[0], keys].to_dict().items()},
                accuracy=float(accuracy),
                loss=float(loss),
                jobs=names([in_order[row] for row in of], directory),
            )
            for of, accuracy, loss in zip(rows, ranked["accuracy"], ranked["loss"], strict=True)
        ]
        selection = _with_recorded(candidates, recorded.get(cell, {}).get(seed), directory, how)
        choices.setdefault(cell, {})[seed] = selection
        configurations = [text_of(candidate.configuration) for candidate in candidates]
        if (selected := text_of(selection.configuration)) in configurations:
            job = in_order[rows[configurations.index(selected)][0]]
            wanted += [(cell, seed, fresh, confirmation.retraining(job, fresh)) for fresh in confirming_seeds[seed]]
    jobs = jobs_for(make_jobs, [overrides for *_, overrides in wanted])
    scored: dict[str, dict[int, Job]] = {}
    for (cell, seed, fresh, _), job in zip(wanted, jobs, strict=True):
        scored.setdefault(cell, {})[fresh if seed == ALL_SEEDS else int(seed)] = job
        (name,) = names([job], directory)
        selection = choices[cell][seed]
        choices[cell][seed] = replace(selection, confirmed={**selection.confirmed, fresh: name})
    return Confirmed(choices, scored, drop_duplicates(jobs, directory))


def _tuned_keys(choices: Choices) -> set[str]:
    """Return the keys of all selected configurations."""
    return {key for of_cell in choices.values() for selection in of_cell.values() for key in selection.configuration}


def _with_recorded(candidates: Sequence[Candidate], recorded: Selection | None, directory: Path, how: str) -> Selection:
    """Select among the candidates of a search and recorded candidates with results of the current code.

    With `ONCE`, candidates are compared by means over seeds, and means over different seeds are not comparable. The
    recorded selection is therefore kept if it was made from all jobs of this search and more; otherwise it is ignored.

    Args:
        candidates: Candidates of the search, the best first.
        recorded: Recorded selection of an earlier command; None without one.
        directory: Sweep directory.
        how: Mode of selection: `EACH` or `ONCE`.
    """
    from mnist_mlp.analysis.selection import preference

    def has_results(jobs: Iterable[str]) -> bool:
        return all(is_current(directory / job, mnist_mlp.__version__) for job in jobs)

    ours = {job for candidate in candidates for job in candidate.jobs}
    others = [
        candidate
        for candidate in (recorded.candidates if recorded else ())
        if not ours & {*candidate.jobs} and has_results(candidate.jobs)
    ]
    if how == EACH:
        ranked = sorted([*candidates, *others], key=lambda of: preference(of.accuracy, of.loss, of.configuration))
        return Selection(configuration=ranked[0].configuration, candidates=ranked, confirmed={})
    theirs = {*recorded.searched} if recorded else set()
    if recorded and theirs > ours and has_results(theirs - ours):
        return replace(recorded, confirmed={})
    return Selection(configuration=candidates[0].configuration, candidates=candidates, confirmed={})


def jobs_for(make_jobs: MakeJobs, overrides: Sequence[Sequence[str]]) -> list[Job]:
    """Return the jobs with these overrides, in the same order.

    Args:
        make_jobs: Function that makes checked jobs, in any order.
        overrides: Overrides of each job; no two may give the same job.
    """
    made = {job.overrides: job for job in make_jobs(overrides)} if overrides else {}
    return [made[tuple(one)] for one in overrides]
