"""Comparison of the cells of one section: tables of its runs, its cells and its pairs of cells.

A section is a part of a report: runs that share a data set and evaluation conditions. A cell is one combination of
values of the compared keys, such as an initialization with an optimizer. The seeds of a cell are its replicates (see
`roles`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.analysis import budget, curves, effects, fairness, roles, sources
from mnist_mlp.analysis.claims import Claims, claims_from_effects, claims_from_pairs
from mnist_mlp.analysis.derived import replace_derived
from mnist_mlp.analysis.effort import CONFIRMED, TuningEffort, tuning_efforts
from mnist_mlp.analysis.interim import (
    are_as_planned,
    have_results,
    needs_more_seeds,
    rename_cells,
    repeat_analyses,
    set_equivalent,
    withhold,
)
from mnist_mlp.analysis.load import Results
from mnist_mlp.analysis.measures import bounds_of
from mnist_mlp.analysis.notes import Note
from mnist_mlp.analysis.outcomes import BEST_EPOCH, TARGETS, additional_metrics, with_outcomes
from mnist_mlp.analysis.roles import (
    CELL,
    REPLICATE,
    SEARCH_SEED,
    STREAMS,
    cell_names,
    check_confirmed,
    ended_runs,
    evaluation_runs,
    search_runs,
    tuned_keys,
    varying_keys,
)
from mnist_mlp.analysis.selection import (
    Selected,
    count_selected,
    select,
)
from mnist_mlp.analysis.values import natural_rank
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import SequentialRecord
from mnist_mlp.base.margin import check_margin
from mnist_mlp.base.metrics import ACCURACY, Metric
from mnist_mlp.base.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.base.schema import BEST, COMPARED, LAST
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE, SEARCH
from mnist_mlp.stats.groups import compact_letters
from mnist_mlp.stats.means import mean_intervals
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.variance_components import VarianceComponents
from mnist_mlp.stats.verdicts import SIGNIFICANT, Reason, Verdict

MEASURES = ("test_accuracy", "test_loss", "val_accuracy")


@dataclass(frozen=True)
class Comparison:
    """Tables of one section of a report. Tables of cells have the column `cell`, the name of the cell.

    Attributes:
        by: Compared keys.
        tuned: Keys whose values are selected within each cell.
        select: `EACH` if each replicate selects its own configuration, `ONCE` if each cell selects one for all
            replicates.
        selected: Selected configurations by the name of their cell, the most frequent first. Empty if nothing is tuned.
        varying: All keys that take several values.
        measured: Keys whose values distinguish the sections of the report. Each has a single value in this section.
        target: Accuracy in [0, 1]. The report has the epoch and the time at which runs reach it. None without a target.
        runs: One row per run. In addition to the columns of `Results.runs`:

            - final and best metrics;
            - `chosen`: whether the run counts towards the score of its cell;
            - `score`: final test accuracy (or another metric), the worst value if the run diverged, NaN if it failed;
            - `at_chance`: see `outcomes.at_chance`;
            - `independent`: see `sources.independent`; intervals and verdicts use independent runs only;
            - `steps`: number of optimizer steps that the whole run takes, NaN if unknown.

        summary: One row per cell, the best mean `score` first. Means of accuracies, losses and seconds cover the `n`
            scored runs that completed. Tuned keys have the values that were selected together most often. `selected`
            says how often: "3/5" stands for three of five selections. Cells that share one of their `letters` do not
            differ significantly, and all others do (see `compact_letters`).
        pairs: One row per pair of cells (see `compare_pairs`).
        looks: Interim analyses by which the pairs were tested, in a sweep that adds seeds. None if each pair was tested
            once.
        margin: Equivalence margin, a fraction; None disables equivalence testing.
        efforts: Tuning effort of each cell. Only pairs of equal effort are tested. Empty if the effort cannot bias a
            score.
        tested_cells: Number of tested cells. Each shares at least three independent seeds with another one, which a
            test needs. 0 if no pair was tested.
        effects: Main effects and interactions of the compared keys (see `effects.Effects`).
        claims: Claims of the headline (see `mnist_mlp.analysis.claims`).
        variance_components: Variance between replicates by source of randomness; None if fewer than two sources vary
            independently.
        curves: Mean and interval of loss and accuracy per cell, split and epoch, over the scored runs.
        curve_differences: Mean and interval of the difference from the best cell per epoch (see
            `curves.differences_by_epoch`).
        sensitivity: Accuracy on the selection split per cell and learning rate, with the other tuned keys at the values
            selected for that rate.
        budget: Tuning curves: expected results per cell and number of candidates (see `budget.curves`).
        notes: Caveats that qualify the tables.
        at: Epoch whose scores are compared (see `with_outcomes`).
        metric: Metric of the test images that is scored; of this metric are `score` and all differences.
        additional: Names of the additional metrics of the runs.
        tuned_anywhere: Keys that are tuned in any section of the report; the tables of all sections have their values.
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
    looks: SequentialRecord | None
    margin: float | None
    efforts: Mapping[str, TuningEffort]
    tested_cells: int
    effects: effects.Effects
    claims: Claims
    variance_components: VarianceComponents | None
    curves: pd.DataFrame
    curve_differences: pd.DataFrame
    sensitivity: pd.DataFrame
    budget: pd.DataFrame
    notes: Sequence[Note]
    at: str = LAST
    metric: Metric = ACCURACY
    additional: Sequence[str] = ()
    tuned_anywhere: Sequence[str] = ()

    @property
    def confirmed(self) -> bool:
        """Return whether any cell has confirmed its selections by new runs. Its score is then that of these runs."""
        return bool((self.runs["phase"] == CONFIRM).any())

    @property
    def scored(self) -> pd.DataFrame:
        """Completed and diverged runs that the cells are scored by."""
        return roles.scored_runs(self.runs)

    @property
    def independent(self) -> bool:
        """Return whether all scored runs are independent of one another."""
        return bool(self.scored["independent"].all())

    @property
    def rivals(self) -> pd.DataFrame:
        """Pairs of the best cell with each other cell: rows of `pairs`."""
        pairs: pd.DataFrame = self.pairs[self.pairs["a"] == self.summary[CELL].iloc[0]]
        return pairs

    def cells_that_selected(self, key: str) -> set[str]:
        """Return the cells that selected a value of a tuned key. Cells whose option lacks the key are left out."""
        return set(self.runs.loc[self.runs["chosen"] & roles.has(self.runs, key), CELL])


