"""What the runs say: one row a run, one row a cell, one row a pair of cells.

A cell is one combination of the compared keys, and seeds are its replicates (see `roles`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.analysis import budget, curves, effects, fairness, roles, sources
from mnist_mlp.analysis.effort import CONFIRMED, TuningEffort, tuning_efforts
from mnist_mlp.analysis.load import Results
from mnist_mlp.analysis.looks import are_as_planned, go_on, have_results, judge_looks, renamed, withhold
from mnist_mlp.analysis.measures import ACCURACY, bounds_of
from mnist_mlp.analysis.notes import Note
from mnist_mlp.analysis.outcomes import BEST_EPOCH, TARGETS, with_outcomes
from mnist_mlp.analysis.roles import (
    CELL,
    REPLICATE,
    SEARCH_SEED,
    STREAMS,
    cell_names,
    check_confirmed,
    ended,
    searched,
    tested,
    tuned_keys,
    varying_keys,
)
from mnist_mlp.analysis.selection import (
    Selected,
    count_selected,
    select,
)
from mnist_mlp.analysis.values import natural_rank
from mnist_mlp.base.looks import Looks
from mnist_mlp.base.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.base.schema import COMPARED
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE, SEARCH
from mnist_mlp.stats.means import mean_intervals
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.variance_components import VarianceComponents
from mnist_mlp.stats.verdicts import Reason, Verdict

MEASURES = ("test_accuracy", "test_loss", "val_accuracy")


@dataclass(frozen=True)
class Comparison:
    """The tables of a report. Those of cells have the column `cell`, a cell's name.

    Attributes:
        by: the compared keys.
        tuned: Keys whose values are selected within each cell.
        select: `EACH` if each replicate selects for itself, `ONCE` if each cell selects once.
        selected: Cell to the configurations that it selected, the most frequent first; empty if nothing is tuned.
        varying: all keys that take several values.
        measured: keys whose values are the report's sections, here each of one value.
        target: Accuracy whose time was looked up; None if there is no target.
        runs: one row a run, all of them, with final and best metrics, `chosen` (whether it is scored), and `score`: its
            final test accuracy, 0 where it diverged, NaN where it failed; `at_chance` (see `at_chance`), and
            `independent` (see `sources.independent`), as intervals and verdicts are by those alone; `steps` of the
            optimizer in the whole run, NaN if unknown.
        summary: One row per cell, the best mean `score` of its scored runs first; means of accuracies, losses and
            seconds are over the `n` of them that completed. A tuned key has the value of the configuration that was
            selected most often, and `selected` says how often.
        pairs: one row a pair of cells (see `pairs.compare_pairs`).
        looks: at the results while seeds were added, by which the pairs are judged; None where there were none.
        efforts: Tuning effort of each cell that pairs are tested by; empty if none plays a part.
        judged: how many cells have three seeds in common with another, which a verdict takes; 0 where all verdicts are
            withheld.
        effects: of the compared keys, one row each (see `effects.main_effects`); empty where they cannot be told apart.
        split: Variance between the replicates by source; None if fewer than two sources vary apart.
        curves: mean and interval per epoch, split and cell, of the scored runs.
        sensitivity: Accuracy on the selection split, per cell and learning rate, the other tuned keys selected.
        budget: what fewer settings would have brought, per cell and number of settings (see `budget.curves`).
        notes: what a reader must know before believing the tables.
        told: keys that are tuned in any section of the report, whose values the tables of all sections have.
    """

    by: Sequence[str]
    tuned: Sequence[str]
    select: str
    selected: Mapping[str, Sequence[Selected]]
    varying: Sequence[str]
    measured: Sequence[str]
    target: float | None
    runs: pd.DataFrame
    summary: pd.DataFrame
    pairs: pd.DataFrame
    looks: Looks | None
    efforts: Mapping[str, TuningEffort]
    judged: int
    effects: pd.DataFrame
    split: VarianceComponents | None
    curves: pd.DataFrame
    sensitivity: pd.DataFrame
    budget: pd.DataFrame
    notes: Sequence[Note]
    told: Sequence[str] = ()

    @property
    def confirmed(self) -> bool:
        """Whether chosen settings were trained anew in any cell, whose score is then of these runs."""
        return bool((self.runs["phase"] == CONFIRM).any())

    @property
    def scored(self) -> pd.DataFrame:
        """The runs at their cells' chosen settings that have a score: the completed and the diverged ones."""
        return roles.scored(self.runs)

    @property
    def independent(self) -> bool:
        """Whether all of those are independent, so that every seed is a replicate of its own."""
        return bool(self.scored["independent"].all())

    @property
    def rivals(self) -> pd.DataFrame:
        """The pairs of the best cell with each of the others."""
        pairs: pd.DataFrame = self.pairs[self.pairs["a"] == self.summary[CELL].iloc[0]]
        return pairs

    def chose(self, key: str) -> set[str]:
        """The cells in which a value of this tuned key was chosen: not those of an option that has no such key."""
        return set(self.runs.loc[self.runs["chosen"] & roles.has(self.runs, key), CELL])


