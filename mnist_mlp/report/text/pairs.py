"""Sentence on all pairs of cells of a comparison."""

import numpy as np

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.roles import CELL, value_name, with_noun
from mnist_mlp.analysis.values import as_typed
from mnist_mlp.report.text.units import Unit
from mnist_mlp.stats.verdicts import SIGNIFICANT, Verdict


def all_pairs(comparison: Comparison) -> str:
    """Return a sentence on all pairs of cells; empty with fewer than three cells, or if no pair was tested.

    A value that differs from all others in every pair is named, such as an optimizer that is worse in all its pairs.
    """
    tested = comparison.pairs[comparison.pairs["verdict"] != Verdict.NOT_TESTED]
    if tested.empty or len(comparison.summary) < 3:
        return ""
    is_real = tested["verdict"].isin(SIGNIFICANT)
    untested = len(comparison.pairs) - len(tested)
    rest = f" ({with_noun(untested, 'pair')} not tested)" if untested else ""
    be = "is" if is_real.sum() < 2 else "are"
    text = f"Of {with_noun(len(tested), 'pair')} of cells{rest}, {is_real.sum() or 'none'} {be} significant"
    others, which = np.full(len(tested), True), f"None of the {len(tested)}" if len(tested) > 1 else "It never"
    if (found := _separating_value(comparison)) is not None:
        name, crossing, verb = found
        others = ~crossing
        text += f": each cell with {name} is {verb} than each without it ({with_noun(crossing.sum(), 'pair')})"
        if not others.any():
            return f"{text}."
        text += f", and {is_real[others].sum() or 'none'} of the others"
        which = f"None of these {others.sum()} others" if others.sum() > 1 else "That other one never"
    bound = np.maximum(-tested["ci_low"], tested["ci_high"])[others].max()
    return (
        f"{text}. {which} differs by more than {Unit(comparison.metric).at_most(float(bound))}."
        if np.isfinite(bound)
        else f"{text}."
    )


def _separating_value(comparison: Comparison) -> tuple[str, np.ndarray, str] | None:
    """Return a value that separates cells: its name, the pairs of a cell with and one without it, and their verdict.

    Each of these pairs is significant, in the same direction. Of several such values, the one with most pairs is
    returned; None without such a value.
    """
    tested = comparison.pairs[comparison.pairs["verdict"] != Verdict.NOT_TESTED]
    table, found = comparison.summary.set_index(CELL), None
    is_better, is_worse = (tested["verdict"] == verdict for verdict in SIGNIFICANT)
    for key in comparison.by:
        values = table[key].map(as_typed)
        a, b = (values.loc[tested[side]].to_numpy() for side in "ab")
        for value in values.unique():
            has_a, has_b = a == value, b == value
            crossing = has_a ^ has_b
            ahead = np.where(has_a, is_better, is_worse)[crossing]
            behind = np.where(has_a, is_worse, is_better)[crossing]
            if crossing.any() and (ahead.all() or behind.all()) and (found is None or crossing.sum() > found[1].sum()):
                found = (value_name(key, value), crossing, "better" if ahead.all() else "worse")
    return found