def compare(
    results: Results,
    target: float | None,
    by: Sequence[str] = COMPARED,
    measured: Sequence[str] = (),
    how: str = EACH,
    moving: Mapping[str, int] = MappingProxyType({}),
    margin: float | None = None,
    at: str = LAST,
    metric: str = ACCURACY.name,
) -> Comparison:
    """Compare the cells of one section.

    Args:
        results: Runs under the same evaluation conditions (see `sections`), at least one.
        target: Accuracy in [0, 1] to report the epoch and the time to: on validation if all runs have a validation
            split, otherwise on test. None for no target.
        by: Keys to compare.
        measured: Keys whose values distinguish the sections of the report.
        how: `EACH` or `ONCE` (see `selection.select`). `EACH` becomes `ONCE` if several sources of randomness, such as
            weights and batches, have seeds that vary independently.
        moving: See `sections.moving_with_seeds`.
        margin: Equivalence margin of pairs and effects, a fraction in (0, 1); None for that of the interim
            analyses, if they have one.
        at: Epoch whose scores are compared (see `with_outcomes`).
        metric: Name of the metric of the test images that is scored.

    Raises:
        UserError: The margin is impossible; or `at` is `BEST`, and the runs have interim analyses or no validation
            split; or the runs do not have the metric, or have interim analyses of the accuracy.
    """
    scored = scored_metric(results, metric)
    if margin is not None and not scored.is_fraction:
        raise UserError(f"--margin: expected a metric in percent, which has the bounds [0,1], unlike {metric}")
    images = same_size(evaluation_runs(results.runs)) if scored == ACCURACY else None
    check_margin(margin, images, "--margin ")
    cells = results.runs.assign(**{CELL: cell_names(results.runs, by)})
    check_confirmed(cells, by, results.records, how)
    of_search = search_runs(cells)
    tuned = tuned_keys(of_search, varying_keys(of_search), by)
    how = ONCE if len(sources.seeds_by_source(of_search[STREAMS])) > 1 else how
    evaluated = evaluation_runs(cells)
    varying = list(dict.fromkeys([*replace_derived(varying_keys(evaluated), evaluated, by, tuned), *tuned]))
    if at == BEST:
        _check_best_epochs(cells, results.metrics)
    runs = with_outcomes(cells, results.metrics, target, tuned, how, at, scored)
    completed = runs[runs["chosen"] & (runs["status"] == COMPLETED)]
    if len(completed) and completed["score"].isna().all():
        raise UserError(
            f"--metric {metric}: expected a final value of at least one run. Each run.log says why it has none."
        )
    of_search = search_runs(runs)
    selected = count_selected(of_search, tuned, select(of_search, tuned, how)) if tuned else {}
    summary = _summarize(runs, by, tuned, selected, target is not None, scored)
    # Statistics need scores that are better the larger they are.
    oriented = runs.assign(score=scored.sign * runs["score"])
    tests = _test_pairs(oriented, list(summary[CELL]), results, by, tuned, how, margin, scored, images)
    summary["letters"] = _letters(tests.pairs, summary)
    checked = summary if scored == ACCURACY else summary.assign(score=np.nan)  # momentum may lose by other metrics
    of_keys, claims = _effects_and_claims(tests, (tests.averaged, by, images, oriented), summary, scored)
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
        pairs=natural(tests.pairs, scored),
        looks=tests.looks,
        margin=tests.looks.plan.margin if margin is None and tests.looks else margin,
        efforts=tests.efforts,
        tested_cells=tests.cells,
        effects=of_keys._replace(
            table=natural(of_keys.table, scored),
            differences=natural(of_keys.differences, scored),
            means=natural(of_keys.means, scored),
        ),
        claims=claims,
        variance_components=sources.variance_by_source(runs[runs["chosen"]]),
        curves=curves.learning_curves(results.metrics, completed),
        curve_differences=curves.differences_by_epoch(results.metrics, completed, str(summary[CELL].iloc[0])),
        sensitivity=curves.sensitivity(of_search, tuned, how),
        budget=budget.curves(of_search, tuned, list(summary[CELL]), how),
        notes=[
            *([fairness.UNDECIDED] if tests.needs_more_seeds else []),
            *fairness.part(results.where, tests.looks is not None),
            *([fairness.BEST_EPOCHS] if at == BEST else []),
            *fairness.scored_by(scored, completed),
            *fairness.unfinished(results.unfinished),
            *fairness.notes(runs, checked, tests.pairs, by, tuned, varying, how, moving, scored),
        ],
        at=at,
        metric=scored,
        additional=additional_metrics(results.metrics),
    )