def compare(
    results: Results,
    target: float | None,
    by: Sequence[str] = COMPARED,
    measured: Sequence[str] = (),
    how: str = EACH,
    moving: Mapping[str, int] = MappingProxyType({}),
) -> Comparison:
    """Build every table about the runs of one section.

    Args:
        results: at least one run, all of them measured on the same terms (see `sections`).
        target: Accuracy in [0, 1] whose epoch and seconds are looked up, on validation where there is one; None for
            no target.
        by: keys to compare.
        measured: keys whose values are the report's sections.
        how: `EACH` or `ONCE` (see `selection.select`). If sources of randomness vary independently, there is no
            replicate to select for itself, and each cell selects once.
        moving: See `sections.moving_with_seeds`.
    """
    cells = results.runs.assign(**{CELL: cell_names(results.runs, by)})
    check_confirmed(cells, by, results.records, how)
    of_search = searched(cells)
    tuned = tuned_keys(of_search, varying_keys(of_search), by)
    how = ONCE if len(sources.apart(of_search[STREAMS])) > 1 else how
    varying = list(dict.fromkeys([*varying_keys(tested(cells)), *tuned]))
    runs = with_outcomes(cells, results.metrics, target, tuned, how)
    of_search = searched(runs)
    selected = count_selected(of_search, tuned, select(of_search, tuned, how)) if tuned else {}
    summary = _summarise(runs, by, tuned, selected, target is not None)
    judged = _judge(runs, list(summary[CELL]), results, by, tuned, how)
    completed = runs[runs["chosen"] & (runs["status"] == COMPLETED)]
    return Comparison(
        by=by,
        tuned=tuned,
        select=how,
        selected=selected,
        varying=varying,
        measured=measured,
        target=target,
        runs=runs,
        summary=summary,
        pairs=judged.pairs,
        looks=judged.looks,
        efforts=judged.efforts,
        judged=judged.cells,
        effects=effects.main_effects(judged.averaged, by, same_size(tested(runs))),
        split=sources.split_variance(runs[runs["chosen"]]),
        curves=curves.learning_curves(results.metrics, completed),
        sensitivity=curves.sensitivity(of_search, tuned, how),
        budget=budget.curves(of_search, tuned, list(summary[CELL]), how),
        notes=[
            *([fairness.UNDECIDED] if judged.looks and go_on(judged.looks, judged.pairs) else []),
            *fairness.unfinished(results.unfinished),
            *fairness.notes(runs, summary, judged.pairs, by, tuned, varying, how, moving),
        ],
    )


class _Judged(NamedTuple):
    """Pairs, and what they were judged by.

    Attributes:
        pairs: see `Comparison`.
        cells: how many take part.
        efforts: See `Comparison`.
        looks: see `Comparison`.
        averaged: the runs whose averages are fair to all cells.
    """

    pairs: pd.DataFrame
    cells: int
    efforts: Mapping[str, TuningEffort]
    looks: Looks | None
    averaged: pd.DataFrame


