"""Sentences about tuning curves: leading cells by number of configurations tried, and how to read the curves."""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.analysis.budget import FEWEST
from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.notes import list_names
from mnist_mlp.analysis.roles import CELL, search_runs, with_noun
from mnist_mlp.analysis.selection import selection_split
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.report.text.captions import SPLIT_NAMES
from mnist_mlp.stats.tuning_curves import SPREAD, Lead, leads


def as_accuracies(comparison: Comparison) -> pd.DataFrame:
    """Return the tuning curves with the column names of accuracies that figures expect."""
    names = {"test_expected": "accuracy_mean", "test_low": "accuracy_ci_low", "test_high": "accuracy_ci_high"}
    return comparison.budget[[CELL, "k", *names]].rename(columns=names)


def answer(comparison: Comparison) -> str:
    """Say which cell leads with how many configurations; empty if one cell always leads or there are no curves."""
    table = comparison.budget
    stretches = leads(table) if len(table) else []
    if len(stretches) < 2:
        return ""
    cells, all_cells = table[CELL].nunique(), len(comparison.summary)
    of = f"of the {cells} cells with at least {FEWEST} configurations, which" if cells < all_cells else "which cell"
    of = f"In the search, {of}" if comparison.confirmed else of[0].upper() + of[1:]
    return (
        f"{of} is ahead depends on how many configurations are tried: by expected test accuracy, "
        f"{_spelled(stretches)}. The expectation is over which of its configurations each cell tries, drawn at random; "
        "whether a lead is more than chance over seeds is not tested."
    )


def _spelled(stretches: Sequence[Lead]) -> str:
    """Return text such as "he / adam with 1 to 3, he / sgd with 4 or 5, he / adam with 6"."""
    parts = []
    for cell, first, last in stretches:
        joined = f"{first} {'or' if last == first + 1 else 'to'} {last}" if last > first else f"{first}"
        parts.append(f"{cell} with {joined}")
    return list_names(parts)


def reading(comparison: Comparison) -> str:
    """Return the caption of the tuning curves."""
    table, split = comparison.budget, SPLIT_NAMES[selection_split(search_runs(comparison.runs))]
    left = len(comparison.summary) - table[CELL].nunique()
    each = comparison.select == EACH
    return (
        "the expected test error (100% minus accuracy, on logarithmic axes) of the configuration that is best by "
        f"{split} accuracy among k that are drawn at random from those of the cell"
        + (", for each seed by its own results. " if each else ". ")
        + f"Band, only at the best cell of each panel: the middle {SPREAD:.0%} of the draws"
        + (" of all seeds." if each else ", which shows the luck of the draw, not the uncertainty over seeds.")
        + (f" {with_noun(left, 'cell')} with fewer than {FEWEST} configurations left out." if left else "")
    )


def method(comparison: Comparison) -> list[str]:
    """Return the sentences on how tuning curves are computed; empty without curves."""
    if comparison.budget.empty:
        return []
    split = SPLIT_NAMES[selection_split(search_runs(comparison.runs))]
    taken = (
        f"from these, each seed selects the one with its highest {split} accuracy, and the score is the test accuracy "
        "of the same configuration with the next seed; the curve is the mean over seeds"
        if comparison.select == EACH
        else f"the one of these with the best mean {split} accuracy is selected, and its mean test accuracy is scored"
    )
    return [
        "Tuning curves: k of a cell's configurations are drawn without replacement, every set of k "
        f"equally likely; {taken} (Dodge et al. 2019; Tang et al. 2020). budget.csv has all numbers."
    ]