def natural(table: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return a table of pairs or effects with differences of the metric itself, instead of the oriented scores."""
    if not metric.is_less_better or table.empty:
        return table
    ends = {"ci_low": 0.0 - table["ci_high"], "ci_high": 0.0 - table["ci_low"]} if "ci_low" in table else {}
    return table.assign(
        **{name: 0.0 - table[name] for name in ("difference", "mean") if _is_numeric(table, name)}, **ends
    )


def _is_numeric(table: pd.DataFrame, name: str) -> bool:
    return name in table and pd.api.types.is_numeric_dtype(table[name])


def scored_metric(results: Results, name: str) -> Metric:
    """Return the metric that the runs are to be scored by.

    Raises:
        UserError: The runs do not have the metric, disagree on its meaning, or have interim analyses of the accuracy.
    """
    if name == ACCURACY.name:
        return ACCURACY
    found = {metrics[name] for metrics in results.additional.values() if name in metrics}
    known = dict.fromkeys([ACCURACY.name, *(key for metrics in results.additional.values() for key in metrics)])
    if not found:
        raise UserError(f"--metric {name}: expected a metric of these runs: {', '.join(known)}")
    if len(found) > 1:
        raise UserError(f"--metric {name}: expected one meaning. The runs differ in its better, worst or bounds.")
    if results.runs["looked_in"].notna().any():
        raise UserError(f"--metric {name}: expected a sweep without interim analyses, which tested the accuracy")
    return found.pop()


def _check_best_epochs(runs: pd.DataFrame, metrics: pd.DataFrame) -> None:
    """Check that runs may be scored at their best epoch on validation.

    Raises:
        UserError: They have interim analyses, or no validation split.
    """
    if runs["looked_in"].notna().any():
        raise UserError("--at best: expected a sweep without interim analyses, which scored the last epochs")
    completed = runs.index[runs["status"] == COMPLETED]
    if not {*completed} <= {*metrics.loc[metrics["split"] == "val", "run"]}:
        raise UserError("--at best: expected runs with data.val_size greater than 0, to select the epoch by")


def _effects_and_claims(
    tests: "_PairResults",
    averages: tuple[pd.DataFrame, Sequence[str], float | None, pd.DataFrame],
    summary: pd.DataFrame,
    metric: Metric,
) -> tuple[effects.Effects, Claims]:
    """Return the effects, each tested at 5%, and the claims of the headline, which share 5%.

    Args:
        tests: Results of the pairs.
        averages: Arguments of `effects.compare_effects`.
        summary: One row per cell, the best first.
        metric: Metric of the scores.
    """
    bounds = metric.range_of_scores
    separate = effects.compare_effects(*averages, bounds=bounds)
    if tests.looks is None and len(separate.table):
        together = effects.compare_effects(*averages, families=len(separate.table), bounds=bounds)
        return separate, claims_from_effects(together.table, together.differences)
    return separate, claims_from_pairs(tests.pairs, list(summary.loc[summary["score"].notna(), CELL]))


def _letters(pairs: pd.DataFrame, summary: pd.DataFrame) -> pd.Series:
    """Return the letters of each cell (see `compact_letters`); empty if no pair was tested, or there are too many."""
    significant = pairs[pairs["verdict"].isin(SIGNIFICANT)]
    cells = list(summary.loc[summary["score"].notna(), CELL])
    found = compact_letters(cells, list(zip(significant["a"], significant["b"], strict=True)))
    is_tested = bool((pairs["verdict"] != Verdict.NOT_TESTED).any())
    letters = found if found and is_tested else {}
    return pd.Series([letters.get(cell, "") for cell in summary[CELL]], summary.index, dtype="str")


class _PairResults(NamedTuple):
    """Verdicts on all pairs of cells, and the data behind them.

    Attributes:
        pairs: See `Comparison`.
        cells: Number of cells that were tested.
        efforts: See `Comparison`.
        looks: See `Comparison`.
        averaged: Runs that may be averaged over cells, for main effects. Empty if such averages would be unfair.
        needs_more_seeds: Whether a sweep that adds seeds stopped before all was decided.
    """

    pairs: pd.DataFrame
    cells: int
    efforts: Mapping[str, TuningEffort]
    looks: SequentialRecord | None
    averaged: pd.DataFrame
    needs_more_seeds: bool = False


def _test_pairs(
    runs: pd.DataFrame,
    cells: Sequence[str],
    results: Results,
    by: Sequence[str],
    tuned: Sequence[str],
    how: str,
    margin: float | None,
    metric: Metric,
    images: float | None,
) -> _PairResults:
    """Test all pairs of cells: once, or by the interim analyses of a sweep that adds seeds.

    Args:
        runs: All runs, with outcomes.
        cells: Cells, the best first.
        results: Results with the records of the sweeps.
        by: Compared keys.
        tuned: Tuned keys.
        how: See `compare`.
        margin: See `compare`.
        metric: Metric of the scores.
        images: Number of test images behind each accuracy; None if unknown, and for other metrics.
    """
    scored = roles.scored_runs(runs)
    independent = scored[scored["independent"]]
    order = [cell for cell in cells if cell in set(scored.loc[scored["score"].notna(), CELL])]
    whole = _with_excluded(runs, results, by, tuned, how)
    looks, reason = _recorded_analyses(whole, results, by)
    if looks:
        table = score_table(roles.scored_runs(whole), SEARCH_SEED)
        table = table.reindex([*order, *table.index.difference(order)])
        pairs, count = repeat_analyses(table, looks.looks, images, looks.plan.margin)
        is_open = needs_more_seeds(looks, pairs)
        pairs = pairs if margin is None else set_equivalent(pairs, margin)
        pairs = pairs[pairs["a"].isin(order) & pairs["b"].isin(order)].reset_index(drop=True)
        # Additional seeds belong to some cells only, so just the initial seeds give fair averages.
        first = independent[independent[SEARCH_SEED].isin(looks.looks[0].seeds)]
        return _PairResults(pairs, count, {}, looks, first, is_open)
    # The best of more candidates scores higher by chance, unless replicates select for themselves or selections were
    # confirmed.
    confirmed = set(scored.loc[scored["phase"] == CONFIRM, CELL])
    efforts = tuning_efforts(search_runs(runs), tuned) if how == ONCE and tuned and not confirmed >= {*order} else {}
    efforts |= dict.fromkeys(confirmed, CONFIRMED) if efforts else {}
    pairs, count = compare_pairs(
        score_table(independent).reindex(order), images, efforts, None, margin, metric.range_of_scores
    )
    if len(independent) < len(scored):  # there may be enough seeds, but too few independent ones
        pairs["reason"] = pairs["reason"].replace(str(Reason.TOO_FEW_SEEDS), str(Reason.TOO_FEW_INDEPENDENT))
    if reason := reason or _missing_confirmation(scored, results):
        return _PairResults(withhold(pairs, reason), 0, efforts, None, independent.head(0))
    # Averages over cells of unequal tuning effort are as unfair as pairs of such cells.
    is_equal = len({efforts[cell] for cell in order if cell in efforts}) < 2
    untested = ((pairs["verdict"] == Verdict.NOT_TESTED) & (pairs["reason"] != Reason.NO_VARIANCE)).all()
    return _PairResults(
        pairs, 0 if untested else count, efforts, None, independent if is_equal else independent.head(0)
    )


def _with_excluded(
    runs: pd.DataFrame, results: Results, by: Sequence[str], tuned: Sequence[str], how: str
) -> pd.DataFrame:
    """Add the runs that the user has excluded, if the sweep adds seeds: its levels are those of all its cells."""
    sweeps = set(runs["looked_in"].dropna())
    if results.excluded is None or not sweeps:
        return runs
    excluded = results.excluded.runs[results.excluded.runs["looked_in"].isin(sweeps)]
    if excluded.empty:
        return runs
    excluded = excluded.assign(**{CELL: cell_names(excluded, by)})
    return pd.concat([runs, with_outcomes(excluded, results.excluded.metrics, None, tuned, how)])


def _recorded_analyses(
    runs: pd.DataFrame, results: Results, by: Sequence[str]
) -> tuple[SequentialRecord | None, Reason | None]:
    """Return the interim analyses by which the pairs must be tested, or the reason why no test is valid.

    Both are None for runs without interim analyses.
    """
    scored = roles.scored_runs(runs)
    sweeps = scored["looked_in"].dropna().unique()
    if not len(sweeps):
        return None, None
    record = results.records.get(sweeps[0])
    compared = list(record.compare if record else COMPARED)
    if len(sweeps) > 1 or scored["looked_in"].isna().any() or {*by} != {*compared}:
        return None, Reason.OUTSIDE_PLAN
    if not (looks := results.looks.get(sweeps[0])):
        return None, Reason.NO_ANALYSIS
    # The sweep may have named its cells by the compared keys in another order.
    looks = rename_cells(looks, dict(zip(cell_names(runs, compared), runs[CELL], strict=True)))
    if not are_as_planned(looks):
        return None, Reason.NO_ANALYSIS
    if not have_results(looks, score_table(scored, SEARCH_SEED)):
        return None, Reason.LOST_RUN
    return looks, None


def _missing_confirmation(scored: pd.DataFrame, results: Results) -> Reason | None:
    """Return the reason to withhold verdicts while a confirmation is unfinished; None otherwise."""
    sweeps = scored.loc[scored["phase"] == CONFIRM, "chosen_in"].unique()
    if (scored["phase"] == SEARCH).any() or any(CONFIRM in results.unfinished.get(sweep, ()) for sweep in sweeps):
        return Reason.NOT_CONFIRMED
    return None


def score_table(runs: pd.DataFrame, replicate: str = REPLICATE) -> pd.DataFrame:
    """Return the scores of runs as a table, cells x replicates."""
    return runs.pivot_table(index=CELL, columns=replicate, values="score")


def same_size(runs: pd.DataFrame) -> float | None:
    """Return the number of test images that all runs share; None if unknown, or if the runs loaded different data."""
    known = ended_runs(runs)
    sizes = known["test_size"].dropna().unique()
    return float(sizes[0]) if len(sizes) == 1 and sizes[0] > 0 and known["digest"].nunique() < 2 else None


def _summarize(
    runs: pd.DataFrame,
    by: Sequence[str],
    tuned: Sequence[str],
    selected: Mapping[str, Sequence[Selected]],
    has_target: bool,
    metric: Metric,
) -> pd.DataFrame:
    cells, measured = runs.groupby(CELL, sort=True), list(dict.fromkeys([f"test_{metric.name}", *MEASURES]))
    chosen = runs[runs["chosen"]]
    done = chosen[(chosen["status"] == COMPLETED) & chosen[f"test_{metric.name}"].notna()]
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
    table = table.join(mean_intervals(done, [CELL], measured, bounds_of(measured, metric)))
    # Medians can include runs that missed the target, whose time is infinite.
    table = table.join(ended_runs(chosen).groupby(CELL)[list(TARGETS)].median())
    table = table.join(done.groupby(CELL)["seconds"].mean().rename("seconds_mean"))
    table = table.join(chosen.groupby(CELL)["score"].mean())
    reached = np.isfinite(done["epochs_to_target"]).groupby(done[CELL]).sum().reindex(table.index, fill_value=0)
    table["reached_target"] = reached.astype("Int64") if has_target else pd.array([pd.NA] * len(table), "Int64")
    table = table.join(done.groupby(CELL)[list(BEST_EPOCH)].mean().add_suffix("_mean"))
    table = table.sort_values([*by], key=natural_rank).sort_values(
        ["score", f"test_{metric.name}_mean"], ascending=metric.is_less_better, na_position="last", kind="stable"
    )
    return table.rename_axis(CELL).reset_index()


def _most_frequent(selected: Sequence[Selected]) -> list[Any]:
    """Return the values of the tuned keys, and how often they were selected."""
    most = selected[0]
    return [*most.configuration.values(), f"{most.count}/{most.of}"]
