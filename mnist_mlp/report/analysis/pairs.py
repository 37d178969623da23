"""Which cells differ: every pair of cells, with simultaneous intervals, corrected p and a verdict (see `contrasts`)."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import special

from mnist_mlp.report.analysis.contrasts import CONFIDENCE, FEWEST, Judged, judge
from mnist_mlp.report.analysis.verdicts import BETTER, EQUIVALENT, OPEN, UNTOLD, WORSE

POWER = 0.8  # at which a number of further seeds is estimated
MOST_SEEDS = 1000  # beyond which it is not worth a number
MOST_CELLS = 150  # beyond which the tables show pairs with the best cell only, though all are judged
TOO_FEW = f"{UNTOLD}: fewer than {FEWEST} seeds in common"
TOO_FEW_INDEPENDENT = f"{UNTOLD}: fewer than {FEWEST} independent replicates in common"
NUMBERS = ("ci_low", "ci_high", "p", "p_corrected", "more_seeds")  # NaN where nothing can be told
NOISELESS = f"{UNTOLD}: the seeds show no noise to measure the difference against"


def compare_pairs(
    table: pd.DataFrame,
    images: float | None = None,
    budgets: Mapping[str, str] = MappingProxyType({}),
    level: float | None = None,
    margin: float | None = None,
) -> tuple[pd.DataFrame, int]:
    """Compare every pair of rows, paired by column.

    Args:
        table: accuracies, cells x seeds, the best cell first; NaN where there is none.
        images: that each accuracy is measured on (see `contrasts.judge`); None where it is not known.
        budgets: what was spent on tuning each cell, in words; empty where nothing was tuned. The best of
            more settings looks better by chance alone, and by how much is not known, so pairs that differ get no
            verdict.
        level: of each test (see `contrasts.judge`).
        margin: cells are equivalent where the interval of their difference lies within it, to either side; None where
            nobody asks.

    Returns:
        One row a pair: `a`, `b` (cells, a before b), `n` seeds in common, `difference` of a less b, `ci_low` and
        `ci_high` (simultaneous 95 % interval), `p`, `p_corrected` for all pairs, `more_seeds` (about how many give 80 %
        power for a difference as large as seen; infinite beyond a thousand), `verdict`. NaN where nothing can be told.
        And how many cells took part: those with at least three seeds in common with some other.
    """
    first, second = np.triu_indices(len(table), 1)
    values = table.to_numpy(dtype=float)
    differences = values[first] - values[second]
    n = np.isfinite(differences).sum(axis=1)
    columns = {"difference": np.nansum(differences, axis=1) / np.where(n > 0, n, np.nan)}
    columns |= {name: np.full(len(n), np.nan) for name in NUMBERS}
    verdicts = np.full(len(n), TOO_FEW, dtype=object)
    enough = n >= FEWEST
    cells = len({*first[enough], *second[enough]})
    if cells:
        judged = judge(differences[enough], cells - 1, images, level)
        real = judged.p_corrected < 1 - CONFIDENCE
        more = np.where(real | np.isnan(judged.p), np.nan, _more_seeds(judged))  # of a real one, none are needed
        numbers = (judged.low, judged.high, judged.p, judged.p_corrected, more)
        for name, values in zip(("difference", *NUMBERS), (judged.mean, *numbers), strict=True):
            columns[name][enough] = values
        verdicts[enough] = _verdicts(judged, more, margin)
    if budgets:
        spent = [str(budgets.get(cell)) for cell in table.index]
        for pair, (a, b) in enumerate(zip(first, second, strict=True)):
            if enough[pair] and spent[a] != spent[b]:
                verdicts[pair] = f"{UNTOLD}: tuned over {spent[a]} against {spent[b]}; tune both alike"
                for name in NUMBERS:
                    columns[name][pair] = np.nan
    sides = {"a": table.index[first], "b": table.index[second]}
    return pd.DataFrame({**sides, "n": n, **columns, "verdict": verdicts.astype(str)}), cells


def _verdicts(judged: Judged, more: np.ndarray, margin: float | None) -> np.ndarray:
    """What is said of each difference, given how many more seeds it would take."""
    is_real = judged.p_corrected < 1 - CONFIDENCE
    is_within = np.maximum(-judged.low, judged.high) <= (-1 if margin is None else margin)
    within = [f"{EQUIVALENT} within {100 * (margin or 0):g} points at n = {n}" for n in judged.n]
    still = [f"{OPEN} at n = {n}: {needed(m)}" for n, m in zip(judged.n, more, strict=True)]
    kinds = [np.isnan(judged.p), is_real & (judged.mean > 0), is_real, is_within]
    return np.select(kinds, [*np.array([[NOISELESS], [BETTER], [WORSE]], dtype=object), within], still)


def needed(more: float) -> str:
    """How many further seeds, in words."""
    if np.isfinite(more):
        return f"about {more:.0f} more seed{'s' if more > 1 else ''} needed to tell"
    return f"more than {MOST_SEEDS:,} seeds needed to tell, if there is a difference at all"


def _more_seeds(tested: Judged) -> np.ndarray:
    """Further seeds at which a true difference of the size seen is found with 80 % power; infinite beyond a thousand.

    By the smallest m with |difference| / sqrt(variance / m) >= t(1 - level / 2) + t(power), at degrees of freedom that
    grow in proportion to m - 1.
    """
    candidates = np.unique(np.geomspace(FEWEST, MOST_SEEDS, 256).astype(int))  # each up to 40, then steps of 2 %
    low, high = np.zeros(len(tested.n), dtype=int), np.full(len(tested.n), len(candidates))
    for _ in range(len(candidates).bit_length()):  # the more seeds, the more is found: halve what is left of them
        middle = (low + high) // 2
        m = candidates[np.minimum(middle, len(candidates) - 1)]
        freedom = np.maximum(tested.freedom * (m - 1) / (tested.n - 1), 1)
        quantiles = special.stdtrit(freedom, POWER) - special.stdtrit(freedom, tested.level / 2)
        enough = np.abs(tested.mean) >= quantiles * np.sqrt(tested.variance / m)
        is_open = low < high
        high = np.where(is_open & enough, middle, high)
        low = np.where(is_open & ~enough, middle + 1, low)
    m = np.append(candidates.astype(float), np.inf)[low]
    return np.where(tested.mean != 0, np.maximum(m - tested.n, 1), np.inf)
