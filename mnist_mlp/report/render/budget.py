"""Budget curves in words: who is ahead with how many settings tried, and what the curves do and do not say."""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.report.analysis.budget import FEWEST, SPREAD, Lead, leads
from mnist_mlp.report.analysis.comparison import Comparison
from mnist_mlp.report.analysis.notes import listed
from mnist_mlp.report.analysis.roles import CELL, counted, judged_split, tried
from mnist_mlp.report.render.captions import SPLIT_NAMES


def as_accuracies(comparison: Comparison) -> pd.DataFrame:
    """The expected test results as figures take them: a mean and the ends of a band."""
    names = {"test_expected": "accuracy_mean", "test_low": "accuracy_ci_low", "test_high": "accuracy_ci_high"}
    return comparison.budget[[CELL, "k", *names]].rename(columns=names)


def answer(comparison: Comparison) -> str:
    """With how many settings which cell is ahead; nothing where that is one and the same, or not known."""
    table = comparison.budget
    stretches = leads(table) if len(table) else []
    if len(stretches) < 2:
        return ""
    cells, all_cells = table[CELL].nunique(), len(comparison.summary)
    of = f"of the {cells} cells with at least {FEWEST} settings, which" if cells < all_cells else "which cell"
    of = f"In the search, {of}" if comparison.confirmed else of[0].upper() + of[1:]
    return (
        f"{of} is ahead depends on how many settings are tried: by expected test accuracy, {_spelled(stretches)}. The "
        "expectation is over which of its settings each cell tries, drawn at random; whether a lead is more than "
        "chance over seeds is not tested."
    )


def _spelled(stretches: Sequence[Lead]) -> str:
    """As "he / adam with 1 to 3, he / sgd with 4 or 5, he / adam with 6"."""
    parts = []
    for cell, first, last in stretches:
        joined = f"{first} {'or' if last == first + 1 else 'to'} {last}" if last > first else f"{first}"
        parts.append(f"{cell} with {joined}")
    return listed(parts)


def reading(comparison: Comparison) -> str:
    """What the curves show, in sentences."""
    table, split = comparison.budget, SPLIT_NAMES[judged_split(tried(comparison.runs))]
    left = len(comparison.summary) - table[CELL].nunique()
    return (
        "the expected test error (100 % less the accuracy, on logarithmic axes) of the setting that is best by "
        f"{split} accuracy among k that are drawn at random from the cell's own. Band: the middle {SPREAD:.0%} of the "
        "draws, which is the luck of the draw and no uncertainty over seeds; it closes where all settings are drawn."
        + (f" {counted(left, 'cell')} with fewer than {FEWEST} settings left out." if left else "")
    )


def method(comparison: Comparison) -> list[str]:
    """How the curves were made, in a sentence or two; nothing where there are none."""
    if comparison.budget.empty:
        return []
    split = SPLIT_NAMES[judged_split(tried(comparison.runs))]
    return [
        "Budget curves: k of a cell's settings are drawn without replacement, every draw equally likely, in whatever "
        f"order they were tried; the one with the best mean {split} accuracy is taken, with its mean test accuracy "
        "(Dodge et al. 2019; Tang et al. 2020). A cell wins with k settings where what it takes has the highest test "
        "accuracy, each cell having a draw of its own (Sivaprasad et al. 2020). budget.csv has all numbers."
    ]
