"""Notes on the fairness of a comparison, which a reader needs before trusting its tables."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from mnist_mlp.analysis import sources, tuning
from mnist_mlp.analysis.load import ENVIRONMENT
from mnist_mlp.analysis.notes import Note, list_names, shorten_all
from mnist_mlp.analysis.outcomes import scored_phrase
from mnist_mlp.analysis.roles import (
    CELL,
    CODE,
    REPLICATE,
    ended_runs,
    evaluation_runs,
    has,
    scored_runs,
    share,
    with_noun,
)
from mnist_mlp.analysis.values import as_text, as_typed, by_cell, cell_key, sort_key
from mnist_mlp.base.metrics import ACCURACY, Metric
from mnist_mlp.base.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.base.schema import Role, role_of
from mnist_mlp.stats.moderated_t import FEWEST
from mnist_mlp.stats.pairs import MAX_CELLS

LONGEST_FACT = 20  # characters of a fact, such as a commit
USER_CODE = f"{ENVIRONMENT}code."
PROVENANCE = {  # provenance that runs should share: name to columns
    "code": ("package", "commit"),
    "software": ("python", "torch", "cuda"),
    "hardware": ("device", "cpu", "threads"),
}


BEST_EPOCHS = Note(
    "Best epochs",
    "each run is scored at its epoch with the highest validation accuracy instead of its last epoch. Configurations "
    "were selected by the last epochs, and the curves show all epochs.",
)
UNDECIDED = Note(
    "Stopped before all pairs were decided",
    "the sweep would add seeds to undecided cells. Rerun its command to continue.",
)


def scored_by(metric: Metric, completed: pd.DataFrame) -> Iterator[Note]:
    """Yield notes on a metric other than the accuracy that runs are scored by, and on its missing values.

    Args:
        metric: Metric of the scores.
        completed: Completed runs that count towards the scores.
    """
    if metric == ACCURACY:
        return
    which = "less" if metric.is_less_better else "more"
    yield Note(
        f"Scored by {metric.name}",
        f"{which} is better, and a diverged run counts as {metric.in_words(metric.worst)}. Configurations were "
        "selected by the accuracy, of which are also the figures whose titles say so.",
    )
    missing = int(completed["score"].isna().sum())
    if missing:
        yield Note(f"Without {metric.name}", f"{share(missing, len(completed), 'completed run')} cannot be scored.")


def part(where: Mapping[str, Sequence[str]], is_sequential: bool) -> Iterator[Note]:
    """Yield a note on runs that the user has excluded.

    Args:
        where: Conditions that the user has set, by key, as typed.
        is_sequential: Whether the pairs were tested by interim analyses of all cells.
    """
    if where:
        shown = " and ".join(f"{key}={','.join(values)}" for key, values in where.items())
        tests = (
            "Pairs keep the significance levels of the whole sweep, other tests"
            if is_sequential
            else "P-values and intervals"
        )
        yield Note(
            "Part of a sweep",
            f"only {shown}, chosen after the sweep was run. {tests} are corrected for the cells shown here, not for "
            "those left out.",
        )


def unfinished(jobs: Mapping[str, Mapping[str, int]]) -> Iterator[Note]:
    """Yield a note on sweeps that have jobs without a result.

    Args:
        jobs: Number of jobs without a result, by sweep and phase.
    """
    sweeps = [
        f"{sweep} has {with_noun(sum(counts.values()), 'job')} without a result ({', '.join(counts)})"
        for sweep, counts in jobs.items()
    ]
    if sweeps:
        yield Note("Unfinished sweep", f"{list_names(sweeps)}. Rerun the command of the sweep to continue.")


def notes(
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    pairs: pd.DataFrame,
    by: Sequence[str],
    tuned: Sequence[str],
    varying: Sequence[str],
    how: str,
    moving: Mapping[str, int],
    metric: Metric = ACCURACY,
) -> list[Note]:
    """Return all notes on a comparison, the most severe first.

    Args:
        runs: All runs (see `Comparison`).
        summary: One row per cell (see `Comparison`).
        pairs: One row per pair of cells (see `Comparison`).
        by: Compared keys.
        tuned: Tuned keys.
        varying: All keys that take several values.
        how: See `selection.select`.
        moving: See `sections.moving_with_seeds`.
        metric: Metric of the scores.
    """
    return [
        *_seeds(runs, moving),
        *(Note(*caveat) for caveat in sources.caveats(scored_runs(runs))),
        *_confounded(runs, by, tuned, varying),
        *tuning.notes(runs, summary, pairs, by, tuned, how),
        *_endings(runs, metric),
        *_at_chance(runs),
        *_moved(runs, by, varying),
        *_provenance(runs),
        *_too_many(summary),
    ]


def _seeds(runs: pd.DataFrame, moving: Mapping[str, int]) -> Iterator[Note]:
    if runs["looked_in"].notna().any():
        return  # a sequential plan makes seeds unequal
    seeds = scored_runs(runs).groupby(CELL)[REPLICATE].agg(frozenset)
    counts = by_cell(seeds.map(len))
    if counts.empty:
        return  # all runs failed
    if moving and counts.max() < FEWEST:
        keys, are = (
            sources.join_words(list(moving)),
            "is an evaluation condition" if len(moving) == 1 else "are evaluation conditions",
        )
        yield Note(
            "Seeds in separate sections",
            f"no seed has two values of {keys}, which {are}, so this section has {counts.max()} of "
            f"{with_noun(max(moving.values()), 'seed')} and tests no difference. To compare over seeds, run all of "
            f"them with the same {keys}.",
        )
    elif (counts == 1).all():
        yield Note(
            "One seed",
            "each cell has a single result, so any difference may be chance. For intervals, run more: seed=0,1,2,3,4.",
        )
    elif seeds.nunique() > 1:
        few = counts[counts < counts.max()].sort_values(kind="stable")
        text = (
            f"some cells have {counts.max()}, others fewer ({list_names([f'{cell}: {n}' for cell, n in few.items()])})"
            if len(few)
            else "the cells were run with different seeds"
        )
        yield Note("Unequal seeds", f"{text}; pairs are compared over their common seeds.")


def _confounded(runs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str], varying: Sequence[str]) -> Iterator[Note]:
    """Yield a note per key whose effect is confounded with that of the compared keys."""
    of_results = evaluation_runs(runs)
    for key in varying:
        if key in (*by, *tuned, *CODE) or role_of(key) is Role.REPLICATE:
            continue
        runs = of_results[has(of_results, key)]
        cells = runs.groupby(runs[key].map(as_typed))[CELL].unique()
        values = "; ".join(
            f"{value} in {list_names(sorted(cells[value], key=cell_key))}"
            for value in sorted(cells.index, key=sort_key)
        )
        yield Note(f"Cells differ in {key} too", f"{values}; its effect is confounded with that of the compared keys.")


def _endings(runs: pd.DataFrame, metric: Metric) -> Iterator[Note]:
    diverged = by_cell(runs[runs["status"] == DIVERGED].groupby(CELL).size())
    if len(diverged):
        most_first = diverged.sort_values(ascending=False, kind="stable")
        cells = list_names([f"{cell}: {count}" for cell, count in most_first.items()])
        of_chosen = runs.loc[runs["chosen"] & (runs["status"] == DIVERGED), "score"]
        at_chosen = len(of_chosen)
        text = f"{at_chosen or 'none'} of them {scored_phrase(runs)}"
        if at_chosen:
            they = "it counts" if at_chosen == 1 else "they count"
            worst = metric.in_words(of_chosen.iloc[0])
            text += f", where {they} as {worst} in the score; mean test accuracies are over the other runs"
        yield Note("Divergences", f"{share(int(diverged.sum()), len(runs), 'run')} diverged ({cells}), {text}.")
    failed = int((runs["status"] == FAILED).sum())
    if failed:
        have = "has" if failed == 1 else "have"
        yield Note("Failures", f"{share(failed, len(runs), 'run')} failed and {have} no result.")


def _at_chance(runs: pd.DataFrame) -> Iterator[Note]:
    """Yield a note on completed runs that may have learned nothing."""
    guessing = runs[runs["at_chance"].fillna(False)]
    if guessing.empty:
        return
    counts = by_cell(guessing.groupby(CELL).size()).sort_values(ascending=False, kind="stable")
    be = "is" if len(guessing) == 1 else "are"
    completed, at_chosen = int((runs["status"] == COMPLETED).sum()), int(guessing["chosen"].sum())
    stay = "it stays" if at_chosen == 1 else "they stay"
    yield Note(
        "Not shown to beat chance",
        f"{share(len(guessing), completed, 'completed run')} {be} not shown to be better than always naming the "
        f"commonest class ({list_names([f'{cell}: {count}' for cell, count in counts.items()])}), "
        f"{at_chosen or 'none'} of them {scored_phrase(runs)}{f'; {stay} in the means' if at_chosen else ''}.",
    )


def _moved(runs: pd.DataFrame, by: Sequence[str], varying: Sequence[str]) -> Iterator[Note]:
    """Yield a note for each group with an option whose code has moved: its runs name several locations."""
    for key in (key for key in varying if key in CODE and key not in by):
        group = key.partition(".")[0]
        targets = runs[key].map(as_typed).groupby(runs[group]).unique()
        options = [f"{group}={option} was {list_names(sorted(of))}" for option, of in targets.items() if len(of) > 1]
        yield Note("One option, several targets", f"{'; '.join(options)}; --by {key} compares them.")


def _provenance(runs: pd.DataFrame) -> Iterator[Note]:
    known = ended_runs(runs)
    for name, facts in PROVENANCE.items():
        columns = {ENVIRONMENT + fact: known[ENVIRONMENT + fact] for fact in facts if ENVIRONMENT + fact in known}
        if name == "code":  # digests of user-defined code, in the runs that use it
            columns |= {column: known[column].dropna() for column in map(str, known) if column.startswith(USER_CODE)}
        different = {
            column: f"{column.removeprefix(ENVIRONMENT)} {list_names(_facts(values))}"
            for column, values in columns.items()
            if values.nunique(dropna=False) > 1
        }
        if different:
            advice = " Times are not comparable." if name == "hardware" else ""
            if any(column.startswith(USER_CODE) for column in different):
                advice = " Rerun the sweep's command with force=changed to retrain the runs of the older code."
            yield Note(f"Different {name}", f"the runs come from {'; '.join(different.values())}.{advice}")
    # Times stay comparable if all cells mix ways to compute steps alike, as in a sweep resumed by another launcher.
    steps = runs[runs["step"].notna()].groupby(CELL)["step"].agg(frozenset)
    if steps.nunique() > 1:
        ways = "; ".join(sorted(frozenset().union(*steps)))
        yield Note("Different ways to compute", f"{ways}. Times are not comparable.")
    if (ENVIRONMENT + "dirty") in runs.columns and runs[ENVIRONMENT + "dirty"].eq(True).any():
        count = int(runs[ENVIRONMENT + "dirty"].eq(True).sum())
        come = "comes" if count == 1 else "come"
        text = f"{share(count, len(runs), 'run')} {come} from a checkout with uncommitted changes."
        yield Note("Uncommitted code", text)


def _facts(values: pd.Series) -> list[str]:
    """Return the distinct facts in order, shortened as far as they stay distinct."""
    return shorten_all(sorted({*values.map(as_text)}, key=sort_key), LONGEST_FACT, tail=0)


def _too_many(summary: pd.DataFrame) -> Iterator[Note]:
    if len(summary) > MAX_CELLS:
        yield Note(
            "Many cells",
            f"pairs.csv lists only the pairs with the best of {len(summary)} cells; all pairs are tested.",
        )