def _judge(
    runs: pd.DataFrame, cells: Sequence[str], results: Results, by: Sequence[str], tuned: Sequence[str], how: str
) -> _Judged:
    """Compare the cells, the best first: pair by pair, or by the looks that a sweep took at them."""
    scored = roles.scored(runs)
    independent, images = scored[scored["independent"]], same_size(tested(runs))
    order = [cell for cell in cells if cell in set(scored[CELL])]
    sweeps = scored["looked_in"].dropna().unique()
    record = results.records.get(sweeps[0]) if len(sweeps) else None
    compared = record.compare if record else COMPARED
    is_alone = bool(len(sweeps) == 1 and scored["looked_in"].notna().all() and {*by} == {*compared})
    looks = results.looks.get(sweeps[0]) if is_alone else None
    if looks:  # whatever order of the keys names the cells
        looks = renamed(looks, dict(zip(cell_names(runs, compared), runs[CELL], strict=True)))
    looks = looks if looks and are_as_planned(looks) else None
    if looks and have_results(looks, of_seed := score_table(scored, SEARCH_SEED).reindex(order)):
        pairs, count = judge_looks(of_seed, looks.looks, images, looks.plan.margin)
        # Of seeds that were added to some cells alone, no average is fair; of those given to all, it is.
        return _Judged(pairs, count, {}, looks, independent[independent[SEARCH_SEED].isin(looks.looks[0].seeds)])
    # Where each replicate selects for itself, or selections were confirmed, no score profits from the number of tries.
    confirmed = set(scored.loc[scored["phase"] == CONFIRM, CELL])
    efforts = tuning_efforts(searched(runs), tuned) if how == ONCE and tuned and not confirmed >= {*order} else {}
    efforts |= dict.fromkeys(confirmed, CONFIRMED) if efforts else {}
    pairs, count = compare_pairs(score_table(independent).reindex(order), images, efforts, bounds=ACCURACY)
    if len(independent) < len(scored):  # there may be enough seeds
        pairs["reason"] = pairs["reason"].replace(str(Reason.TOO_FEW_SEEDS), str(Reason.TOO_FEW_INDEPENDENT))
    if len(sweeps):
        reason = (Reason.LOST_RUN if looks else Reason.NO_ANALYSIS) if is_alone else Reason.OUTSIDE_PLAN
        return _Judged(withhold(pairs, reason), 0, efforts, None, independent.head(0))
    confirming = scored.loc[scored["phase"] == CONFIRM, "chosen_in"].unique()
    if (scored["phase"] == SEARCH).any() or any(CONFIRM in results.unfinished.get(sweep, ()) for sweep in confirming):
        return _Judged(withhold(pairs, Reason.NOT_CONFIRMED), 0, efforts, None, independent.head(0))
    # An average over cells of unequal tuning effort is as unfair as a pair of them.
    is_equal = len({efforts[cell] for cell in order if cell in efforts}) < 2
    untested = ((pairs["verdict"] == Verdict.NOT_TESTED) & (pairs["reason"] != Reason.NO_VARIANCE)).all()
    return _Judged(pairs, 0 if untested else count, efforts, None, independent if is_equal else independent.head(0))


def score_table(runs: pd.DataFrame, replicate: str = REPLICATE) -> pd.DataFrame:
    """The scores of runs, cells x replicates."""
    return runs.pivot_table(index=CELL, columns=replicate, values="score")


def same_size(runs: pd.DataFrame) -> float | None:
    """The number of test images that all runs share, by those that tell it; None where none does, or they differ."""
    known = ended(runs)
    sizes = known["test_size"].dropna().unique()
    return float(sizes[0]) if len(sizes) == 1 and sizes[0] > 0 and known["digest"].nunique() < 2 else None


def _summarise(
    runs: pd.DataFrame,
    by: Sequence[str],
    tuned: Sequence[str],
    selected: Mapping[str, Sequence[Selected]],
    has_target: bool,
) -> pd.DataFrame:
    cells = runs.groupby(CELL, sort=True)
    chosen = runs[runs["chosen"]]
    done = chosen[chosen["status"] == COMPLETED]
    table = runs.drop_duplicates(CELL).set_index(CELL)[[*by]]
    if tuned:
        most = {cell: _most_frequent(of_cell) for cell, of_cell in selected.items()}
        table = table.join(pd.DataFrame.from_dict(most, orient="index", columns=[*tuned, "selected"]))
    counts = {
        "n": done.groupby(CELL).size(),
        "diverged": (runs["status"] == DIVERGED).groupby(runs[CELL]).sum(),
        "failed": (runs["status"] == FAILED).groupby(runs[CELL]).sum(),
        "at_chance": runs["at_chance"].fillna(False).groupby(runs[CELL]).sum(),
    }
    table = table.reindex(list(cells.groups)).join(
        pd.DataFrame(counts).reindex(list(cells.groups)).fillna(0).astype(int)
    )
    table = table.join(mean_intervals(done, [CELL], MEASURES, bounds_of(MEASURES)))
    # The median, as a run that misses the target took infinitely long and must not be left out.
    table = table.join(ended(chosen).groupby(CELL)[list(TARGETS)].median())
    table = table.join(done.groupby(CELL)["seconds"].mean().rename("seconds_mean"))
    table = table.join(chosen.groupby(CELL)["score"].mean())
    reached = np.isfinite(done["epochs_to_target"]).groupby(done[CELL]).sum().reindex(table.index, fill_value=0)
    table["reached_target"] = reached.astype("Int64") if has_target else pd.array([pd.NA] * len(table), "Int64")
    table = table.join(done.groupby(CELL)[list(BEST_EPOCH)].mean().add_suffix("_mean"))
    table = table.sort_values([*by], key=natural_rank).sort_values(
        ["score", "test_accuracy_mean"], ascending=False, na_position="last", kind="stable"
    )
    return table.rename_axis(CELL).reset_index()


def _most_frequent(selected: Sequence[Selected]) -> list[Any]:
    """Return the values of the tuned keys, and how often they were selected."""
    most = selected[0]
    return [*most.configuration.values(), f"{most.count}/{most.of}"]
