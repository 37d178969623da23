"""Selection of hyperparameter configurations: one rule for the report, confirmation, curves and figures.

A candidate is one combination of values of the tuned keys of a cell. In each replicate (seed), a cell selects the
candidate with the highest final accuracy on the selection split: validation, or training if there is no validation
split. A diverged run counts as accuracy 0. A candidate without a completed or diverged run cannot be selected. Ties go
to:

- the lower loss on the selection split, where diverged runs come last;
- then the first value of `optim.lr`, then of the other tuned keys by name. Numbers are in ascending order, lists by
  length, and a missing key is last.

Luck in the selection must not enter the score. So with each seed, a cell is scored at the candidate that its previous
seed selected. Seeds are in ascending order, and the first follows the last. If the selections are confirmed, each
selected candidate is retrained with a fresh seed, and only these runs are scored. Tuning in every replicate is the
ideal estimator of Bouthillier et al. 2021 ("Accounting for variance in machine learning benchmarks", MLSys 3); the
cyclic order is specific to this project.

With `select=once`, a cell selects one candidate by means over its seeds; ties are broken in the same way. Scores and
verdicts are then about the selected configuration, not about tuning.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.values import as_typed, natural_rank, sort_key
from mnist_mlp.base.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.base.schema import tuning_order
from mnist_mlp.base.sweep_file import EACH

CANDIDATE = "candidate"  # column with the number of a candidate, unique among all cells
DECIMALS = 12  # of a mean, so that the order of summation does not matter


def selection_split(runs: pd.DataFrame) -> str:
    """Return the split that configurations are selected by: "val", or "train" if runs have no validation accuracy.

    Completed runs decide, if there are any: other runs may have ended before validation.
    """
    deciding = (runs["status"] == COMPLETED, runs["status"] != FAILED, pd.Series(True, runs.index))
    validated = next((runs.loc[rows, "validated"] for rows in deciding if rows.any()), pd.Series())
    return "val" if len(validated) and validated.all() else "train"


def score(runs: pd.DataFrame, measure: str, worst: float = 0.0) -> pd.Series:
    """Return a final metric of each run, such as its accuracy: the worst value if it diverged, NaN if it failed.

    Selection, ranking and tests all use this rule. It prevents survivorship bias: no cell is scored by its completed
    runs only.
    """
    return runs[measure].where(runs["status"] != DIVERGED, worst).where(runs["status"] != FAILED, np.nan)


def number_candidates(runs: pd.DataFrame, tuned: Sequence[str]) -> pd.Series:
    """Return the number of each run's candidate. Within a cell, candidates are numbered in the order that breaks ties.

    Args:
        runs: Runs with `cell` and the tuned keys.
        tuned: Tuned keys; if empty, each cell has one candidate.
    """
    order = {CELL: runs[CELL], **{f"key {n}": natural_rank(runs[key]) for n, key in enumerate(tuning_order(tuned))}}
    numbers: pd.Series = pd.DataFrame(order).groupby(list(order), sort=True).ngroup()
    return numbers


def preference(accuracy: float, loss: float, configuration: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the sort key of a candidate within its cell and replicate. The best sorts first, as in `rank_candidates`.

    Args:
        accuracy: Accuracy on the selection split.
        loss: Loss on that split.
        configuration: Values by tuned key; None or NaN if the candidate lacks the key.
    """
    places = [sort_key(as_typed(configuration[key])) for key in tuning_order(configuration)]
    return (-round(accuracy, DECIMALS), round(loss, DECIMALS), places)


def rank_candidates(
    runs: pd.DataFrame, tuned: Sequence[str], within: Sequence[str] = (CELL, REPLICATE)
) -> pd.DataFrame:
    """Rank the candidates within each cell and replicate, or within other groups of runs, the best first.

    Args:
        runs: Runs with `cell`, `replicate`, the tuned keys, `status`, `validated`, and final accuracies and losses.
        tuned: Tuned keys.
        within: Columns whose combinations are the groups. A candidate with several runs in a group is ranked by their
            mean.

    Returns:
        One row per group and candidate with a result, with the columns of `within`, `candidate`, `accuracy` (0 if
        diverged) and `loss` (infinite if diverged). Groups are sorted by their columns.
    """
    split = selection_split(runs)
    loss = runs[f"{split}_loss"].where(runs["status"] == COMPLETED, np.inf).fillna(np.inf)
    table = runs[[*within]].assign(
        **{CANDIDATE: number_candidates(runs, tuned), "accuracy": score(runs, f"{split}_accuracy"), "loss": loss}
    )
    table = table[table["accuracy"].notna()]
    groups = table.groupby([*within, CANDIDATE], sort=True, dropna=False)
    ranked = groups[["accuracy", "loss"]].mean().reset_index()
    ranked[["accuracy", "loss"]] = ranked[["accuracy", "loss"]].round(DECIMALS)
    order = [*within, "accuracy", "loss", CANDIDATE]
    ascending = [column != "accuracy" for column in order]
    return ranked.sort_values(order, ascending=ascending, kind="stable").reset_index(drop=True)


def selecting_groups(how: str) -> list[str]:
    """Return the columns that identify a selection: cell and replicate, or with `ONCE` only the cell."""
    return [CELL, REPLICATE] if how == EACH else [CELL]


def has_best_accuracy(ranked: pd.DataFrame, within: Sequence[str]) -> pd.Series:
    """Return whether each row of `rank_candidates` is as accurate as the best one of its group."""
    return ranked["accuracy"] == ranked.groupby([*within])["accuracy"].transform("max")


def select(runs: pd.DataFrame, tuned: Sequence[str], how: str = EACH) -> pd.DataFrame:
    """Select a candidate per cell and replicate, or with `ONCE` per cell.

    Args:
        runs: See `rank_candidates`.
        tuned: Tuned keys.
        how: `EACH` or `ONCE`.

    Returns:
        First row of each group of `rank_candidates`; replicates without a result are missing.
    """
    within = selecting_groups(how)
    return rank_candidates(runs, tuned, within).drop_duplicates(within, ignore_index=True)


def is_scored(runs: pd.DataFrame, tuned: Sequence[str], how: str = EACH) -> pd.Series:
    """Return whether each run counts towards the score of its cell, if selections are not confirmed.

    Args:
        runs: See `rank_candidates`.
        tuned: Tuned keys.
        how: With `EACH`, a run counts if the previous seed selected its candidate. With `ONCE`, a run counts if its
            cell selected its candidate.
    """
    if not tuned:
        return pd.Series(True, runs.index)
    selected, numbers = select(runs, tuned, how), number_candidates(runs, tuned)
    if how != EACH:
        return numbers.isin(selected[CANDIDATE])
    scored = set()
    seeds_of = runs.groupby(CELL)[REPLICATE].unique()
    for cell, rows in selected.groupby(CELL):
        of_seed = dict(zip(rows[REPLICATE], rows[CANDIDATE], strict=True))
        scored |= {(seed, of_seed[previous]) for seed, previous in previous_seeds(seeds_of[cell], list(of_seed))}
    return pd.Series([pair in scored for pair in zip(runs[REPLICATE], numbers, strict=True)], runs.index, dtype=bool)


def previous_seeds(seeds: Iterable[Any], selecting: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each seed with the previous seed that has a selection.

    The lowest seed follows the highest, and a single seed follows itself.

    Args:
        seeds: All seeds of a cell.
        selecting: Seeds with a selection, at least one.
    """
    ascending = sorted(selecting)
    for seed in sorted(seeds):
        yield seed, ascending[bisect_left(ascending, seed) - 1]


@dataclass(frozen=True)
class Selected:
    """Configuration that a cell selected.

    Attributes:
        configuration: Values by tuned key.
        count: Number of replicates that selected it.
        of: Number of replicates with a selection.
    """

    configuration: dict[str, Any]
    count: int
    of: int


def count_selected(runs: pd.DataFrame, tuned: Sequence[str], selected: pd.DataFrame) -> dict[str, list[Selected]]:
    """Count how often each cell selected each configuration, the most frequent first; ties by value.

    Args:
        runs: Runs that the selections were made from, with `cell` and the tuned keys.
        tuned: Tuned keys.
        selected: See `select`.

    Returns:
        Configurations by the name of the cell that selected them.
    """
    first = runs.assign(**{CANDIDATE: number_candidates(runs, tuned)}).drop_duplicates(CANDIDATE).set_index(CANDIDATE)
    configurations = first[list(tuned)].to_dict("index")
    counts: dict[str, list[Selected]] = {}
    for cell, candidates in selected.groupby(CELL)[CANDIDATE]:
        table = candidates.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
        counts[str(cell)] = [
            Selected({str(key): value for key, value in configurations[number].items()}, int(count), int(table.sum()))
            for number, count in table.items()
        ]
    return counts
